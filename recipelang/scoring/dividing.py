"""How the zeros of a pattern are divided among weights.

The pieces of each weight leave in order of their scores, and an allocation joins the weights into one order, as it does
groups that lose parts. The target says how many go. A step is a thousandth of a weight's pieces (an allocation that
tries has a few coarse ones), and the last step is cut so that the target is met with one piece more at most. One piece
of each weight stays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recipelang.kinds import Group, Pattern, Queue, RemovalStep
from recipelang.surgery import masks
from recipelang.surgery.network import Network

#: the shares of a weight at which steps end, by default and for an allocation that tries each of them
FINE = tuple(k / 1000 for k in range(1, 1001))
COARSE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 1.0)


def shares(allocation: Any, pattern: Pattern, scores: Mapping[str, Tensor], target: float) -> Mapping[str, float]:
    """The share of zeros of each weight, so that all of them together have the target.

    Args:
        allocation: that knows an order (`kinds.Allocation`); None: every weight has the target.
        pattern: divides weights into pieces.
        scores: weight → scores of its shape; −∞ where an element has been removed already.
        target: the share of zeros over all of these weights.
    """
    if allocation is None:
        return dict.fromkeys(scores, target)
    queues = queues_of(pattern, scores)
    return reached(allocation.order(queues, None), queues, target)


def queues_of(pattern: Any, scores: Mapping[str, Tensor], ends: Sequence[float] = FINE) -> list[Queue]:
    """The steps of each weight, its least important pieces first.

    The parts of a step are places in that order, the least important being 0; the group's `source` is the weight's
    shape.

    Args:
        ends: the shares of a weight at which its steps end; the last one leaves one piece.
    """
    return [_queue(pattern, name, score, ends) for name, score in scores.items()]


def _queue(pattern: Any, name: str, score: Tensor, ends: Sequence[float]) -> Queue:
    pieces = pattern.split(score)
    removed = pieces.isneginf()
    sums = pieces.double().masked_fill(removed, 0).sum(1).masked_fill(removed.all(1), -math.inf)
    count = len(sums)
    cuts = sorted({min(count - 1, math.ceil(round(end * count, 6))) for end in ends} - {0})
    group = Group(name, count, least=1, layers=(name.rpartition(".")[0],), source=tuple(score.shape))
    if not cuts:
        return Queue(group, (), ())
    lengths = torch.tensor([b - a for a, b in zip([0, *cuts], cuts, strict=False)], device=sums.device)
    step = torch.repeat_interleave(torch.arange(len(cuts), device=sums.device), lengths)
    ascending = sums.sort().values[: cuts[-1]]
    means = torch.zeros(len(cuts), dtype=sums.dtype, device=sums.device).index_add_(0, step, ascending) / lengths
    steps = tuple(
        RemovalStep(name, range(a, b), mean)
        for a, b, mean in zip([0, *cuts], cuts, torch.cummax(means, 0).values.tolist(), strict=False)
    )
    return Queue(group, (), steps)


def reached(order: Sequence[RemovalStep], queues: Sequence[Queue], target: float) -> Mapping[str, float]:
    """The share of zeros of each weight after as many steps as the target needs; the last one is cut."""
    sizes = {queue.group.name: math.prod(queue.group.source) / queue.group.size for queue in queues}
    missing = target * sum(math.prod(queue.group.source) for queue in queues)
    gone = {queue.group.name: 0 for queue in queues}
    for step in order:
        size = sizes[step.group]
        count = min(len(step.parts), max(0, math.ceil(round(missing / size, 6))))
        gone[step.group] += count
        missing -= count * size
        if count < len(step.parts) or missing <= 0:
            break
    return {queue.group.name: gone[queue.group.name] / queue.group.size for queue in queues}


@dataclass(frozen=True)
class Dividing:
    """How a target is divided among weights on the way to it.

    Attributes:
        target: the share of zeros at the end, over all weights.
        shares: that of each weight at the end; on the way they are in proportion to the target.
        allocation: divides each target again by the scores of that moment, since it compares those of different
            weights; None: by `shares`.
    """

    target: float
    shares: Mapping[str, float]
    allocation: Any = None

    def at(self, pattern: Pattern, scores: Mapping[str, Tensor], target: float) -> Mapping[str, float]:
        """The share of each weight for a target; −∞ scores what has been removed already."""
        if self.allocation is not None:
            return shares(self.allocation, pattern, scores, target)
        return {name: self.shares[name] * target / self.target for name in scores}


@dataclass(frozen=True)
class Masked:
    """Pieces that leave a network's weights by masks: what a search of an allocation tries (`budgets.bench`).

    Attributes:
        network: whose weights they are.
        pattern: divides weights into pieces.
        scores: weight → scores of its shape.
    """

    network: Network
    pattern: Any
    scores: Mapping[str, Tensor]

    def tried(self, steps: Sequence[RemovalStep]) -> Network:
        """The network with these pieces at zero."""
        gone: dict[str, int] = {}
        for step in steps:
            gone[step.group] = gone.get(step.group, 0) + len(step.parts)
        network = self.network
        for name, count in gone.items():
            score = self.scores[name]
            pattern = self.pattern.at(count / len(self.pattern.split(score)))
            network = masks.sparsify(network, pattern, {name: score.cpu()})
        return network

    def on(self, network: Network) -> Masked:
        """The same pieces of a network with other values."""
        return Masked(network, self.pattern, self.scores)
