"""Weights that networks of all widths share: each parameter is multiplied by the gates of the parts that it holds.

A part whose gate is 0 is gone, as the edits that remove channels have it: every parameter that makes, scales, shifts or
reads it is zero. Gates between 0 and 1 multiply what reads a part, so they act after its norm and activation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from recipelang.images.batches import copied
from recipelang.kinds import Bench, Queue, Taken
from recipelang.surgery.edits import apply_edits
from recipelang.surgery.network import Network


@dataclass(frozen=True)
class Place:
    """An axis of a parameter that holds parts of a queue.

    Attributes:
        queue: its number.
        axis: of the parameter.
        index: of every index of the axis the number of its part; the number of parts where it belongs to none.
        reads: whether the parameter reads the parts there.
    """

    queue: int
    axis: int
    index: Tensor
    reads: bool

    def factors(self, gates: Tensor, ndim: int) -> Tensor:
        """The gates of N parts, of the shape of a parameter: 1 along the other axes."""
        each = torch.cat([gates, gates.new_ones(1)])[self.index.to(gates.device)]
        return each.reshape([-1 if axis == self.axis else 1 for axis in range(ndim)])


class Shared:
    """Where gates act on the parameters of a network.

    Args:
        module: of the network; it is not changed and not kept.
        queues: of coupled channels. Gates are in their order, one number for each part of the queue's group.
        spared: (parameter, axis) where zeros would be 0/0: v of weight norm, whose gain is zero instead.
    """

    def __init__(self, module: nn.Module, queues: Sequence[Queue], spared: Collection[tuple[str, int]] = ()) -> None:
        self.queues = tuple(queues)
        self.places: dict[str, tuple[Place, ...]] = {}
        parameters = dict(module.named_parameters(remove_duplicate=False))
        for number, queue in enumerate(self.queues):
            source: Any = queue.group.source
            for place in source.places:
                if place.name in parameters and (place.name, place.axis) not in spared:
                    index = torch.full((parameters[place.name].shape[place.axis],), queue.group.size)
                    for part, positions in enumerate(place.positions):
                        index[list(positions)] = part
                    here = Place(number, place.axis, index, place.role == "reads")
                    self.places[place.name] = (*self.places.get(place.name, ()), here)
        read = {place.queue for places in self.places.values() for place in places if place.reads}
        self._unread = set(range(len(self.queues))) - read

    @property
    def most(self) -> tuple[int, ...]:
        """The number of steps of each queue."""
        return tuple(len(queue.steps) for queue in self.queues)

    def gates(self, taken: Taken) -> list[Tensor]:
        """0 for every part that is gone after this many steps of each queue, and 1 for the others."""
        found = []
        for queue, count in zip(self.queues, taken, strict=True):
            gates = torch.ones(queue.group.size)
            for step in queue.steps[:count]:
                gates[list(step.parts)] = 0
            found.append(gates)
        return found

    def values(
        self, parameters: Mapping[str, Tensor], gates: Sequence[Tensor], *, soft: bool = False
    ) -> dict[str, Tensor]:
        """Name → its value times the gates of the parts that it holds; gradients pass to both.

        Args:
            parameters: name → value, of at least all places.
            gates: of each queue, one number for each part.
            soft: whether only what reads a part is multiplied; what makes it where nothing reads it.
        """
        found = {}
        for name, places in self.places.items():
            value = parameters[name]
            acting = [place for place in places if not soft or place.reads or place.queue in self._unread]
            for place in acting:
                value = value * place.factors(gates[place.queue].to(value), value.ndim)
            if acting:
                found[name] = value
        return found

    def touching(self, name: str) -> tuple[int, ...]:
        """The numbers of the queues whose parts a parameter holds."""
        return tuple(sorted({place.queue for place in self.places.get(name, ())}))

    def neighbours(self) -> list[tuple[int, int]]:
        """Pairs of queues, the smaller number first, whose parts are held by the same parameter."""
        pairs = set()
        for name in self.places:
            here = self.touching(name)
            pairs |= {(one, other) for one in here for other in here if one < other}
        return sorted(pairs)


def shared(queues: Sequence[Queue], bench: Bench) -> Shared:
    """The gates of a bench's network."""
    most = [len(queue.steps) for queue in queues]
    spared = [place for edit in _cut(bench, most) for place in getattr(edit, "normalised", ())]
    return Shared(bench.whole.module, queues, spared)


def without(network: Network, taken: Taken, bench: Bench) -> Network:
    """A network of the shape of the bench's whole one, cut as the bench cuts that."""
    return apply_edits(network, _cut(bench, taken), check=False)


def _cut(bench: Bench, taken: Taken) -> tuple[Any, ...]:
    edits: tuple[Any, ...] = bench.network(taken).edits
    return edits[len(bench.whole.edits) :]


def filled(network: Network, *values: Mapping[str, Tensor]) -> Network:
    """A copy of a network with these parameters and buffers, by name; later ones come after earlier ones."""
    copy = network.clone()
    own = copy.module.state_dict()
    with torch.no_grad():
        for each in values:
            for name, value in each.items():
                own[name].copy_(value)
    return copy


def run(module: nn.Module, values: Mapping[str, Tensor], inputs: Any) -> Any:
    """What a network answers with these values of its parameters: as in evaluation, but BatchNorm normalises with the
    statistics of the batch, since those that it keeps are of another width."""
    with batch_statistics(module):
        return functional_call(module, dict(values), (copied(inputs),))


@contextmanager
def batch_statistics(module: nn.Module) -> Iterator[None]:
    """Inside the block the module is in evaluation mode, and its BatchNorm layers in that of training."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        for part, _ in modes:
            part.training = isinstance(part, nn.modules.batchnorm._BatchNorm)
        yield
    finally:
        for part, training in modes:
            part.training = training
