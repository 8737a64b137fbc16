"""A grid: the numbers that a quantized weight or activation may hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from math import ceil, prod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.kinds import Scheme
from recipelang.surgery.entries import Wrong, entry, shown, text
from recipelang.surgery.snapping import rounded

FEWEST, MOST = 2, 16  # bits
#: inputs of a group in a file that anyone may have written
LARGEST = 2**20
#: scale of a tensor that is zero throughout: far below that of any tensor that matters, and a normal float32
SMALLEST = 1e-12


@dataclass(frozen=True)
class Grid:
    """scale · (n - zero) for the integers n of a scheme. Zero is always one of these numbers.

    The parameter keeps its full precision in the module, and training moves it (straight-through: the gradient passes
    where the value is inside the range, and is zero outside). What computes is the nearest number of the grid.

    Attributes:
        scale: float32, () or (C,) along the scheme's axis, or (C, G) for the groups of each row; positive.
        zero: int32 of the same shape: the integer that stands for zero.
        scheme: the integers.
        trained: the quantizer that trains it, as it is written in a recipe; "" where training leaves it as it is.
    """

    kind: ClassVar[str] = "grid"
    computes: ClassVar[bool] = True

    scale: Tensor
    zero: Tensor
    scheme: Scheme
    trained: str = ""

    @staticmethod
    def between(low: Tensor, high: Tensor, scheme: Scheme) -> Grid:
        """The grid over low…high, widened to hold zero: zeros of masks, padding and ReLU stay exact.

        Args:
            low, high: float32, (), (C,) or (C, G).
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

    @property
    def bits(self) -> int:
        """Of one number."""
        return self.scheme.bits

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        """Its smallest and its largest number, of the shape of `scale`."""
        low, high = (self.scale * (end - self.zero) for end in (self.scheme.low, self.scheme.high))
        return low, high

    def over(self, low: Tensor, high: Tensor) -> Grid:
        """The grid of the same integers over another range, as of `between`."""
        return replace(Grid.between(low, high, self.scheme), trained=self.trained)

    def why_not(self, value: Tensor) -> str:
        """Why it cannot be on this tensor; "" where it can."""
        axis, group = self.scheme.axis, self.scheme.group
        if axis is None:
            return ""
        rows = len(self.scale)
        if axis < value.ndim and value.shape[axis] == rows:
            groups = ceil(value.numel() // rows / group) if group else 0
            if not group or groups == self.scale.shape[1]:
                return ""
        scales = " × ".join(map(str, self.scale.shape))
        return f"has {scales} scales along axis {axis}, and the network has the shape {tuple(value.shape)}"

    def apply(self, value: Tensor) -> Tensor:
        """The nearest numbers of the grid, of the value's type; computed in float32, also under autocast."""
        with torch.autocast(value.device.type, enabled=False):
            snapped = rounded(value.float(), *self.steps(value))
        return snapped.to(value.dtype)

    def steps(self, value: Tensor, scale: Tensor | None = None) -> tuple[Tensor, int | Tensor, int | Tensor]:
        """The step, to be broadcast over a value, and the ends of the integers less the zero point.

        Args:
            value: whose shape and device they get.
            scale: in place of the grid's, with gradients.
        """
        step, zero = (self if scale is None else replace(self, scale=scale)).spread(value.shape, value.device)
        low, high = self.scheme.low, self.scheme.high
        if self.scheme.symmetric:
            return step, low, high
        if self.scheme.axis is None and zero.device.type == "cpu":
            return step, low - int(zero), high - int(zero)
        return step, low - zero, high - zero

    def codes(self, value: Tensor) -> Tensor:
        """The integers n of the nearest numbers, int32."""
        scale, zero = self.spread(value.shape, value.device)
        return (self.apply(value.float()) / scale).round().to(torch.int32) + zero

    def values(self, codes: Tensor) -> Tensor:
        """The numbers that integers stand for, float32."""
        scale, zero = self.spread(codes.shape, codes.device)
        return (codes - zero) * scale

    def spread(self, shape: torch.Size, device: torch.device) -> tuple[Tensor, Tensor]:
        """Scale and zero on a device, to be broadcast over a tensor of this shape."""
        scale, zero = self.scale.to(device), self.zero.to(device)
        axis, group = self.scheme.axis, self.scheme.group
        if axis is None:
            return scale, zero
        if group is not None:
            return tuple(  # type: ignore[return-value]
                ungrouped(one.unsqueeze(2).expand(-1, -1, group), shape, axis) for one in (scale, zero)
            )
        rows = [-1 if one == axis else 1 for one in range(len(shape))]
        return scale.view(rows), zero.view(rows)

    def multiplied(self, factor: Tensor) -> Grid:
        """The grid after every row of its tensor was multiplied by a number of its own (C,): the integers stay what
        they are; those of rows with a negative factor change their order.

        It must have a row for each of them (`axis` of the scheme is 0).
        """
        rows = factor.to(self.scale.device).view(-1, *[1] * (self.scale.ndim - 1))
        zero = torch.where(rows < 0, self.scheme.low + self.scheme.high - self.zero, self.zero)
        return replace(self, scale=(self.scale * rows.abs()).clamp_min(SMALLEST), zero=zero)

    def shifting(self) -> Grid:
        """The grid with each scale raised to the next power of two: it reaches as far, and zero points follow."""
        scale = torch.exp2(self.scale.double().log2().sub(1e-6).ceil()).float()
        low = (self.scheme.low - self.zero) * self.scale
        zero = (self.scheme.low - low / scale).round().clamp(self.scheme.low, self.scheme.high)
        return replace(self, scale=scale, zero=self.zero if self.scheme.symmetric else zero.to(torch.int32))

    def hold(self, parameter: Tensor, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Nothing: the parameter keeps its full precision."""

    def gathered(self, gradient: Tensor) -> Tensor:
        """The gradient itself."""
        return gradient

    def holds(self, value: Tensor) -> bool:
        """Any value is allowed: the nearest numbers of the grid are computed with."""
        return True

    def carried(self, shape: torch.Size, change: Callable[[Tensor], Tensor]) -> Grid:
        """The grid of the reordered or cut parameter: each row keeps its own, and so does each group.

        Raises:
            Refusal: RCP1406: inputs of one group would have different scales.
        """
        axis, group = self.scheme.axis, self.scheme.group
        if axis is None:
            return self

        def rows(values: Tensor) -> Tensor:
            return change(values.expand(shape).contiguous()).movedim(axis, 0).flatten(1)

        scale, zero = map(rows, self.spread(shape, self.scale.device))
        if group is None:
            return replace(self, scale=scale[:, 0].contiguous(), zero=zero[:, 0].contiguous())
        last = torch.arange(ceil(scale.shape[1] / group) * group).clamp_max(scale.shape[1] - 1)
        scale, zero = (one[:, last].unflatten(1, (-1, group)) for one in (scale, zero))
        if bool((scale != scale[..., :1]).any() or (zero != zero[..., :1]).any()):
            raise Refusal(
                "RCP1406",
                f"with its inputs changed, a weight would have groups of {group} with different scales in one group",
                "remove and reorder channels before `quantize … by NAME(per=group)`",
            )
        return replace(self, scale=scale[..., 0].contiguous(), zero=zero[..., 0].contiguous())

    def stored(self, value: Tensor | None) -> int:
        """The integers, without gaps, and 4 bytes for each scale and 1 for each zero."""
        return ceil((0 if value is None else value.numel()) * self.scheme.bits / 8) + 5 * self.scale.numel()

    def tensors(self) -> Mapping[str, Tensor]:
        """`scale` and `zero`."""
        return {"scale": self.scale, "zero": self.zero}

    def json(self) -> dict[str, Any]:
        """The scheme: `{"bits": 8, "signed": true, "symmetric": true, "axis": 0}`; `group` and `trained` where set."""
        told = asdict(self.scheme)
        if self.scheme.group is None:
            del told["group"]
        return told | ({"trained": self.trained} if self.trained else {})

    @classmethod
    def read(cls, told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Grid:
        """The grid that `json` and `tensors` describe.

        Raises:
            Wrong: they describe none.
        """
        scheme = _scheme(told)
        trained = text(told["trained"], "`trained` of a grid") if "trained" in told else ""
        if not trained.isprintable():
            raise Wrong(f"a grid is trained by {shown(trained)}")
        if set(tensors) != {"scale", "zero"}:
            raise Wrong("a grid has something other than `scale` and `zero`")
        scale, zero = tensors["scale"], tensors["zero"]
        axes = 0 if scheme.axis is None else 1 if scheme.group is None else 2
        shaped = scale.shape == zero.shape and scale.ndim == axes
        if not shaped or scale.dtype != torch.float32 or zero.dtype != torch.int32:
            raise Wrong("`scale` and `zero` of a grid are not float32 and int32 of one shape")
        if not bool((scale.isfinite() & (scale > 0)).all()):
            raise Wrong("a scale of a grid is not a positive number")
        if not bool(((zero >= scheme.low) & (zero <= scheme.high)).all()):
            raise Wrong("a zero of a grid is not one of its integers")
        return cls(scale, zero, scheme, trained)


def _scheme(told: Mapping[str, Any]) -> Scheme:
    """The scheme of an untrusted entry.

    Raises:
        Wrong: it describes none.
    """
    bits, axis, group = entry(told, "bits"), entry(told, "axis"), told.get("group")
    if type(bits) is not int or not FEWEST <= bits <= MOST:
        raise Wrong(f"a grid has {shown(bits)} bits, not {FEWEST} to {MOST}")
    if axis is not None and (type(axis) is not int or not 0 <= axis < 8):
        raise Wrong(f"a grid has the axis {shown(axis)}")
    if group is not None and (type(group) is not int or not 1 <= group <= LARGEST or axis is None):
        raise Wrong(f"a grid has groups of {shown(group)}")
    flags = [entry(told, name) for name in ("signed", "symmetric")]
    if not all(isinstance(flag, bool) for flag in flags):
        raise Wrong("`signed` or `symmetric` of a grid is not a truth value")
    return Scheme(bits, flags[0], flags[1], axis, group)


def grouped(tensor: Tensor, axis: int, group: int) -> Tensor:
    """A tensor as C rows of G groups: (C, G, group), each row flattened, its last group filled up with zeros."""
    rows = tensor.movedim(axis, 0).flatten(1)
    return nn.functional.pad(rows, (0, -rows.shape[1] % group)).unflatten(1, (-1, group))


def ungrouped(groups: Tensor, shape: torch.Size, axis: int) -> Tensor:
    """The tensor of this shape whose groups these are: the inverse of `grouped`."""
    rows = shape[axis], *shape[:axis], *shape[axis + 1 :]
    return groups.flatten(1)[:, : prod(rows[1:])].reshape(rows).movedim(0, axis)
