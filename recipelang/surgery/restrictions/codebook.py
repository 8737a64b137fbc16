"""A codebook: a few numbers, of any distance from each other, that a weight or activation may hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, ClassVar

import torch
from torch import Tensor

from recipelang.surgery.entries import LONGEST_TEXT, Wrong, entry, shown, text

FEWEST, MOST = 2, 256  # levels: a code is one byte


@dataclass(frozen=True)
class Codebook:
    """One of a few levels: -α and α of a binary weight, 0 and ±α of a ternary one, powers of two.

    The parameter keeps its full precision in the module, and training moves it (straight-through: the gradient passes
    as if nothing was rounded). What computes is the nearest level; a value in the middle of two is rounded up, so that
    levels -1 and 1 are the sign, and that of zero is 1. Zero stays zero only where it is a level. A method that has a
    threshold of its own, such as 0.7 times the mean of |w|, gives `edges` instead of the middles.

    Attributes:
        levels: float32, (K,) or (C, K) along the axis: from the smallest to the largest, and they may be equal.
        axis: of the tensor, along which each row has levels of its own; None: one codebook for all.
        trained: the method that learns the levels in later training, as a recipe writes it; "": none.
        edges: float32, (K - 1,) or (C, K - 1), ascending: the smallest values that get the second level, the third, …;
            None: the nearest level counts.
    """

    kind: ClassVar[str] = "codebook"
    computes: ClassVar[bool] = True

    levels: Tensor
    axis: int | None = None
    trained: str = ""
    edges: Tensor | None = None

    @staticmethod
    def of(levels: Tensor, axis: int | None = None, trained: str = "") -> Codebook:
        """The codebook of these levels, (K,) or (C, K), in any order."""
        return Codebook(levels.detach().float().sort(-1).values.contiguous(), axis, trained)

    @property
    def count(self) -> int:
        """How many levels a row has."""
        return self.levels.shape[-1]

    @property
    def bits(self) -> int:
        """Of one code."""
        return (self.count - 1).bit_length()

    @property
    def name(self) -> str:
        """`2 levels`."""
        return f"{self.count} levels"

    @property
    def holds_zero(self) -> bool:
        """Whether zero is a level of every row, so that the zeros of a mask stay zeros."""
        return bool((self.levels == 0).any(-1).all())

    def why_not(self, value: Tensor) -> str:
        """Why it cannot be on this tensor; "" where it can."""
        if self.axis is None or (self.axis < value.ndim and value.shape[self.axis] == len(self.levels)):
            return ""
        return (
            f"has levels for {len(self.levels)} rows along axis {self.axis}, "
            f"and the network has the shape {tuple(value.shape)}"
        )

    def apply(self, value: Tensor) -> Tensor:
        """The levels of values, of their type and with their gradient; computed in float32, also under autocast."""
        nearest: Tensor = _Nearest.apply(value, self)
        return nearest

    def codes(self, value: Tensor) -> Tensor:
        """The number of the level of each value, uint8; NaN has the last one."""
        with torch.no_grad(), torch.autocast(value.device.type, enabled=False):
            middles = self.middles().to(value.device)
            if self.axis is None:
                return torch.bucketize(value.float().contiguous(), middles, right=True).to(torch.uint8)
            rows = value.movedim(self.axis, 0)
            found = torch.searchsorted(middles, rows.float().flatten(1).contiguous(), right=True).to(torch.uint8)
            return found.view(rows.shape).movedim(0, self.axis).contiguous()

    def values(self, codes: Tensor) -> Tensor:
        """The levels that codes stand for, float32."""
        levels = self.levels.to(codes.device)
        if self.axis is None:
            return levels[codes.long()]
        rows = codes.movedim(self.axis, 0)
        found = levels.gather(1, rows.flatten(1).long())
        return found.view(rows.shape).movedim(0, self.axis).contiguous()

    def middles(self) -> Tensor:
        """(K - 1,) or (C, K - 1): the smallest float32 that is rounded to the next level, not to the one before."""
        if self.edges is not None:
            return self.edges
        exact = (self.levels[..., 1:].double() + self.levels[..., :-1].double()) / 2
        middles = exact.float()
        up = torch.full_like(middles, torch.inf)
        return torch.where(middles.double() < exact, torch.nextafter(middles, up), middles).contiguous()

    def multiplied(self, factor: Tensor) -> Codebook:
        """The codebook after every row of its tensor was multiplied by a number of its own (C,), which may be negative.

        It must have a row for each of them (`axis` is 0).
        """
        factor = factor.to(self.levels)[:, None]
        made = Codebook.of(self.levels * factor, self.axis, self.trained)
        edges = None if self.edges is None else (self.edges * factor).sort(-1).values.contiguous()
        return replace(made, edges=edges)

    def hold(self, parameter: Tensor, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Nothing: the parameter keeps its full precision."""

    def gathered(self, gradient: Tensor) -> Tensor:
        """The gradient itself."""
        return gradient

    def holds(self, value: Tensor) -> bool:
        """Any value is allowed: the nearest levels are computed with."""
        return True

    def carried(self, shape: torch.Size, change: Callable[[Tensor], Tensor]) -> Codebook:
        """The codebook of the reordered or cut parameter: each row keeps its own levels."""
        if self.axis is None:
            return self
        numbers = torch.arange(len(self.levels)).view([-1 if k == self.axis else 1 for k in range(len(shape))])
        rows = change(numbers.expand(shape).contiguous()).movedim(self.axis, 0).flatten(1)[:, 0]
        edges = None if self.edges is None else self.edges[rows].contiguous()
        return replace(self, levels=self.levels[rows].contiguous(), edges=edges)

    def stored(self, value: Tensor | None) -> int:
        """The codes, without gaps, and 4 bytes for each level; a weight is stored as codes and needs no edges."""
        return ceil((0 if value is None else value.numel()) * self.bits / 8) + 4 * self.levels.numel()

    def tensors(self) -> Mapping[str, Tensor]:
        """`levels`, and `edges` where there are some."""
        return {"levels": self.levels} if self.edges is None else {"levels": self.levels, "edges": self.edges}

    def json(self) -> dict[str, Any]:
        """`{"axis": 0, "trained": "ttq"}`."""
        return {"axis": self.axis, "trained": self.trained}

    @classmethod
    def read(cls, told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Codebook:
        """The codebook that `json` and `tensors` describe.

        Raises:
            Wrong: they describe none.
        """
        axis, trained = entry(told, "axis"), text(entry(told, "trained"), "`trained` of a codebook")
        if axis is not None and (type(axis) is not int or not 0 <= axis < 8):
            raise Wrong(f"a codebook has the axis {shown(axis)}")
        if not trained.isprintable():
            raise Wrong(f"`trained` of a codebook is {shown(trained)}, not up to {LONGEST_TEXT} printed characters")
        if not {"levels"} <= set(tensors) <= {"levels", "edges"}:
            raise Wrong("a codebook has something other than `levels` and `edges`")
        levels = tensors["levels"]
        if levels.dtype != torch.float32 or levels.ndim != 1 + (axis is not None):
            raise Wrong("the levels of a codebook are not float32, one row of them for each row of its axis")
        if not FEWEST <= levels.shape[-1] <= MOST:
            raise Wrong(f"a codebook has {levels.shape[-1]:,} levels, not {FEWEST} to {MOST}")
        if not bool(levels.isfinite().all()) or not bool((levels[..., 1:] >= levels[..., :-1]).all()):
            raise Wrong("the levels of a codebook are not finite numbers from the smallest to the largest")
        edges = tensors.get("edges")
        if edges is not None and (edges.dtype != torch.float32 or edges.shape != levels[..., 1:].shape):
            raise Wrong("the edges of a codebook are not float32, one between each two levels")
        if edges is not None and not bool(edges.isfinite().all() and (edges[..., 1:] >= edges[..., :-1]).all()):
            raise Wrong("the edges of a codebook are not finite numbers from the smallest to the largest")
        return cls(levels, axis, trained, edges)


class _Nearest(torch.autograd.Function):
    """The level, with the gradient of the identity."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, codebook: Codebook) -> Tensor:
        return codebook.values(codebook.codes(value)).to(value.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None
