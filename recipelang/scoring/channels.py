"""Where the weights of a network read and make the parts of ranked groups of channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from recipelang.kinds import Group
from recipelang.surgery.coupled import ChannelAxis
from recipelang.surgery.products import Product


def channels_read(groups: Sequence[Group], products: Mapping[str, Product]) -> dict[str, list[tuple[str, Tensor]]]:
    """Name of a weight → (group, N×c: the channels of what enters the weight that belong to each of its N parts)."""
    found: dict[str, list[tuple[str, Tensor]]] = {}
    for group in groups:
        for place in group.source.at("reads"):
            product = products.get(place.name)
            if product is not None and place.axis == _inputs(product):
                channels = _in_groups(_positions(place), product.groups if place.axis == 1 else 1, product.shape[1])
                found.setdefault(place.name, []).append((group.name, channels))
    return found


def columns_read(
    groups: Sequence[Group], products: Mapping[str, Product], weights: Mapping[str, Tensor]
) -> dict[str, dict[str, Tensor]]:
    """Group → name of a weight O×I×kernel → N×c: the columns G·K, in the order group, kernel, I, that read each part.

    Args:
        products: of the network, by name.
        weights: those whose columns are asked for.
    """
    found: dict[str, dict[str, Tensor]] = {group.name: {} for group in groups}
    for group in groups:
        for place in group.source.at("reads"):
            if place.name in weights and place.axis == 1:
                weight = weights[place.name]
                inputs, size = weight.shape[1], weight[0].numel()
                kernel = torch.arange(size // inputs) * inputs
                columns = (_positions(place)[:, None, :] + kernel[:, None]).flatten(1)
                found[group.name][place.name] = _in_groups(columns, products[place.name].groups, size)
    return found


def rows_made(groups: Sequence[Group], outputs: Mapping[str, int]) -> dict[str, dict[str, Tensor]]:
    """Group → name of a weight → N×r: the indices along the axis of its outputs that make each part."""
    return {
        group.name: {
            place.name: _positions(place) for place in group.source.at("makes") if outputs.get(place.name) == place.axis
        }
        for group in groups
    }


def _inputs(product: Product) -> int | None:
    """The axis of a parameter along which its inputs are; None where what enters is not observed."""
    if product.kind == "transposed convolution":
        return 0
    return 1 if product.parameter and len(product.shape) > 1 and not product.outputs else None


def _positions(place: ChannelAxis) -> Tensor:
    return torch.tensor(place.positions)


def _in_groups(positions: Tensor, groups: int, size: int) -> Tensor:
    """N×c positions within one group of inputs → N×(G·c) within all of them."""
    return torch.cat([positions + number * size for number in range(groups)], 1)
