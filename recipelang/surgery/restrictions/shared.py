"""Shared values: which elements of a weight are one number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from recipelang.surgery.entries import Wrong, entry, shown
from recipelang.surgery.sparse import code_bytes

MOST = 256  # groups: a number of one is one byte
GRADIENTS = ("sum", "mean")


@dataclass(frozen=True)
class Shared:
    """Groups of elements that are one number each, and elements that are zero.

    Only the assignment is kept here; the numbers are the weight itself, which training moves: every element of a group
    gets the gradient of the group, and after a step the group is one number again. So nothing is computed differently,
    and whatever reads the weight sees the numbers that it shares.

    Attributes:
        codes: int16, the shape of the weight: the group of each element; -1: it is zero.
        count: how many groups there may be.
        gradient: what a group's number gets from the gradients of its elements: their `sum`, which is its own gradient,
            or their `mean`, with which a step of an element is as long as without sharing.
    """

    kind: ClassVar[str] = "shared"
    computes: ClassVar[bool] = False

    codes: Tensor
    count: int
    gradient: str = "sum"

    @property
    def name(self) -> str:
        """`32 shared values`."""
        return f"{self.count} shared values"

    @property
    def bits(self) -> int:
        """Of the number of a group."""
        return max(1, (self.count - 1).bit_length())

    def why_not(self, value: Tensor) -> str:
        """Why it cannot be on this weight; "" where it can."""
        if value.shape == self.codes.shape:
            return ""
        return f"has shape {tuple(self.codes.shape)}, and the network has a weight of shape {tuple(value.shape)}"

    def levels(self, value: Tensor) -> Tensor:
        """(count,): the mean of each group, in float64: exact where a group is one number; 0 where it is empty."""
        return self._sums(value) / self._members(value.device).clamp_min(1)

    def values(self, levels: Tensor) -> Tensor:
        """(count,) → the weight with these numbers, and zeros."""
        padded = torch.cat([levels, levels.new_zeros(1)])
        return padded[self.codes.to(levels.device).long()]  # -1 is the last

    def apply(self, value: Tensor) -> Tensor:
        """The weight with the mean of its group in place of each element."""
        return self.values(self.levels(value)).to(value.dtype)

    def gathered(self, gradient: Tensor) -> Tensor:
        """The gradient of its group for each element; 0 for zeros."""
        groups = self._sums(gradient) if self.gradient == "sum" else self.levels(gradient)
        return self.values(groups).to(gradient.dtype)

    @torch.no_grad()
    def hold(self, parameter: Tensor, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Make each group one number again, in place, in the parameter and every state of its shape."""
        parameter.copy_(self.apply(parameter))
        for state in optimizer.state.get(parameter, {}).values() if optimizer else ():
            if isinstance(state, Tensor) and state.shape == parameter.shape:
                state.copy_(self.apply(state))

    def holds(self, value: Tensor) -> bool:
        """Whether every group is one number, and what is zero is zero."""
        return torch.equal(self.apply(value.detach()), value.detach())

    def carried(self, shape: torch.Size, change: Callable[[Tensor], Tensor]) -> Shared:
        """The groups of the reordered or cut weight."""
        return replace(self, codes=change(self.codes))

    def stored(self, value: Tensor | None) -> int:
        """The numbers of the groups, densely or with gaps where that is smaller, and 4 bytes for each group's value."""
        kept = (self.codes >= 0).flatten()
        return code_bytes(kept, self.count, zero=not bool(kept.all())) + 4 * self.count

    def tensors(self) -> Mapping[str, Tensor]:
        """`codes`."""
        return {"codes": self.codes}

    def json(self) -> dict[str, Any]:
        """`{"count": 32, "gradient": "sum"}`."""
        return {"count": self.count, "gradient": self.gradient}

    @classmethod
    def read(cls, told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Shared:
        """The groups that `json` and `tensors` describe.

        Raises:
            Wrong: they describe none.
        """
        count, gradient = entry(told, "count"), entry(told, "gradient")
        if type(count) is not int or not 1 <= count <= MOST:
            raise Wrong(f"a weight shares {shown(count)} values, not 1 to {MOST}")
        if gradient not in GRADIENTS:
            raise Wrong(f"`gradient` of shared values is {shown(gradient)}")
        if set(tensors) != {"codes"} or tensors["codes"].dtype != torch.int16:
            raise Wrong("shared values have something other than `codes`, an int16 for each weight")
        codes = tensors["codes"]
        if codes.numel() and not -1 <= int(codes.min()) <= int(codes.max()) < count:
            raise Wrong("a code of shared values is not one of a group")
        return cls(codes, count, gradient)

    def _index(self, device: torch.device) -> Tensor:
        return self.codes.to(device).long().flatten() + 1

    def _sums(self, value: Tensor) -> Tensor:
        sums = torch.zeros(self.count + 1, dtype=torch.float64, device=value.device)
        return sums.index_add(0, self._index(value.device), value.reshape(-1).double())[1:]

    def _members(self, device: torch.device) -> Tensor:
        return torch.bincount(self._index(device), minlength=self.count + 1)[1:]
