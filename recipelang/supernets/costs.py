"""What widths cost, as a function that knows about expectations: read where it must be, and bilinear between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class CostModel:
    """The cost of a network by the numbers of bins that its queues have lost.

    Exact where a cost is a sum over weights of the product of their sizes, each a function of one queue: parameters,
    FLOPs of products. Elsewhere what two queues win together is taken to grow with both.

    Attributes:
        start: of the whole network.
        alone: queue → K + 1: what the cost changes by when it alone has lost 0 … K bins.
        gone: queue → K + 1: the part of all its bins' parts that is gone then, 0 … 1.
        pairs: (queue, queue, what the cost changes by, beyond the two alone, when both have lost all).
    """

    start: float
    alone: tuple[Tensor, ...]
    gone: tuple[Tensor, ...]
    pairs: tuple[tuple[int, int, float], ...]

    def expected(self, chances: Sequence[Tensor]) -> Tensor:
        """The mean cost, scalar, when the queues lose bins independently.

        Args:
            chances: queue → K + 1: the probability that it has lost 0 … K bins.
        """
        cost = chances[0].new_tensor(self.start)
        shares = []
        for chance, alone, gone in zip(chances, self.alone, self.gone, strict=True):
            cost = cost + (chance * alone.to(chance)).sum()
            shares.append((chance * gone.to(chance)).sum())
        for one, other, both in self.pairs:
            cost = cost + both * shares[one] * shares[other]
        return cost

    def of(self, lost: Sequence[int]) -> float:
        """The cost when each queue has lost this many bins."""
        certain = [torch.eye(len(alone), dtype=torch.float64)[k] for alone, k in zip(self.alone, lost, strict=True)]
        return float(self.expected(certain))


def read_costs(
    cost: Callable[[Sequence[int]], float], sizes: Sequence[Sequence[int]], neighbours: Sequence[tuple[int, int]]
) -> CostModel:
    """Read a cost where its model needs it: every queue alone at each width, and neighbours without all bins.

    Args:
        cost: numbers of bins lost → the cost.
        sizes: queue → how many parts each of its bins has, the first to go first.
        neighbours: pairs of queues whose parts meet in a weight.
    """
    nothing = [0] * len(sizes)

    def at(*lost: tuple[int, int]) -> float:
        taken = list(nothing)
        for queue, count in lost:
            taken[queue] = count
        return cost(taken)

    start = cost(nothing)
    alone, gone = [], []
    for queue, bins in enumerate(sizes):
        alone.append(torch.tensor([at((queue, k)) - start if k else 0.0 for k in range(len(bins) + 1)]).double())
        parts = torch.tensor([0, *bins], dtype=torch.float64).cumsum(0)
        gone.append(parts / parts[-1])
    pairs = []
    for one, other in neighbours:
        both = at((one, len(sizes[one])), (other, len(sizes[other])))
        pairs.append((one, other, both - start - float(alone[one][-1]) - float(alone[other][-1])))
    return CostModel(start, tuple(alone), tuple(gone), tuple(pairs))
