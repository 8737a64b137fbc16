"""A mask: which elements of a weight may be nonzero."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.kernels.nm.reference import nm_holds, why_not
from recipelang.surgery.blocks import broken_blocks
from recipelang.surgery.entries import Wrong, entry, shown, text

#: the beginning of the name of a pattern with a share of zeros: `90% sparse`
SHARE = re.compile(r"^[0-9.]+% sparse")


@dataclass(frozen=True)
class Mask:
    """Which elements of a weight may be nonzero, and the name of the pattern: `2:4`."""

    kind: ClassVar[str] = "mask"
    computes: ClassVar[bool] = False

    pattern: str
    keep: Tensor  # bool, the shape of the weight

    @property
    def name(self) -> str:
        """The pattern."""
        return self.pattern

    def why_not(self, value: Tensor) -> str:
        """Why it cannot be on this weight; "" where it can."""
        if value.shape == self.keep.shape:
            return ""
        return f"has shape {tuple(self.keep.shape)}, and the network has a weight of shape {tuple(value.shape)}"

    def apply(self, value: Tensor) -> Tensor:
        """The weight, zero where it is excluded, even where it is infinite or NaN."""
        return value.masked_fill(~self.keep.to(value.device), 0)

    @torch.no_grad()
    def hold(self, parameter: Tensor, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Set the excluded elements, and their momentum (every state of the weight's shape), to zero in place."""
        gone = ~self.keep.to(parameter.device)
        parameter.masked_fill_(gone, 0)
        for state in optimizer.state.get(parameter, {}).values() if optimizer else ():
            if isinstance(state, Tensor) and state.shape == parameter.shape:
                state.masked_fill_(gone, 0)

    def gathered(self, gradient: Tensor) -> Tensor:
        """The gradient itself."""
        return gradient

    def holds(self, value: Tensor) -> bool:
        """Whether every excluded element is zero."""
        return not value.detach()[~self.keep.to(value.device)].count_nonzero()

    def carried(self, shape: torch.Size, change: Callable[[Tensor], Tensor]) -> Mask:
        """The mask of the reordered or cut weight.

        Without some of its input channels an N:M weight may leave its pattern, and one of blocks without some of its
        channels, or with them in another order. It would then run as dense without a word, and another mask would
        remove weights that no criterion chose.

        Raises:
            Refusal: RCP0756: the rest is not in the pattern.
        """
        keep = change(self.keep)
        n, _, m = self.pattern.partition(":")
        if keep.shape != self.keep.shape and n.isdecimal() and m.isdecimal() and not nm_holds(keep, int(n), int(m)):
            why = why_not(keep, int(m)) or f"more than {n} of {m} consecutive input channels would remain"
            raise Refusal(
                "RCP0756",
                f"without these channels a weight is no longer {self.pattern}: {why}",
                f"remove channels before `sparsify`, or whole groups of {m} input channels",
            )
        if why := broken_blocks(keep, self.pattern):
            raise Refusal(
                "RCP0756",
                f"with its channels changed a weight is no longer {self.pattern}: {why}",
                "remove and reorder channels before `sparsify blocks`",
            )
        return Mask(self.pattern if keep.shape == self.keep.shape else _renamed(self.pattern, keep), keep)

    def stored(self, value: Tensor | None) -> None:
        """Zeros are stored like any other number."""

    def tensors(self) -> Mapping[str, Tensor]:
        """`keep`."""
        return {"keep": self.keep}

    def json(self) -> dict[str, Any]:
        """`{"pattern": "2:4"}`."""
        return {"pattern": self.pattern}

    @classmethod
    def read(cls, told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Mask:
        """The mask that `json` and `tensors` describe.

        Raises:
            Wrong: they describe none.
        """
        if set(tensors) != {"keep"} or tensors["keep"].dtype != torch.bool:
            raise Wrong("a mask has something other than `keep`, one truth value for each weight")
        pattern = text(entry(told, "pattern"), "a pattern")
        n, colon, m = pattern.partition(":")
        counts = colon and n.isdecimal() and m.isdecimal()
        if not pattern.isprintable() or (counts and not (len(m) < 6 and 0 < int(n) < int(m))):
            raise Wrong(f"a mask has the pattern {shown(pattern)}, which is not N of M")
        return cls(pattern, tensors["keep"])


def _renamed(pattern: str, keep: Tensor) -> str:
    """The name of a pattern with a share of zeros, with the share that a weight has after it was cut."""
    return SHARE.sub(f"{100 * (1 - float(keep.float().mean())):.4g}% sparse", pattern)
