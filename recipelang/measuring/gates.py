"""Numbers that multiply the parts of a network, trained while the network stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from recipelang.errors import Refusal
from recipelang.images.batches import count
from recipelang.kinds import Batch, Evidence
from recipelang.surgery.finite import DIVERGED


@dataclass(frozen=True)
class Gates:
    """Where every part of a network can be changed, one number for each.

    Attributes:
        sizes: group, or weight of a layer → how many parts it has.
        places: weight → (group, N×c: its channels that belong to each part), for every group there.
    """

    sizes: Mapping[str, int]
    places: Mapping[str, tuple[tuple[str, Tensor], ...]]
    _known: dict[str, Tensor] = field(default_factory=dict, repr=False)

    @property
    def total(self) -> int:
        """The number of parts."""
        return sum(self.sizes.values())

    def each(self, numbers: Tensor) -> dict[str, Tensor]:
        """Numbers of all parts → group → those of its parts."""
        return dict(zip(self.sizes, numbers.split(list(self.sizes.values())), strict=True))

    def scaled(self, name: str, tensor: Tensor, numbers: Tensor) -> Tensor:
        """What enters or leaves a weight, n×C×…, with every part multiplied by its number; other channels stay."""
        if name not in self.places:
            return tensor
        factors = torch.cat([numbers, numbers.new_ones(1)])[self._index(name, tensor)]
        return tensor * factors.reshape(-1, *[1] * (tensor.ndim - 2)).to(tensor.dtype)

    def _index(self, name: str, tensor: Tensor) -> Tensor:
        """C: the number of each channel's part; `total` of a channel of none."""
        if name not in self._known:
            index = torch.full((tensor.shape[1],), self.total)
            starts = dict(zip(self.sizes, _starts(self.sizes.values()), strict=True))
            for group, channels in self.places[name]:
                index[channels] = starts[group] + torch.arange(len(channels))[:, None]
            self._known[name] = index.to(tensor.device)
        return self._known[name]


def gates_of(evidence: Evidence) -> Gates:
    """Gates for every ranked group, or for the outputs of every weight in ranked layers."""
    places: dict[str, list[tuple[str, Tensor]]] = {}
    for group, weights in evidence.channels.items():
        for name, channels in weights.items():
            places.setdefault(name, []).append((group, channels))
    sizes = {group: len(next(iter(weights.values()))) for group, weights in evidence.channels.items()}
    return Gates(sizes, {name: tuple(here) for name, here in places.items()})


@contextmanager
def open_gates(evidence: Evidence, gates: Gates, numbers: Tensor) -> Iterator[None]:
    """Inside the block the network computes with its parts multiplied by these numbers."""
    with evidence.changing(lambda name, tensor: gates.scaled(name, tensor, numbers)):
        yield


def minibatches(held: Batch, size: int, generator: torch.Generator) -> Iterator[Batch]:
    """Batches of samples without end: all of them in random order, then all again in another."""
    total = count(held.inputs)
    while True:
        for numbers in torch.randperm(total, generator=generator).split(min(size, total)):
            yield Batch(*tree_map(lambda leaf, n=numbers: leaf[n.to(leaf.device)], tuple(held)))


def in_order(held: Batch, size: int) -> Iterator[Batch]:
    """The samples in batches, once, in their order."""
    for start in range(0, count(held.inputs), size):
        yield Batch(*tree_map(lambda leaf, n=start: leaf[n : n + size], tuple(held)))


def descend(
    evidence: Evidence,
    trained: Sequence[Tensor],
    loss: Callable[[Batch], Tensor],
    batches: Iterator[Batch],
    steps: int,
    rate: float,
    what: str,
    after: Callable[[], None] = lambda: None,
) -> None:
    """Adam on a few tensors that need gradients, in place; nothing else is changed.

    Args:
        evidence: its progress shows the steps.
        trained: the tensors. `loss`: of a batch, as a function of them.
        steps, rate: of Adam.
        what: the words of the progress.
        after: is called after every step.

    Raises:
        Refusal: RCP1005: the loss is NaN or infinite.
    """
    optimizer = torch.optim.Adam(trained, lr=rate)
    progress = evidence.progress
    if progress:
        progress.start(what, steps)
    try:
        for _, batch in zip(range(steps), batches, strict=False):
            value = loss(batch)
            if not bool(torch.isfinite(value)):
                raise Refusal(
                    "RCP1005",
                    f"{what}: the loss is {float(value.detach()):g}",
                    DIVERGED,
                )
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            after()
            if progress:
                progress.advance()
    finally:
        if progress:
            progress.stop()


def _starts(sizes: Iterable[int]) -> list[int]:
    found = [0]
    for size in sizes:
        found.append(found[-1] + size)
    return found[:-1]
