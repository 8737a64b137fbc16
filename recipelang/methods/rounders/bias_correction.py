"""`bias_correction(rounding=…)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import SettingError
from recipelang.kinds import LAYER, Piece, Progress, Rounded, as_matrices, nearest


@method("rounder", "bias_correction")
@dataclass(frozen=True)
class BiasCorrection:
    """Weights become the nearest numbers, and each output is shifted so that its mean is what it was.

    What: rounding errors of a row do not cancel, so every channel is off by a constant that a bias can compensate.
        Where a BatchNorm follows, its running mean does.
    Formula: shift of output o = Σ_k W_ok E[x_k] - Σ_k Ŵ_ok E[x̂_k], means over all images and positions, x̂ what enters
        once the layers before are rounded.
    Shapes: G×K means of the inputs of a weight; N shifts.
    Needs: `on train(samples=512)`, without labels; two passes for each weight, up to that weight. Any grid.
    When it misleads: it repairs means, no more. A weight with no bias and no BatchNorm after it has nowhere to put the
        shift, and is named.
    Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019,
        section 4.2 and appendix D (the empirical form).
    """

    looks_at_data: ClassVar[bool] = True
    unit: ClassVar[str] = LAYER

    rounding: Any = setting(
        None,
        type="method",
        kind="rounder",
        positional=True,
        help="A rounder of layers whose rounding is corrected; without it weights are rounded to nearest.",
    )

    def __post_init__(self) -> None:
        if self.rounding is not None and self.rounding.unit != LAYER:
            raise SettingError(
                "rounding", f"`{self.rounding.name}` rounds several weights together, and means are of one"
            )

    @property
    def uniform(self) -> bool:
        """As the rounder that it corrects."""
        return self.rounding is not None and self.rounding.uniform

    def round(self, piece: Piece, progress: Progress) -> Rounded:
        """The values, and the shift of each weight whose inputs are observed.

        Raises:
            Refusal: RCP1010: an input is not a finite number.
        """
        made = self.rounding.round(piece, progress) if self.rounding is not None else Rounded(nearest(piece))
        shifts, left = {}, dict(made.left)
        for name, weight in piece.weights.items():
            means = piece.means(name)
            if means is None:
                left[name] = "its inputs are not observed"
                continue
            before, after = (
                (as_matrices(value.double(), len(mean)) @ mean[..., None]).flatten()
                for value, mean in zip((weight, made.values[name]), means, strict=True)
            )
            shifts[name] = (before - after).to(weight.dtype)
        return Rounded(made.values, shifts, made.grids, left)
