"""Chains of linear layers, and what may be removed from them."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from recipelang.kinds import Queue, RemovalStep
from recipelang.kinds.unit import Group
from recipelang.plan import Selection
from recipelang.surgery.network import Network


def chain(*widths: int, inputs: int = 4, classes: int = 3) -> Network:
    """linear – relu – linear – …, `widths` neurons in between."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in pairwise((inputs, *widths, classes)):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return Network(nn.Sequential(nn.Flatten(), *layers[:-1]).eval(), {}, (1, 1, inputs))


def queues_of(network: Network, unit: str = "neurons") -> list[Queue]:
    """Every group of a network, one part a step, in the order of their numbers."""
    from recipelang import catalogue

    found = catalogue.find("unit", unit)
    assert found is not None
    return [queue_of(group, unit) for group in found().find(network, Selection()).groups]


def queue_of(group: Group, unit: str = "neurons") -> Queue:
    steps = tuple(RemovalStep(group.name, (part,), float(part), unit) for part in range(group.most))
    return Queue(group, tuple(map(float, range(group.size))), steps, unit)


def bare_queue(size: int, name: str = "a") -> Queue:
    """A group that belongs to no network."""
    return queue_of(Group(name, size, least=1))
