"""What a training has made exactly zero: parts that no weight makes or reads any more, and columns of weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from recipelang.kinds import Group
from recipelang.measuring.structures import making
from recipelang.surgery.coupled import ChannelAxis, Coupled
from recipelang.surgery.network import Network
from recipelang.surgery.restrictions.mask import SHARE, Mask


def part_norms(
    network: Network, groups: Sequence[Group], normalised: frozenset[tuple[str, int]] = frozenset()
) -> dict[str, Tensor]:
    """Group → the norm of all that makes each of its parts; groups that no parameter makes are left out."""
    parameters = dict(network.module.named_parameters(remove_duplicate=False))
    places = {group.name: making(group.source, parameters, normalised) for group in groups}
    return {
        group.name: rows.float().norm(dim=1)
        for group in groups
        if (rows := _rows(group.source, places[group.name], parameters)).shape[1]
    }


def unread_parts(network: Network, groups: Sequence[Group]) -> dict[str, Tensor]:
    """Group → bool: whether every weight that reads a part is zero where it reads it."""
    parameters = dict(network.module.named_parameters(remove_duplicate=False))
    found = {}
    for group in groups:
        rows = _rows(group.source, [p for p in group.source.at("reads") if p.name in parameters], parameters)
        found[group.name] = ~rows.bool().any(1) if rows.shape[1] else torch.zeros(group.size, dtype=torch.bool)
    return found


def block_norms(network: Network, groups: Sequence[Group]) -> dict[str, Tensor]:
    """Layer → the norm of all of its parameters, one number."""
    norms = {
        group.name: [
            parameter.detach().float().norm()
            for path in group.layers
            for parameter in network.module.get_submodule(path).parameters()
        ]
        for group in groups
    }
    return {name: torch.stack(each).norm().reshape(1) for name, each in norms.items() if each}


def column_masks(network: Network, names: Iterable[str], *, kernel: bool) -> dict[str, Mask]:
    """Masks for the weights that have columns of zeros; earlier masks of the same weights hold on.

    Args:
        network: the trained one, on the CPU.
        names: weights O×I or O×I×kernel.
        kernel: whether columns at positions of a kernel count, and not only whole input channels.
    """
    found = {}
    for name in names:
        weight = network.module.get_parameter(name).detach()
        columns = weight.bool().any(0, keepdim=True)
        if not kernel and weight.ndim > 2:
            columns = columns.flatten(2).any(2).reshape(1, -1, *[1] * (weight.ndim - 2))
        if not columns.all():
            keep = columns.expand(weight.shape).clone()
            found[name] = _mask(network.masks.get(name), keep, "columns" if kernel else "channels")
    return found


def _mask(before: Mask | None, keep: Tensor, of: str) -> Mask:
    """With what an earlier mask removes; a pattern of the hardware stays that pattern."""
    keep = keep if before is None else keep & before.keep
    if before is not None and not SHARE.match(before.pattern):
        return Mask(before.pattern, keep)
    return Mask(f"{100 * (1 - float(keep.float().mean())):.4g}% sparse in {of}", keep)


def _rows(coupled: Coupled, places: Sequence[ChannelAxis], parameters: Mapping[str, Tensor]) -> Tensor:
    rows = [
        parameters[place.name].detach().movedim(place.axis, 0)[torch.tensor(place.positions)].reshape(coupled.size, -1)
        for place in places
    ]
    return torch.cat(rows, dim=1) if rows else torch.zeros(coupled.size, 0)
