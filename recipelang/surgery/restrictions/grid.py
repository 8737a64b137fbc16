"""A grid: the numbers that a quantized weight or activation may hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import Any, ClassVar

import torch
from torch import Tensor

from recipelang.kinds import Scheme
from recipelang.surgery.entries import Wrong, entry, shown

FEWEST, MOST = 2, 16  # bits
#: scale of a tensor that is zero throughout: far below that of any tensor that matters, and a normal float32
SMALLEST = 1e-12


@dataclass(frozen=True)
class Grid:
    """scale · (n - zero) for the integers n of a scheme. Zero is always one of these numbers.

    The parameter keeps its full precision in the module, and training moves it (straight-through: the gradient passes
    where the value is inside the range, and is zero outside). What computes is the nearest number of the grid.

    Attributes:
        scale: float32, () or (C,) along the scheme's axis; positive.
        zero: int32 of the same shape: the integer that stands for zero.
        scheme: the integers.
    """

    kind: ClassVar[str] = "grid"
    computes: ClassVar[bool] = True

    scale: Tensor
    zero: Tensor
    scheme: Scheme

    @staticmethod
    def between(low: Tensor, high: Tensor, scheme: Scheme) -> Grid:
        """The grid over low…high, widened to hold zero: zeros of masks, padding and ReLU stay exact.

        Args:
            low, high: float32, () or (C,).
            scheme: the integers.
        """
        low, high = low.float().clamp_max(0), high.float().clamp_min(0)
        if scheme.symmetric:
            scale = (torch.maximum(-low, high) / scheme.high).clamp_min(SMALLEST)
            return Grid(scale, torch.zeros_like(scale, dtype=torch.int32), scheme)
        scale = ((high - low) / (scheme.high - scheme.low)).clamp_min(SMALLEST)
        zero = (scheme.low - low / scale).round().clamp(scheme.low, scheme.high)
        return Grid(scale, zero.to(torch.int32), scheme)

    @property
    def name(self) -> str:
        """`8 bits`."""
        return f"{self.scheme.bits} bits"

    def why_not(self, value: Tensor) -> str:
        """Why it cannot be on this tensor; "" where it can."""
        axis = self.scheme.axis
        if axis is None or (axis < value.ndim and value.shape[axis] == len(self.scale)):
            return ""
        return f"has {len(self.scale)} scales along axis {axis}, and the network has the shape {tuple(value.shape)}"

    def apply(self, value: Tensor) -> Tensor:
        """The nearest numbers of the grid, of the value's type; computed in float32, also under autocast.

        Values more than 2³¹ steps away from zero, which only a tensor that was observed as zero can have, become some
        number of the grid: torch's kernel counts steps in 32 bits.
        """
        scale, zero = self.scale.to(value.device), self.zero.to(value.device)
        limits = self.scheme.low, self.scheme.high
        with torch.autocast(value.device.type, enabled=False):
            if self.scheme.axis is None:
                snapped = torch.fake_quantize_per_tensor_affine(value.float(), scale, zero, *limits)
            else:
                snapped = torch.fake_quantize_per_channel_affine(value.float(), scale, zero, self.scheme.axis, *limits)
        return snapped.to(value.dtype)

    def codes(self, value: Tensor) -> Tensor:
        """The integers n of the nearest numbers, int32."""
        scale, zero = self._shaped(value)
        return (self.apply(value.float()) / scale).round().to(torch.int32) + zero

    def values(self, codes: Tensor) -> Tensor:
        """The numbers that integers stand for, float32."""
        scale, zero = self._shaped(codes)
        return (codes - zero) * scale

    def _shaped(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and zero on the tensor's device, to be broadcast over it."""
        scale, zero = self.scale.to(like.device), self.zero.to(like.device)
        if self.scheme.axis is None:
            return scale, zero
        shape = [-1 if axis == self.scheme.axis else 1 for axis in range(like.ndim)]
        return scale.view(shape), zero.view(shape)

    def multiplied(self, factor: Tensor) -> Grid:
        """The grid after every row of its tensor was multiplied by a number of its own (C,): the integers stay what
        they are, up to the sign of rows with a negative factor.

        It must have a row for each of them (`axis` of the scheme is 0).
        """
        return replace(self, scale=(self.scale * factor.abs()).clamp_min(SMALLEST))

    def hold(self, parameter: Tensor, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Nothing: the parameter keeps its full precision."""

    def holds(self, value: Tensor) -> bool:
        """Any value is allowed: the nearest numbers of the grid are computed with."""
        return True

    def carried(self, shape: torch.Size, change: Callable[[Tensor], Tensor]) -> Grid:
        """The grid of the reordered or cut parameter: each row keeps its own."""
        if self.scheme.axis is None:
            return self
        axis = self.scheme.axis

        def rows(values: Tensor) -> Tensor:
            whole = change(values.view([-1 if k == axis else 1 for k in range(len(shape))]).expand(shape).contiguous())
            return whole.movedim(axis, 0).flatten(1)[:, 0].contiguous()

        return Grid(rows(self.scale), rows(self.zero), self.scheme)

    def stored(self, value: Tensor | None) -> int:
        """The integers, without gaps, and 4 bytes for each scale and 1 for each zero."""
        return ceil((0 if value is None else value.numel()) * self.scheme.bits / 8) + 5 * self.scale.numel()

    def tensors(self) -> Mapping[str, Tensor]:
        """`scale` and `zero`."""
        return {"scale": self.scale, "zero": self.zero}

    def json(self) -> dict[str, Any]:
        """The scheme: `{"bits": 8, "signed": true, "symmetric": true, "axis": 0}`."""
        return asdict(self.scheme)

    @classmethod
    def read(cls, told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Grid:
        """The grid that `json` and `tensors` describe.

        Raises:
            Wrong: they describe none.
        """
        bits, axis = entry(told, "bits"), entry(told, "axis")
        if type(bits) is not int or not FEWEST <= bits <= MOST:
            raise Wrong(f"a grid has {shown(bits)} bits, not {FEWEST} to {MOST}")
        if axis is not None and (type(axis) is not int or not 0 <= axis < 8):
            raise Wrong(f"a grid has the axis {shown(axis)}")
        flags = [entry(told, name) for name in ("signed", "symmetric")]
        if not all(isinstance(flag, bool) for flag in flags):
            raise Wrong("`signed` or `symmetric` of a grid is not a truth value")
        scheme = Scheme(bits, flags[0], flags[1], axis)
        if set(tensors) != {"scale", "zero"}:
            raise Wrong("a grid has something other than `scale` and `zero`")
        scale, zero = tensors["scale"], tensors["zero"]
        shaped = scale.shape == zero.shape and scale.ndim == (axis is not None)
        if not shaped or scale.dtype != torch.float32 or zero.dtype != torch.int32:
            raise Wrong("`scale` and `zero` of a grid are not float32 and int32 of one shape")
        if not bool((scale.isfinite() & (scale > 0)).all()):
            raise Wrong("a scale of a grid is not a positive number")
        if not bool(((zero >= scheme.low) & (zero <= scheme.high)).all()):
            raise Wrong("a zero of a grid is not one of its integers")
        return cls(scale, zero, scheme)
