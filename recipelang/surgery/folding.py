"""Folding BatchNorm into the layer before it, where that changes nothing."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from recipelang.kinds import Restriction
from recipelang.surgery.candidates import CONVOLUTIONS
from recipelang.surgery.consumers import sole_readers
from recipelang.surgery.network import Network
from recipelang.surgery.parity import TOLERANCE, relative_difference
from recipelang.surgery.places import calls_of
from recipelang.surgery.products import is_plain
from recipelang.surgery.restrictions.codebook import Codebook
from recipelang.surgery.restrictions.grid import Grid
from recipelang.surgery.tracing import example_input

FOLDABLE = (*CONVOLUTIONS, nn.Linear)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def fold(module: nn.Module, example: Tensor) -> nn.Module:
    """The module with every BatchNorm folded that directly follows a convolution or linear layer."""
    pairs = _foldable(module, example)
    if not pairs:
        return module
    folded = copy.deepcopy(module)
    for layer, norm in pairs:
        _fold_pair(folded, layer, norm)
    with torch.no_grad():
        exact = relative_difference(folded(example), module(example)) <= TOLERANCE
    # A variance close to zero makes folded weights so large that float32 cannot hold the network's answer.
    return folded if exact else module


def folded(network: Network) -> Network:
    """A copy of the network with every BatchNorm folded that directly follows a convolution or linear layer.

    Grids and codebooks follow: the scales of a weight are multiplied as its rows are, so that its integers stay what
    they are (up to the sign of rows with a negative factor), and the grid of a norm's output is that of the layer. The
    network computes the same function, for runtimes that have no BatchNorm between integers.

    Args:
        network: is not changed; it is in evaluation mode afterwards. A norm after a weight whose grid or codebook is
            not one for each output stays.
    """
    copied = replace(network.clone(), module=copy.deepcopy(network.module).cpu().eval().requires_grad_(False))
    example = example_input(copied)
    pairs = [(layer, norm) for layer, norm in _foldable(copied.module, example) if _keeps_integers(network, layer)]
    calls = calls_of(copied.module, example) if any(call for call in network.restrictions if ":" in call) else {}
    plain = copy.deepcopy(copied.module)
    factors = {f"{layer}.weight": _fold_pair(copied.module, layer, norm) for layer, norm in pairs}
    with torch.no_grad():
        if not relative_difference(copied.module(example), plain(example)) <= TOLERANCE:
            return replace(copied, module=plain)
    norms = {norm for _, norm in pairs}
    restrictions = {}
    for place, each in network.restrictions.items():
        call = calls.get(place)
        now = call.reads[0] if call is not None and call.path in norms else place
        factor = factors.get(place)
        restrictions[now] = each if factor is None else tuple(_scaled(one, factor) for one in each)
    return replace(copied, restrictions=restrictions)


def _keeps_integers(network: Network, layer: str) -> bool:
    """Whether multiplying the rows of a layer's weight leaves its integers as they are."""
    each = network.restrictions.get(f"{layer}.weight", ())
    return all(not one.computes or (isinstance(one, Grid | Codebook) and _axis(one) == 0) for one in each)


def _axis(one: Grid | Codebook) -> int | None:
    return one.scheme.axis if isinstance(one, Grid) else one.axis


def _scaled(one: Restriction, factor: Tensor) -> Restriction:
    return one.multiplied(factor) if isinstance(one, Grid | Codebook) else one


def _foldable(module: nn.Module, example: Tensor) -> list[tuple[str, str]]:
    """(layer, norm) paths where the norm is the only reader of the layer's output."""
    layers = [path for path, part in module.named_modules() if is_plain(part, *FOLDABLE)]
    readers = sole_readers(
        module,
        example,
        layers,
        wanted=lambda part: is_plain(part, *BATCH_NORMS) and part.running_mean is not None,
        fits=_same_channels,
    )
    return list(readers.items())


def _same_channels(layer: nn.Module, norm: nn.Module, activation: Tensor) -> bool:
    """Whether the norm, which uses axis 1, works along the output features, which a linear layer puts last."""
    return bool(norm.num_features == activation.shape[1] and (not isinstance(layer, nn.Linear) or activation.ndim == 2))


def _fold_pair(module: nn.Module, layer_path: str, norm_path: str) -> Tensor:
    """Scale the layer's weight and bias by the norm, and replace the norm with an Identity; the factors of the rows."""
    layer: Any = module.get_submodule(layer_path)
    norm: Any = module.get_submodule(norm_path)
    fuse = fuse_linear_bn_weights if isinstance(layer, nn.Linear) else fuse_conv_bn_weights
    weight, bias = fuse(layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    layer.weight, layer.bias = weight.requires_grad_(False), bias.requires_grad_(False)
    module.set_submodule(norm_path, nn.Identity().eval())
    factor: Tensor = (norm.running_var + norm.eps).rsqrt()
    return (factor * norm.weight if norm.weight is not None else factor).detach()
