"""What binary and ternary quantizers share: weights and inputs that hold a few levels, and how gradients pass.

In training the latent weights stay in floating point; what computes are levels of them, and the gradient reaches the
latent weights through an estimator of each method. Afterwards a codebook of the levels is left, with which the network
is executed. Every law here is in units of its level, so that the published constants (levels -1 and 1, windows from -1
to 1) hold at any scale.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang import catalogue
from recipelang.kinds import Moment, Observed, Quantizer, Restriction, Scheme
from recipelang.lazy import torch
from recipelang.methods.quantizers._clipping import values_of

if TYPE_CHECKING:
    from torch import Tensor

#: the smallest level: far below that of any tensor that matters
SMALLEST = 1e-12
#: the edge of an input's two levels: zero is below it, so that what a ReLU passed differs from what it made zero
ABOVE_ZERO = 2.0**-126

#: a share of signs so small that the others say nothing
ALIKE = 1e-3

#: levels from the smallest to the largest along the last axis, and the edges between them
Levels = tuple["Tensor", "Tensor"]


@dataclass(frozen=True)
class Few(Quantizer):
    """A quantizer of few levels: a method says which a weight has, which an input has, and how both are trained.

    What products read is quantized, before a ReLU where there is one: its signs are those of what the ReLU reads. The
    first and the last layer stay in floating point, as in the papers, unless the recipe names modules with `in`.
    """

    needs: ClassVar[str] = "samples"
    learns: ClassVar[bool] = True
    keeps_zero: ClassVar[bool] = False
    uniform: ClassVar[bool] = False
    inputs_of_products: ClassVar[bool] = True
    ends: ClassVar[bool] = False
    bits: ClassVar[tuple[int, ...]] = (1,)

    def weight_levels(self, rows: Tensor, bits: int) -> Levels:
        """C×N latent weights → C×K levels and C×(K-1) edges."""
        raise TypeError(f"{type(self).__name__} quantizes no weights")

    def input_levels(self, values: Tensor, bits: int) -> Levels:
        """N values that a product read → K levels and K-1 edges."""
        raise TypeError(f"{type(self).__name__} quantizes no activations")

    def weight(self, value: Tensor, one: Any, state: Any, moment: Moment) -> Tensor:
        """What computes in place of a weight in a step of training, with the gradient of the method."""
        raise TypeError(f"{type(self).__name__} quantizes no weights")

    def input(self, value: Tensor, one: Any, state: Any, moment: Moment) -> Tensor:
        """What computes in place of an input of a product in a step of training, with the gradient of the method."""
        raise TypeError(f"{type(self).__name__} quantizes no activations")

    def why_not(self, observed: Observed) -> str:
        """Two signs say nothing where nearly all values have the same."""
        above = float((values_of(observed) >= ABOVE_ZERO).float().mean())
        return "" if ALIKE < above < 1 - ALIKE or self.bits != (1,) else "its signs are all alike"

    def restriction(self, observed: Observed, scheme: Scheme) -> Restriction:
        """The codebook of the levels."""
        values = values_of(observed)
        if not scheme.signed:
            return _codebook(*self.input_levels(values.flatten(), scheme.bits), None)
        levels = self.weight_levels(values if scheme.axis is not None else values[None], scheme.bits)
        return _codebook(*_of_rows(levels, scheme.axis), scheme.axis)

    def begin(self, one: Any, value: Tensor | None) -> Any:
        """A state without numbers, that knows whether it is that of a weight."""
        state: Any = torch.nn.Module()
        state.of_weight = value is not None
        return state

    def computed(self, value: Tensor, one: Restriction, state: Any, moment: Moment) -> Tensor:
        """The levels of a weight or an input."""
        return (self.weight if state.of_weight else self.input)(value, one, state, moment)

    def refitted(self, one: Any, value: Tensor) -> Any:
        """The codebook of a weight as it has become."""
        return releveled(one, self.weight_levels(rows_of(value.detach().float(), one.axis), bits_of(one)))


@dataclass(frozen=True)
class Binary(Few):
    """Weights are ± the mean of their sizes."""

    def weight_levels(self, rows: Tensor, bits: int) -> Levels:
        """The levels -α and α with the edge zero, α the mean of |w|: that with the least Σ (w - α sign w)²."""
        level = mean_size(rows)
        return torch.stack((-level, level), -1), torch.zeros_like(level)[..., None]


def _codebook(levels: Tensor, edges: Tensor, axis: int | None) -> Restriction:
    codebook: Any = catalogue.part("restriction", "codebook")
    made: Restriction = codebook(levels.contiguous(), axis, edges=edges.contiguous())
    return made


def releveled(one: Any, levels: Levels) -> Any:
    """A codebook with other levels and edges, given for each row."""
    values, edges = (each.detach().contiguous() for each in _of_rows(levels, one.axis))
    return replace(one, levels=values, edges=edges)


def _of_rows(levels: Levels, axis: int | None) -> Levels:
    """The levels of all rows, or of the only one where they share a codebook."""
    return levels if axis is not None else (levels[0][0], levels[1][0])


def level_of(one: Any, value: Tensor) -> Tensor:
    """The largest level of a codebook, where the value is."""
    level: Tensor = one.levels[-1].to(value.device)
    return level


def bits_of(one: Any) -> int:
    """The bits of a codebook in the sense of `to`: for several binary bases their number."""
    return int(one.levels.shape[-1]) - 1


# tensors ---------------------------------------------------------------------------------------


def rows_of(value: Tensor, axis: int | None) -> Tensor:
    """C×N along the axis; 1×N where all share a codebook."""
    return value.reshape(1, -1) if axis is None else value.movedim(axis, 0).flatten(1)


def along(statistic: Tensor, value: Tensor, axis: int | None) -> Tensor:
    """A statistic of rows (C,), to be broadcast over the value."""
    return statistic.reshape([-1 if k == axis else 1 for k in range(value.ndim)])


def straight(result: Tensor, path: Tensor) -> Tensor:
    """The result, bit for bit, with the gradient of the path."""
    return (path - path.detach()) + result.detach()


# laws ------------------------------------------------------------------------------------------


def signs(value: Tensor, level: Tensor) -> Tensor:
    """-level below zero, level from zero on: what computes in place of a weight."""
    return torch.where(value >= 0, level, -level)


def input_signs(value: Tensor, level: Tensor) -> Tensor:
    """What computes in place of an input: level above zero, else -level, with the gradient of the hard tanh."""
    from recipelang.surgery.leveling import two

    return two(value, ABOVE_ZERO, level)


def thirds(value: Tensor, edge: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """up from the edge on, -down below -edge, zero between."""
    return torch.where(value >= edge, up, torch.where(value < -edge, -down, torch.zeros_like(value)))


def windowed(value: Tensor, level: Tensor) -> Tensor:
    """The hard tanh at this level: its gradient is 1 where |value| ≤ level, else 0."""
    return torch.where(value.abs() <= level, value, value.detach())


def mean_size(rows: Tensor) -> Tensor:
    """C×N → (C,): the mean of |w|."""
    return rows.abs().mean(1).clamp_min(SMALLEST)


def three(edge: Tensor, up: Tensor, down: Tensor) -> Levels:
    """(C,) each → the levels -down, zero and up, with the edges -edge and edge."""
    return torch.stack((-down, torch.zeros_like(up), up), -1), torch.stack((-edge, edge), -1)


def two_of_inputs(values: Tensor) -> Levels:
    """The two levels of an input: ± the mean of |x|, and the edge above zero."""
    level = values.abs().mean().clamp_min(SMALLEST)
    return torch.stack((-level, level)), torch.full((1,), ABOVE_ZERO)
