"""Channels as what reads them sees their weights: with the norm after them, and its shift."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recipelang.kinds import Group
from recipelang.surgery.coupled import ChannelAxis, Coupled
from recipelang.surgery.folding import BATCH_NORMS, folded
from recipelang.surgery.network import Network


@torch.no_grad()
def effective_channels(network: Network, groups: Sequence[Group]) -> dict[str, Tensor]:
    """Group → N×K float64: what decides each channel; two that are equal here are the same channel.

    BatchNorm directly after a weight is folded into it: row · γ/σ, shift β + (b − μ)·γ/σ. Where other norms or scales
    act on the channel (after a sum, before a weight), it is there once for each of them, scaled and shifted by it.

    Args:
        network: is not changed.
        groups: of channels, as the units of `prune` find them.
    """
    flat = folded(network).module
    return {group.name: _channels(flat, group.source) for group in groups}


def _channels(module: nn.Module, group: Coupled) -> Tensor:
    """N×K of one group, of a network without the norms that could be folded."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    rows = [_rows(parameters[place.name], place) for place in group.at("makes") if place.name in parameters]
    shifts = [
        _rows(bias, ChannelAxis(place.name, 0, "shifts", place.positions))
        for place in group.at("makes")
        if (bias := parameters.get(f"{place.name.rpartition('.')[0]}.bias".lstrip("."))) is not None
        and len(bias) == parameters[place.name].shape[place.axis]
    ]
    own = [_rows(parameters[place.name], place) for place in group.at("holds") if place.name in parameters]
    whole = torch.cat([*rows, *shifts], 1)
    seen = [
        torch.cat([*(whole * factor for factor in scale.T[..., None]), shift], 1)
        for scale, shift in _scales(module, group)
    ]
    return torch.cat([*(seen or [whole]), *own], 1)


def _scales(module: nn.Module, group: Coupled) -> list[tuple[Tensor, Tensor]]:
    """N×c factors and shifts of everything that scales the channels and could not be folded."""
    found = []
    parts = dict(module.named_modules())
    for place in group.places:
        path, _, leaf = place.name.rpartition(".")
        part = parts.get(path)
        if isinstance(part, BATCH_NORMS) and part.running_mean is not None and part.running_var is not None:
            if leaf == "running_mean":  # also of norms without γ and β
                scale = (part.running_var + part.eps).rsqrt()
                scale = scale if part.weight is None else scale * part.weight
                shift = -part.running_mean * scale
                shift = shift if part.bias is None else shift + part.bias
                found.append((_rows(scale, place), _rows(shift, place)))
        elif place.role == "scales" and part is not None and isinstance(getattr(part, leaf, None), nn.Parameter):
            scale, bias = getattr(part, leaf), getattr(part, "bias", None)
            fits = leaf == "weight" and isinstance(bias, Tensor) and bias.shape == scale.shape
            scales = _rows(scale, place)
            found.append(
                (scales, _rows(bias, place) if fits and isinstance(bias, Tensor) else torch.zeros_like(scales))
            )
    return found


def _rows(tensor: Tensor, place: ChannelAxis) -> Tensor:
    """What a tensor holds of each channel: N×numbers."""
    positions = torch.tensor(place.positions)
    return tensor.detach().double().movedim(place.axis, 0)[positions].reshape(len(positions), -1)
