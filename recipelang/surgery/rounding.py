"""Which layers a recipe accelerates, and rounding their weights to what packed int8 values can represent."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recipelang.kernels.nm.format import pack, packable, rows, unpack, unrows
from recipelang.surgery.attention import original_path
from recipelang.surgery.network import Network
from recipelang.surgery.provenance import LAYERS


class Asked(NamedTuple):
    """A layer that the recipe accelerates: where it is, what it is, and the parameter of the network that it holds."""

    path: str
    part: Any
    weight: Tensor
    parameter: str


def asked(module: nn.Module, network: Network) -> list[Asked]:
    """Every layer that the recipe accelerates, in the order of the network; its attentions may be unfolded."""
    wanted = set(network.accelerated.layers if network.accelerated else ())
    found = []
    for name, weight in module.named_parameters():
        path, _, leaf = name.rpartition(".")
        part, original = module.get_submodule(path), original_path(module, path)
        parameter = name if original == path else f"{original}.in_proj_weight"
        layer = leaf == "weight" and isinstance(part, nn.Linear | nn.Conv2d)
        if original in wanted and (layer or parameter in network.masks) and weight.ndim > 1:
            found.append(Asked(path, part, weight, parameter))
    return found


@torch.no_grad()
def round_to_int8(module: nn.Module, network: Network) -> None:
    """Round the weights of accelerated layers in place to what int8 values with one scale per output can represent.

    Done on every device and for every kernel, so that the accuracy is that of the deployed network everywhere.
    """
    for layer in asked(module, network):
        weight = layer.weight
        if isinstance(layer.part, LAYERS) and packable(weight) is None:
            weight.copy_(unrows(unpack(pack(rows(weight), int8=True), weight.dtype), weight.shape))
