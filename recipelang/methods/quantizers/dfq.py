"""`dfq(deviations=…)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Observed
from recipelang.lazy import torch
from recipelang.methods.quantizers.minmax import MinMax


@method("quantizer", "dfq")
@dataclass(frozen=True)
class DFQ(MinMax):
    """Ranges of activations from BatchNorm alone: no data are needed.

    What: BatchNorm makes channels that are nearly normal, with its shift as mean and its scale as deviation. After
        `equalize` and `absorb biases`, and `with bias_correction(means=batchnorm)`, this is data-free quantization as
        published.
    Formula: activations: min_c (β_c − n·|γ_c|) to max_c (β_c + n·|γ_c|), both clipped as the ReLU (ReLU6) after the
        BatchNorm clips; a sum of two: means and variances of both, of the clipped normal distribution in closed form,
        are added. The network's input: (0 − m)/s to (1 − m)/s over all channels, m and s of the preprocessing. Weights:
        their extremes, as `minmax`.
    Shapes: C shifts and scales → one range.
    Needs: BatchNorm with a scale before what is quantized, and for the network's input its preprocessing. What neither
        determines stays in floating point, with the reason.
    When it misleads: the terms of a residual sum are taken as independent. Six deviations waste a part of the grid:
        with data, `minmax` or `mse` is better.
    Source: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019,
        section 5 and appendix C.
    """

    observes: ClassVar[bool] = False

    deviations: float = setting(
        6.0,
        type="number",
        low=0,
        high=100,
        open_low=True,
        help="How many deviations from the mean a range reaches.",
    )

    def known(self, network: Any, places: Sequence[str]) -> tuple[Mapping[str, Observed], Mapping[str, str]]:
        """The ranges that BatchNorm tells, and why it tells nothing of the others."""
        from recipelang.surgery.restricting import INPUT
        from recipelang.surgery.spreads import spreads_of

        spreads, why = spreads_of(network)
        ends = {place: spreads[place].ends(self.deviations) for place in places if place in spreads}
        if network.preprocessing is not None and network.preprocessing.mean:
            ends |= {place: _of_images(network.preprocessing) for place in places if place == INPUT}
        told = {place: Observed(torch.tensor(low), torch.tensor(high)) for place, (low, high) in ends.items()}
        return told, {place: why[place] for place in places if place not in told}


def _of_images(preprocessing: Any) -> tuple[float, float]:
    """The smallest and the largest number that an image with values in 0…1 becomes."""
    ends = [(end - m) / s for m, s in zip(preprocessing.mean, preprocessing.std, strict=True) for end in (0.0, 1.0)]
    return min(ends), max(ends)
