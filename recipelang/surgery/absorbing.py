"""High-bias absorption: what a BatchNorm adds far above zero moves through the ReLU into the bias of the next layer.

    relu(h) = relu(h − c) + c  wherever h ≥ c,  c = max(0, β − 3|γ|): all but 0.135 % of the numbers of a channel

so that activations, which equalization may have made large, need a smaller range.

Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.1.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.surgery.equalizing import Pair, pairs_of
from recipelang.surgery.following import following
from recipelang.surgery.network import Network
from recipelang.surgery.places import FunctionCall, calls_of
from recipelang.surgery.tracing import example_input

#: deviations below the mean from which on a channel is above zero: 0.135 % of a normal distribution are below
DEVIATIONS = 3.0
#: between two layers, what a constant of a channel passes; a pooling that counts zeros of its padding does not let it
LETS_PASS = {
    "batch_norm", "relu", "relu_", "leaky_relu", "leaky_relu_", "max_pool1d", "max_pool2d", "max_pool3d",
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool2d", "dropout", "dropout2d",
    "contiguous",
}  # fmt: skip


def absorbing(network: Network, chosen: Sequence[str]) -> tuple[tuple[Pair, ...], dict[str, str]]:
    """The pairs of layers whose second one can absorb what the norm between them adds; first layer → why not.

    Args:
        network: is not changed.
        chosen: paths of modules; both layers of a pair are among them.

    Raises:
        Refusal: RCP1405: the network does not run while it is observed.
    """
    found, left = [], {}
    pairs, alone = pairs_of(network, chosen)
    for pair in pairs:
        if why := _why_not(network, pair):
            left[pair.first] = why
        else:
            found.append(pair)
    return tuple(found), {**alone, **left}


def _why_not(network: Network, pair: Pair) -> str:
    """Why the second layer of a pair cannot absorb a constant; "" where it can."""
    calls, second = calls_of(network.module, example_input(network)), _layer(network.module, pair.second)
    uses = [place for place, call in calls.items() if f"{pair.second}.weight" in call.parameters]
    norms = [place for place, call in calls.items() if call.function == "batch_norm" and call.path == pair.norm]
    if len(uses) != 1 or len(norms) > 1:
        return "what follows it runs more than once"
    if not pair.norm:
        return "no BatchNorm tells how far above zero its channels are"
    padding = getattr(second, "padding", 0)
    if padding == "same" or (not isinstance(padding, str) and any(torch.tensor(padding).flatten().tolist())):
        return "the layer after it pads with zeros, where nothing would be absorbed"
    if passed := [name for name in _between(calls, pair) if name not in LETS_PASS]:
        return f"`{passed[0]}` is between it and the next layer"
    if second.bias is None and not _norm_after(network.module, calls, pair.second):
        return "the layer after it has no bias, and no BatchNorm follows it"
    return ""


def _between(calls: Mapping[str, FunctionCall], pair: Pair) -> list[str]:
    """The functions between the two layers, the last one first."""
    at = {
        path: next(place for place, call in calls.items() if f"{path}.weight" in call.parameters)
        for path in (pair.first, pair.second)
    }
    place, found = calls[at[pair.second]].reads[0], []
    while place != at[pair.first]:
        found.append(calls[place].function)
        place = calls[place].reads[0]
    return found


def _norm_after(module: nn.Module, calls: Mapping[str, FunctionCall], path: str) -> str:
    """The path of the BatchNorm after a layer, "" without one that keeps means."""
    after = following(calls, f"{path}.weight").norm
    return after if after and getattr(module.get_submodule(after), "running_mean", None) is not None else ""


@torch.no_grad()
def absorbed(network: Network, pairs: Sequence[Pair]) -> tuple[Network, dict[str, float]]:
    """A copy of the network in which the second layers have absorbed what the norms add.

    Args:
        pairs: of `absorbing`.

    Returns:
        The copy; first layer → the largest c of its channels, of those where one is above zero.
    """
    copied, found = network.clone(), {}
    calls = calls_of(copied.module, example_input(copied))
    for pair in pairs:
        norm, second = _layer(copied.module, pair.norm), _layer(copied.module, pair.second)
        constant = (norm.bias - DEVIATIONS * norm.weight.abs()).clamp_min(0)
        if not bool(constant.any()):
            continue
        norm.bias.sub_(constant)
        moved = _through(second, constant)
        if second.bias is not None:
            second.bias.add_(moved)
        else:  # the norm takes its mean off: what the layer no longer gives
            _layer(copied.module, _norm_after(copied.module, calls, pair.second)).running_mean.sub_(moved)
        found[pair.first] = float(constant.max())
    return copied, found


def _through(layer: Any, constant: Tensor) -> Tensor:
    """W c: what a layer makes of channels that are constant, for each of its outputs."""
    groups = getattr(layer, "groups", 1)
    weight = layer.weight.flatten(2).sum(2) if layer.weight.ndim > 2 else layer.weight
    outputs: Tensor = torch.einsum("goi,gi->go", weight.unflatten(0, (groups, -1)), constant.view(groups, -1))
    return outputs.flatten()


def _layer(module: nn.Module, path: str) -> Any:
    return module.get_submodule(path)
