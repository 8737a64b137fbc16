"""`qnn`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Moment, Observed, Restriction, Scheme
from recipelang.lazy import torch
from recipelang.methods.quantizers._few import along
from recipelang.methods.quantizers._learning import Symmetric, keep_between, powers_of_two

if TYPE_CHECKING:
    from torch import Tensor


@method("quantizer", "qnn")
@dataclass(frozen=True)
class Qnn(Symmetric):
    """Quantized neural networks: equal steps or powers of two, and weights that are clipped to their range.

    What: networks trained from the start with few bits everywhere; with `steps=log` every product is a shift.
    Formula: linear: clip(round(x/s)·s, low, high), s = (high - low)/(2^b - 1), and for a weight max|w|/(2^(b-1) - 1).
        log: the nearest of 0 and ±2^n for a weight, 2^(b-1) - 1 values of n up to round(log₂ max|w|), and of 0 and 2^n
        for an activation that was not seen below zero, 2^b - 1 values of n. The gradient passes where a value is inside
        of the range and is cancelled outside; after every step weights are clipped to the range.
    Shapes: one range for a weight (`per`), one for an activation.
    Needs: training after it.
    When it misleads: ranges stay as they were seen when training begins, and a weight at the end of its range that
        should grow cannot. One bit is `bnn`.
    Source: Hubara et al. 2016, "Quantized Neural Networks", section 3, equations 10 and 11 and algorithm 1.
    """

    learns: ClassVar[bool] = True

    steps: str = setting("linear", type="word", choices=("linear", "log"), help="Equal steps, or powers of two.")

    def restriction(self, observed: Observed, scheme: Scheme) -> Restriction | None:
        """A grid, or powers of two with zero."""
        if self.steps == "linear":
            return None
        from recipelang.surgery.restrictions.codebook import Codebook

        most = torch.maximum(-observed.low, observed.high).double().clamp_min(1e-30)
        below = scheme.signed or bool((observed.low < 0).any())
        count = min(2 ** (scheme.bits - 1) - 1 if below else 2**scheme.bits - 1, MOST_POWERS)
        return Codebook.of(powers_of_two(most.log2().round(), count, both=below), scheme.axis)

    def computed(self, value: Tensor, one: Any, state: Any, moment: Moment) -> Tensor:
        """The nearest numbers, with a gradient inside the range."""
        if one.kind == "grid":
            nearest: Tensor = one.apply(value)
            return nearest
        low, high = self._ends(one, value)
        return one.apply(value.maximum(low).minimum(high))

    def after_step(self, parameter: Any, one: Any, state: Any, moment: Moment, optimizer: Any) -> None:
        """Weights stay within the range."""
        if parameter is not None:
            keep_between(parameter, *self._ends(one, parameter))

    def _ends(self, one: Any, value: Tensor) -> tuple[Tensor, Tensor]:
        """The smallest and the largest number, to be broadcast."""
        if one.kind == "grid":
            step, low, high = one.steps(value)
            return step * low, step * high
        levels = one.levels.to(value.device)
        return along(levels[..., 0], value, one.axis), along(levels[..., -1], value, one.axis)


#: powers of two on one side of zero: float32 has no smaller ones that matter, and a code is one byte
MOST_POWERS = 100
