"""Which pieces of weights leave and which come, where masks move."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def least(scores: Tensor, among: Tensor, count: int) -> Tensor:
    """The `count` pieces with the lowest scores of those in `among`, of equal ones the last; bool N, both N."""
    found = torch.zeros_like(among)
    order = scores.masked_fill(~among, -math.inf).sort(descending=True, stable=True).indices
    there = int(among.sum())
    found[order[max(0, there - count) : there]] = True
    return found


def most(scores: Tensor, among: Tensor, count: int) -> Tensor:
    """The `count` pieces with the highest scores of those in `among`, of equal ones the first; bool N, both N."""
    found = torch.zeros_like(among)
    order = scores.masked_fill(~among, -math.inf).sort(descending=True, stable=True).indices
    found[order[: min(count, int(among.sum()))]] = True
    return found


def drawn(among: Tensor, count: int) -> Tensor:
    """`count` random pieces of those in `among`; bool N. Drawn on the CPU, so that every device draws the same."""
    found = torch.zeros_like(among)
    there = among.nonzero().flatten()
    found[there[torch.randperm(len(there))[:count].to(there.device)]] = True
    return found


def apportioned(total: int, weights: Mapping[str, float], room: Mapping[str, int]) -> dict[str, int]:
    """A total divided in proportion to weights, to whole numbers within the room that there is.

    Each name gets the floor of its part; what is left goes to the largest remainders, of equal ones the first. What has
    no room is divided among the others in the same way.

    Args:
        total: at most the sum of the room.
        weights: not negative; where all of those with room are 0, their room is the weight.
        room: at most this much for each name.

    Returns:
        name → its part; the parts add up to the total.
    """
    given = dict.fromkeys(room, 0)
    while total > sum(given.values()):
        open_ = [name for name in room if given[name] < room[name]]
        part = {name: float(weights[name]) for name in open_}
        if not sum(part.values()) > 0:
            part = {name: float(room[name] - given[name]) for name in open_}
        left, whole = total - sum(given.values()), sum(part.values())
        exact = {name: left * part[name] / whole for name in open_}
        full = [name for name in open_ if exact[name] > room[name] - given[name]]
        for name in full:
            given[name] = room[name]
        if not full:
            for name in open_:
                given[name] += math.floor(exact[name])
            rest = total - sum(given.values())
            order = sorted(open_, key=lambda name: math.floor(exact[name]) - exact[name])
            for name in [name for name in order if given[name] < room[name]][:rest]:
                given[name] += 1
    return given
