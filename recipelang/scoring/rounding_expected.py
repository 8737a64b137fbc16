"""What enters a weight on average, as BatchNorm tells without data.

Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2: means
of normal distributions that a ReLU has clipped.
"""

from __future__ import annotations

from torch import Tensor

from recipelang.scoring.rounding_twins import Twins
from recipelang.surgery.places import PRODUCTS
from recipelang.surgery.spreads import spreads_of


def expected(twins: Twins, name: str) -> Tensor | None:
    """The mean of each input of a weight, G×K float64, K in the order kernel…, I; None where BatchNorm does not tell.

    Positions of a kernel that read padding are taken for others, as in the paper.
    """
    known = twins.known
    if known.spreads is None:
        known.spreads = spreads_of(twins.network)[0]
    using = [call for call in twins.calls.values() if call.function in PRODUCTS and name in call.parameters]
    reads = {call.reads[0] for call in using if call.reads}
    if len(using) != 1 or not reads or (place := reads.pop()) not in known.spreads:
        return None
    weight = twins.before.get_parameter(name)
    mean = known.spreads[place].moments()[0].to(weight.device)
    channels, kernel = weight.shape[1], weight[0, 0].numel()
    if using[0].function == "linear":
        return mean[None] if channels == len(mean) else None  # a flattened map may be read in another order
    if len(mean) % channels or using[0].function.startswith("conv_transpose"):
        return None
    return mean.view(-1, 1, channels).expand(-1, kernel, -1).flatten(1)
