"""A network of several copies of one: each learns from a sample of its own, and their answers are averaged."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from recipelang.kinds import Restriction
from recipelang.surgery.network import Habits
from recipelang.surgery.restricting import INPUT

#: where the copies are: `members.0.layer1.0.conv1`
MEMBERS = "members"
FEWEST, MOST = 2, 16


class Averaged(nn.Module):
    """In evaluation the mean of the members' answers; in training the answer of one member, drawn for each batch.

    So every member is trained on batches drawn with replacement, which no other sees in that step: bagging, with one
    answer for the loss and the cost of one member in a step. The draw is torch's, which a training seeds and keeps.
    """

    members: nn.ModuleList

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As a member: B×… → B×classes, or another answer."""
        if self.training:
            return self.members[int(torch.randint(len(self.members), ()))](*args, **kwargs)
        return torch.stack([member(*args, **kwargs) for member in self.members]).mean(0)


def multiply(module: nn.Module, members: int) -> None:
    """Make a module, in place, one of several copies of what it was; its parameters are then those of the copies."""
    copies = nn.ModuleList(copy.deepcopy(module) for _ in range(members))
    training, habits = module.training, getattr(module, "_recipelang_habits", Habits())
    module.__class__ = Averaged
    module.__dict__.clear()
    nn.Module.__init__(module)
    module.members = copies
    module.__dict__["_recipelang_habits"] = replace(habits, answer=(), changes_input=False)
    module.train(training)


def multiplied(restrictions: Mapping[str, tuple[Restriction, ...]], members: int) -> dict[str, tuple[Restriction, ...]]:
    """The restrictions of a network at the places of every copy of it; that of its input stays one."""
    found = {}
    for place, each in restrictions.items():
        for number in range(members):
            own = f":{place[1:]}" if place.startswith(":") else f".{place}"
            found[place if place == INPUT else f"{MEMBERS}.{number}{own}"] = each
    return found
