"""The weights and activations whose widths a search chooses, with what it knows of each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from recipelang.kinds import Choice
from recipelang.searching.course import entering, window_of
from recipelang.surgery.network import Network
from recipelang.surgery.places import at_places, calls_of, quantizable
from recipelang.surgery.tracing import evaluating, example_input


def choices_of(
    network: Network, weights: Mapping[str, int], activations: Sequence[str], bits: Sequence[int]
) -> tuple[Choice, ...]:
    """Weights in the order of the network, then activations in the order of execution.

    Args:
        network: is not changed.
        weights: parameter name → the axis of its outputs.
        activations: places.
        bits: the widths that each may have.
    """
    calls = calls_of(network.module, example_input(network))
    read = quantizable(calls)
    layers = {**{name: name.rpartition(".")[0] for name in weights}, **{place: read[place][0] for place in activations}}
    sizes = entering(network, set(layers.values()))
    shapes = _shapes(network, set(activations))
    axes = {name.rpartition(".")[0]: (name, axis) for name, axis in weights.items()}
    found = []
    for place, layer in layers.items():
        part = "weights" if place in weights else "activations"
        shape = tuple(network.module.get_parameter(place).shape) if part == "weights" else shapes[place]
        height, width = sizes.get(layer, (1.0, 1.0))
        inputs, outputs, depthwise = _channels(network.module, layer, axes.get(layer), shape)
        stride, kernel = window_of(network.module, layer)
        found.append(
            Choice(
                place=place,
                layer=layer,
                part=part,
                shape=shape,
                bits=tuple(sorted(bits)),
                inputs=inputs,
                outputs=outputs,
                kernel=int(kernel),
                stride=int(stride),
                height=int(height),
                width=int(width),
                depthwise=depthwise,
            )
        )
    return tuple(found)


def _channels(
    module: nn.Module, layer: str, weight: tuple[str, int] | None, shape: Sequence[int]
) -> tuple[int, int, bool]:
    """Inputs and outputs of a layer, and whether it is depthwise; a sum has as many of both as its values."""
    part = module.get_submodule(layer)
    if isinstance(part, nn.modules.conv._ConvNd):
        alone = part.groups > 1 and part.groups == part.in_channels
        return part.in_channels, part.out_channels, alone
    if weight is not None:
        value, axis = module.get_parameter(weight[0]), weight[1]
        outputs = value.shape[axis]
        return value.numel() // outputs, outputs, False
    first = shape[0] if shape else 1
    return first, first, False


@torch.no_grad()
def _shapes(network: Network, places: Collection[str]) -> dict[str, tuple[int, ...]]:
    """Place → the shape of its value for one image."""
    found: dict[str, tuple[int, ...]] = {}

    def see(place: str, value: Tensor) -> Tensor:
        if place in places:
            found[place] = tuple(value.shape[1:])
        return value

    with at_places(network.module, see), evaluating(network.module):
        network.module(example_input(network, batch=1))
    return found
