"""Parts that are set to zero during a training and go on being trained, so that they may recover."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from recipelang.kinds import Companion, Gone, Moment, Offer
from recipelang.plan import Course, unhashed
from recipelang.surgery.coupled import module_of
from recipelang.surgery.network import Network
from recipelang.surgery.tracing import let_go

#: a network in training and the number of its step → what it would lose now, of each offer
Weakest = Callable[[Network, int], Sequence[tuple[Offer, Gone]]]


@dataclass(frozen=True)
class Softening(Companion):
    """Sets the weights that make the weakest parts to zero where the schedule says so; nothing holds them there.

    Attributes:
        course: the schedule; its target is a number of parts, a share or a budget, as `weakest` knows it.
        weakest: chooses the parts; called at every update.
    """

    course: Course
    weakest: Weakest = unhashed()

    def before_step(self, network: Network, state: nn.Module | None, moment: Moment) -> None:
        """An update, where there is one at this step."""
        target = self.course.schedule.target_at(self.course.target, moment.step, moment.total, moment.per_epoch)
        if target is None:
            return
        let_go(network)
        for offer, gone in self.weakest(network, moment.step):
            groups = {group.name: group.source for group in offer.groups}
            for name, parts in gone.items():
                set_to_zero(network.module, groups[name], parts, offer.source.followed.normalised)


def set_to_zero(module: nn.Module, coupled: Any, parts: Sequence[int], normalised: frozenset[tuple[str, int]]) -> None:
    """Set the weights that make some parts to zero, in place.

    Args:
        module: that holds them.
        coupled: the group (`surgery.coupled.Coupled`).
        parts: its units.
        normalised: (parameter, axis) where each index is divided by its norm: what scales it is set to zero instead.
    """
    parameters = dict(module.named_parameters(remove_duplicate=False))
    makers = coupled.at("makes")
    divided = {module_of(place.name) for place in makers if (place.name, place.axis) in normalised}
    scales = tuple(place for place in coupled.places if module_of(place.name) in divided and place not in makers)
    with torch.no_grad():
        for place in (*makers, *scales):
            if place.name in parameters and (place.name, place.axis) not in normalised:
                where = [index for part in parts for index in place.positions[part]]
                weight = parameters[place.name]
                weight.index_fill_(place.axis, torch.tensor(where, device=weight.device), 0)
