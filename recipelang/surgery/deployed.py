"""The deployed form: the copy of a network that is executed, counted and exported; the healthy network's is made the
same way."""

from __future__ import annotations

import copy

from torch import nn

from recipelang.surgery.folding import fold
from recipelang.surgery.layout import laid_out
from recipelang.surgery.network import Network
from recipelang.surgery.rounding import round_to_int8
from recipelang.surgery.simulated import Simulated, computing
from recipelang.surgery.tracing import example_input


def deployed(network: Network) -> nn.Module:
    """A copy for inference on the CPU: evaluation mode, BatchNorm folded where that is exact, channels_last, float32.

    Runtimes prepare it for their devices (`runtimes/`). A network with grids is run as it was trained, unfolded, with
    every rounding simulated: right, and not fast. A runtime that computes in integers makes its own from
    `folding.folded`.

    Args:
        network: is not changed.
    """
    # Folded on the CPU, where float32 is float32: a GPU may multiply with fewer bits.
    module = copy.deepcopy(network.module).cpu().eval().requires_grad_(False)
    if len({parameter.dtype for parameter in module.parameters() if parameter.is_floating_point()}) == 1:
        module = module.float()  # parts of other types are called by code that knows their types
    if computing(network.restrictions):
        return Simulated(laid_out(module), network.restrictions).eval()
    module = fold(module, example_input(network).cpu())
    if network.accelerated and network.accelerated.int8:
        round_to_int8(module, network)
    return laid_out(module)
