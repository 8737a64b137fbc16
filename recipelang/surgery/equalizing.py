"""Cross-layer equalization: channels between two layers are scaled so that both weights fill their ranges.

    W₁ ─ [BatchNorm] ─ [ReLU] ─▶ W₂        W₁ / s, W₂ · s: the same function, for any s > 0

Which layers follow each other is read from what the functions of a forward pass read, so no architecture is known by
name; everything in between must let a positive factor of a channel pass.

Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.1.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.surgery.candidates import CONVOLUTIONS
from recipelang.surgery.folding import BATCH_NORMS
from recipelang.surgery.network import Network
from recipelang.surgery.parity import TOLERANCE, relative_difference
from recipelang.surgery.places import PRODUCTS, FunctionCall, calls_of, readers_of
from recipelang.surgery.products import is_plain
from recipelang.surgery.tracing import evaluating, example_input

LAYERS = (*CONVOLUTIONS, nn.Linear)
#: functions that let a positive factor of a channel pass, and keep channels apart and in order
HOMOGENEOUS = {
    "relu", "relu_", "leaky_relu", "leaky_relu_", "max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d",
    "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool2d",
    "dropout", "dropout2d", "contiguous",
}  # fmt: skip
#: rounds over all pairs, at most: a pair changes the ranges of its neighbours
ROUNDS = 20
SETTLED = 1e-4


@dataclass(frozen=True)
class Pair:
    """Two layers, the second of which alone reads the channels of the first.

    Attributes:
        first, second: paths of the layers.
        norm: path of the BatchNorm between them; "" where there is none.
    """

    first: str
    second: str
    norm: str = ""


def pairs_of(network: Network, chosen: Sequence[str]) -> tuple[tuple[Pair, ...], dict[str, str]]:
    """The pairs of layers that can be equalized, both among these paths; and first layer → why it has none.

    Raises:
        Refusal: RCP1405: the network does not run while it is observed.
    """
    module = network.module
    calls = calls_of(module, example_input(network))
    readers = readers_of(calls)
    layers = {path: part for path, part in module.named_modules() if is_plain(part, *LAYERS) and path in chosen}
    using = {
        path: [
            place for place, call in calls.items() if call.function in PRODUCTS and f"{path}.weight" in call.parameters
        ]
        for path in layers
    }
    found, left = [], {}
    for path, places in using.items():
        if len(places) != 1:
            left[path] = "it does not run exactly once"
            continue
        pair = _followed(module, calls, readers, path, places[0], layers)
        if isinstance(pair, str):
            left[path] = pair
        else:
            found.append(pair)
    return tuple(found), left


def _followed(
    module: nn.Module,
    calls: Mapping[str, FunctionCall],
    readers: Mapping[str, Sequence[str]],
    path: str,
    place: str,
    layers: Mapping[str, nn.Module],
) -> Pair | str:
    """The pair that a layer begins; or why there is none."""
    norm = ""
    while True:
        after = set(readers[place])
        if len(after) != 1:
            return "several read its channels" if after else "no layer reads its channels"
        (place,) = after
        call = calls[place]
        if call.function == "batch_norm" and not norm and _reads(calls, place, path):
            part = module.get_submodule(call.path)
            plain = isinstance(part, BATCH_NORMS) and part.running_mean is not None and part.weight is not None
            if not plain:
                return "its BatchNorm has no statistics or no scale"
            norm = call.path
        elif call.function in PRODUCTS:
            second = next((name.rpartition(".")[0] for name in call.parameters if name.endswith(".weight")), "")
            if second not in layers or second == path:
                return "what reads its channels is not selected, or not a plain layer"
            same = _channels(layers[path]) == _inputs(layers[second])
            return Pair(path, second, norm) if same else "what reads its channels sees them in another order"
        elif call.function not in HOMOGENEOUS:
            return f"`{call.function}` is between it and the next layer"


def _reads(calls: Mapping[str, FunctionCall], place: str, path: str) -> bool:
    """Whether the function reads the product of this layer itself."""
    return any(f"{path}.weight" in calls[read].parameters for read in calls[place].reads)


def _channels(part: Any) -> int:
    return len(part.weight)


def _inputs(part: Any) -> int:
    return int(part.weight.shape[1] * getattr(part, "groups", 1))


@torch.no_grad()
def equalized(network: Network, pairs: Sequence[Pair]) -> tuple[Network, dict[str, float], dict[str, str]]:
    """A copy of the network with its pairs equalized.

    Where a BatchNorm is between two layers, it is as if folded: the weight before it becomes that of the folded layer,
    and the norm only shifts and keeps its sign, so that one range for the whole weight is as good as after folding.

    Args:
        pairs: of this network.

    Returns:
        The copy; first layer → the largest |log s| of its channels; and first layer → why it stays as it was.
    """
    copied = replace(network, module=copy.deepcopy(network.module))
    wanted, left = _answer(network, network.module), {}
    for pair in pairs:
        trial = copy.deepcopy(copied.module)
        _scale(trial, pair)
        if not relative_difference(_answer(network, trial), wanted) <= TOLERANCE:
            left[pair.first] = "the network's answer would change"
    taken = [pair for pair in pairs if pair.first not in left]
    moved = dict.fromkeys((pair.first for pair in taken), 0.0)
    total: dict[str, Tensor] = {}
    for _ in range(ROUNDS):
        largest = 0.0
        for pair in taken:
            scales = _scale(copied.module, pair).log()
            total[pair.first] = total.get(pair.first, torch.zeros_like(scales)) + scales
            largest = max(largest, float(scales.abs().max()))
        if largest < SETTLED:
            break
    moved |= {name: float(scales.abs().max()) for name, scales in total.items()}
    if not relative_difference(_answer(network, copied.module), wanted) <= TOLERANCE:
        return network.clone(), {}, {pair.first: "together the answer would change" for pair in pairs}
    return copied, moved, left


def _answer(network: Network, module: nn.Module) -> Any:
    """What a module with the network's shapes answers to its example."""
    with evaluating(module):
        return module(example_input(network))


def _scale(module: nn.Module, pair: Pair) -> Tensor:
    """Equalize one pair in place; s of each channel."""
    first: Any = module.get_submodule(pair.first)
    second: Any = module.get_submodule(pair.second)
    norm: Any = module.get_submodule(pair.norm) if pair.norm else None
    gain = torch.ones(len(first.weight)) if norm is None else _gain(norm).abs()
    rows = gain * first.weight.flatten(1).abs().amax(1)
    scales = scales_of(rows, _columns(second).abs().flatten(1).amax(1))
    if norm is None:
        _rows(first, scales.reciprocal())
    else:
        _absorbed(first, norm, scales)
    _columns_times(second, scales)
    return scales


def scales_of(first: Tensor, second: Tensor) -> Tensor:
    """s_i = √(r₁ r₂) / r₂: afterwards r₁ / s = r₂ · s = √(r₁ r₂); 1 where a range is zero.

    Args:
        first, second: N, the ranges of the channels in both weights.
    """
    able = (first > 0) & (second > 0)
    safe = torch.where(able, second, torch.ones_like(second))
    return torch.where(able, (first * second).sqrt() / safe, torch.ones_like(first))


def _gain(norm: Any) -> Tensor:
    """γ/σ of each channel."""
    gain: Tensor = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return gain


def _rows(layer: Any, factor: Tensor) -> None:
    layer.weight.mul_(factor.view(-1, *[1] * (layer.weight.ndim - 1)))
    if layer.bias is not None:
        layer.bias.mul_(factor)


def _absorbed(first: Any, norm: Any, scales: Tensor) -> None:
    """The first weight becomes |γ|/σ · W / s, and the norm what is left: γ/σ → ±1, β → β / s."""
    gain = _gain(norm)
    wanted = gain.abs() / scales
    variance = wanted.square() * (norm.running_var + norm.eps) - norm.eps
    able = (variance > 0) & (gain != 0)  # else the variance would be negative
    factor = torch.where(able, wanted, torch.ones_like(wanted))
    _rows(first, factor)
    norm.running_mean.mul_(factor)
    norm.running_var.copy_(torch.where(able, variance, norm.running_var))
    deviation = (norm.running_var + norm.eps).sqrt()
    norm.weight.copy_(torch.where(able, gain.sign() * deviation, norm.weight / scales))
    norm.bias.div_(scales)


def _columns(layer: Any) -> Tensor:
    """C×…: what reads each input channel."""
    groups = getattr(layer, "groups", 1)
    weight: Tensor = layer.weight.unflatten(0, (groups, -1))  # G×O/G×I/G×kernel…
    return weight.movedim(2, 1).flatten(0, 1)


def _columns_times(layer: Any, scales: Tensor) -> None:
    groups = getattr(layer, "groups", 1)
    weight = layer.weight.unflatten(0, (groups, -1))
    factor = scales.view(groups, 1, -1, *[1] * (weight.ndim - 3))
    layer.weight.copy_((weight * factor).flatten(0, 1))
