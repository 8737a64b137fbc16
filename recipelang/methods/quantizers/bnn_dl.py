"""`bnn_dl`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.kinds import Moment
from recipelang.methods.quantizers._few import ABOVE_ZERO, level_of
from recipelang.methods.quantizers.bnn import Bnn

if TYPE_CHECKING:
    from torch import Tensor

#: added to a variance, so that the root of zero has a gradient
TINY = 1e-10


@method("quantizer", "bnn_dl")
@dataclass(frozen=True)
class BnnDl(Bnn):
    """`bnn` with a penalty on how the inputs of its products are distributed, so that their signs say something.

    What: three ways in which a channel is useless are penalised: all its values have one sign (degeneration), hardly
        any is inside the window that has gradients (saturation), or all are far inside it, so that the gradient is
        that of another function (mismatch).
    Formula: for each channel, μ and σ of x/β over the batch and its places: degeneration max(μ² - σ², 0), saturation
        max(σ - 4, 0)², mismatch max(2 - |μ| - σ, 0)²; the loss gets strength · Σ over layers of the mean over channels.
        Everything else is that of `bnn`.
    Shapes: x is B×C×… , or …×C where a linear layer reads it.
    Needs: as `bnn`: data for β, and training afterwards.
    Masks: refused, as by `bnn`.
    When it misleads: the constants are for what a BatchNorm gives; the penalty is in the loss that the history shows.
        The authors drop it in the last epochs: `finetune` in two steps, the second with a small learning rate.
    Source: Ding et al. 2019, "Regularizing Activation Distribution for Training Binarized Deep Networks", equation 2,
        with the terms and constants of the authors' code.
    """

    strength: float = setting(
        0.3, type="number", low=0, open_low=True, positional=True, help="Weight of the penalty in the loss."
    )

    def input(self, value: Tensor, one: Any, state: Any, moment: Moment) -> Tensor:
        """As `bnn`; the penalty of what was read is kept until the loss asks for it."""
        from recipelang.surgery.leveling import two_with_moments

        level = level_of(one, value)
        levels, mean, variance = two_with_moments(value, ABOVE_ZERO, level)
        state.seen = useless(mean / level, variance / level.square())
        return levels

    def penalty(self, one: Any, state: Any, moment: Moment) -> Tensor | None:
        """strength times the penalty of this step's values; None for a weight."""
        seen: Tensor | None = state.__dict__.pop("seen", None)
        return None if seen is None else self.strength * seen


def useless(mean: Tensor, variance: Tensor) -> Tensor:
    """(C,) each, of values in units of their level → the three terms, their mean over channels."""
    variance = variance + TINY
    deviation = variance.sqrt()
    degenerate = (mean.square() - variance).clamp_min(0)
    saturated = (deviation - 4).clamp_min(0).square()
    mismatched = (2 - mean.abs() - deviation).clamp_min(0).square()
    return (degenerate + saturated + mismatched).mean()
