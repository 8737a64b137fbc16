"""`lapq`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Observed, Scheme
from recipelang.methods.quantizers._clipping import least_error
from recipelang.methods.quantizers._uniform import Uniform

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.kinds import Progress, Restriction
    from recipelang.kinds.quantizer import Loss, Sought

#: the exponents whose ranges are compared first, and the shares of a range that are searched between
NORMS, SHARES = (2.0, 2.5, 3.0, 3.5, 4.0), (0.4, 1.6)


@method("quantizer", "lapq")
@dataclass(frozen=True)
class LAPQ(Uniform):
    """The ranges of all places together, with the least loss of the whole network on the samples.

    What: what clipping costs in one layer depends on how the others are clipped; with few bits much.
    Formula: for p = 2, 2.5, 3, 3.5, 4 each place has the range of least mean |Q(x) - x|^p, and the loss of the network
        is computed. A parabola through these losses gives one more p. From the best of them, Powell's method
        moves a factor for each place (0.4 … 1.6, for all rows of a weight together) to less loss.
    Shapes: N values for each range → one range each, all places at once.
    Needs: `on train(samples=512)` with labels, also for weights; `evaluations` passes over these samples.
    When it misleads: it fits the samples: use a few hundred. With 8 bits there is nothing to gain. The first sweep of
        Powell's method needs some ten evaluations for each place; where there are fewer, the last places stay.
    Source: Nahshan et al. 2019, "Loss Aware Post-training Quantization", arXiv:1911.07190, sections 4.1 to 4.3.
    """

    needs: ClassVar[str] = "loss"

    evaluations: int = setting(
        300, type="integer", low=len(NORMS) + 1, positional=True, help="How often the loss is computed, at most."
    )
    steps: int = setting(
        60, type="integer", low=10, high=1000, help="How many shares of a range are tried for each exponent."
    )

    def range(self, observed: Observed, scheme: Scheme) -> tuple[Tensor, Tensor]:
        """The range of least squared error: where a place is alone."""
        return least_error(observed, scheme, NORMS[0], self.steps)

    def joint(self, sought: Mapping[str, Sought], loss: Loss, progress: Progress) -> Mapping[str, Restriction]:
        """The best restrictions that were seen."""
        from scipy.optimize import minimize

        search = _Search(sought, loss, progress, self.evaluations)
        progress.start("computing losses", self.evaluations)
        try:
            losses = {norm: search.of_norm(norm, self.steps) for norm in NORMS}
            between = parabola(losses)
            losses[between] = losses[between] if between in losses else search.of_norm(between, self.steps)
            ends = search.ends[min(losses, key=lambda norm: losses[norm])]
            minimize(
                lambda factors: search.of_factors(ends, factors),
                [1.0] * len(sought),
                method="Powell",
                bounds=[SHARES] * len(sought),
                options={"ftol": 1e-4, "xtol": 1e-2},
            )
        except _Enough:
            pass
        finally:
            progress.stop()
        return search.best


class _Enough(Exception):
    """The loss was computed as often as it may be."""


class _Search:
    """What was computed, and the best of it."""

    def __init__(self, sought: Mapping[str, Sought], loss: Loss, progress: Progress, most: int) -> None:
        self.sought, self.loss, self.progress, self.left = sought, loss, progress, most
        self.ends: dict[float, dict[str, tuple[Tensor, Tensor]]] = {}
        self.best: Mapping[str, Restriction] = {}
        self._least = math.inf

    def of_norm(self, norm: float, steps: int) -> float:
        """The loss with the ranges of least error by this exponent."""
        self.ends[norm] = {place: least_error(*one, norm, steps) for place, one in self.sought.items()}
        return self.of_factors(self.ends[norm], [1.0] * len(self.sought))

    def of_factors(self, ends: Mapping[str, tuple[Tensor, Tensor]], factors: list[float]) -> float:
        """The loss with each range multiplied by the factor of its place."""
        from recipelang.surgery.restrictions.grid import Grid

        if not self.left:
            raise _Enough
        self.left -= 1
        made: dict[str, Restriction] = {}
        for (place, (low, high)), factor in zip(ends.items(), factors, strict=True):
            made[place] = Grid.between(low * float(factor), high * float(factor), self.sought[place][1])
        found = self.loss(made)
        found = found if math.isfinite(found) else 1e30
        if found < self._least or not self.best:
            self.best, self._least = made, found
        self.progress.advance(note=f"least {self._least:.4g}")
        return found


def parabola(losses: Mapping[float, float]) -> float:
    """The exponent where a parabola through these losses is least; the best of them where it opens down."""
    import numpy

    norms = list(losses)
    square, line, _ = numpy.polyfit(norms, [losses[norm] for norm in norms], 2)
    if not square > 0:
        return min(losses, key=lambda norm: losses[norm])
    return float(min(max(-line / (2 * square), norms[0]), norms[-1]))
