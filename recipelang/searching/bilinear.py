"""What a network costs as a bilinear function of the widths of its groups, fitted to measured networks.

Multiply-accumulates and parameters of a layer are in proportion to its inputs times its outputs, so a network costs a
constant, a price for each group, and a price for each pair of groups that a parameter has on two of its axes. For
computed costs of convolutions and linear layers this is exact; for a clock or joules it is a model with an error.
Source: Yang, Zhu, Liu, "ECC: platform-independent energy-constrained deep neural network compression via a bilinear
regression model", CVPR 2019, section 3.1; Gordon et al., "MorphNet", CVPR 2018, equation 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, product
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from recipelang.kinds import Queue

if TYPE_CHECKING:
    from recipelang.kinds import Bench

#: by what part of a cost a model that explains it may be off
EXACT = 1e-6


@dataclass(frozen=True)
class BilinearCost:
    """constant + Σ single_j·w_j + Σ both_ij·w_i·w_j, of the shares w of their parts that n groups keep.

    Attributes:
        pairs: the groups of each product, i ≤ j.
        constant, single, both: the prices; n single ones, and one for each pair.
        error: the largest difference to a sample that it was fitted to, as a part of that sample.
    """

    pairs: tuple[tuple[int, int], ...]
    constant: float
    single: tuple[float, ...]
    both: tuple[float, ...]
    error: float = 0.0

    def __call__(self, kept: Tensor) -> Tensor:
        """The cost of these shares: …×n float64 → …; gradients pass through."""
        return terms(kept, self.pairs) @ _like(kept, self.constant, *self.single, *self.both)

    def slope(self, kept: Tensor) -> Tensor:
        """n → n: by how much the cost rises with the share of each group, the others as they are."""
        first, second = (torch.tensor(side, dtype=torch.long, device=kept.device) for side in sides(self.pairs))
        both = _like(kept, *self.both)
        return (
            _like(kept, *self.single).index_add(0, first, both * kept[second]).index_add(0, second, both * kept[first])
        )


def _like(kept: Tensor, *numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=kept.dtype, device=kept.device)


def sides(pairs: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """The first and the second of each pair."""
    return [first for first, _ in pairs], [second for _, second in pairs]


def terms(kept: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """What the prices multiply: …×n → …×(1 + n + pairs): 1, w, w_i·w_j."""
    first, second = sides(pairs)
    return torch.cat([torch.ones_like(kept[..., :1]), kept, kept[..., first] * kept[..., second]], dim=-1)


def fitted(kept: Tensor, costs: Tensor, pairs: Sequence[tuple[int, int]]) -> BilinearCost:
    """The prices with the least squares of errors; of several such the smallest.

    Args:
        kept: samples×n: the shares that each measured network keeps.
        costs: what each of them was measured to cost.
        pairs: of groups whose product counts (`paired`).
    """
    matrix = terms(kept.double(), pairs)
    prices = torch.linalg.lstsq(matrix, costs.double()[:, None], driver="gelsd").solution[:, 0]
    off = (matrix @ prices - costs).abs() / costs.abs().clamp_min(1e-12)
    n = kept.shape[1]
    constant, single, both = float(prices[0]), prices[1 : n + 1].tolist(), prices[n + 1 :].tolist()
    return BilinearCost(tuple(pairs), constant, tuple(single), tuple(both), float(off.max()))


def paired(queues: Sequence[Queue]) -> tuple[tuple[int, int], ...]:
    """The pairs of groups, by number, that a parameter has on two of its axes; a group with itself is one."""
    held: dict[str, list[tuple[int, int]]] = {}
    for number, queue in enumerate(queues):
        for place in getattr(queue.group.source, "places", ()):
            held.setdefault(place.name, []).append((number, place.axis))
    found = {
        (min(one, other), max(one, other))
        for places in held.values()
        for (one, axis), (other, across) in product(places, places)
        if axis != across
    }
    return tuple(sorted(found))


def drawn(steps: Sequence[int], count: int, generator: torch.Generator) -> list[tuple[int, ...]]:
    """Numbers of steps to read: none, then all, then random ones, no two alike.

    Args:
        steps: how many each group has.
        count: how many signatures; fewer where there are no more.
    """
    found = {tuple(0 for _ in steps): None, tuple(steps): None}
    possible = min(prod(number + 1 for number in steps), count)
    while len(found) < possible:
        taken = (int(torch.randint(number + 1, (), generator=generator)) for number in steps)
        found[tuple(taken)] = None
    return list(found)[:count]


def modelled(
    queues: Sequence[Queue], read: Callable[[tuple[int, ...]], float], samples: int, generator: torch.Generator
) -> BilinearCost:
    """A model of what numbers of steps cost, fitted to as many of them as it takes: no more are read once it explains
    one that it was not fitted to.

    Args:
        read: the cost of the network without these steps; it may be measured.
        samples: the largest number of networks that are read.
    """
    shares = [kept_shares(queue) for queue in queues]
    pairs, signatures = paired(queues), drawn([len(queue.steps) for queue in queues], samples, generator)
    rows = [[each[k] for each, k in zip(shares, taken, strict=True)] for taken in signatures]
    kept = torch.tensor(rows, dtype=torch.float64)
    numbers = 1 + len(queues) + len(pairs)
    costs: list[float] = []
    for row, taken in enumerate(signatures):
        made = fitted(kept[:row], torch.tensor(costs, dtype=torch.float64), pairs) if row > numbers else None
        costs.append(read(taken))
        if made is not None and abs(float(made(kept[row])) - costs[row]) <= EXACT * abs(costs[row]):
            return made
    return fitted(kept, torch.tensor(costs, dtype=torch.float64), pairs)


def kept_shares(queue: Queue) -> tuple[float, ...]:
    """The share of its parts that a group keeps after 0, 1, … steps."""
    size = queue.group.size
    gone = accumulate((len(step.parts) for step in queue.steps), initial=0)
    return tuple((size - count) / size for count in gone)


def everything(queues: Sequence[Queue]) -> list[int]:
    """All steps of every queue."""
    return [len(queue.steps) for queue in queues]


def wanted(queues: Sequence[Queue]) -> int:
    """How many networks it takes to find all prices, twice over."""
    return 2 * (2 + len(queues) + len(paired(queues)))


def quick(queues: Sequence[Queue], bench: Bench, generator: torch.Generator) -> Callable[[Sequence[int]], float]:
    """What numbers of steps cost on a bench, for those who ask often: by a model where it is exact."""

    def read(taken: Sequence[int]) -> float:
        return float(bench.remember(f"cost {list(taken)}", lambda: bench.cost(taken)))

    model, shares = modelled(queues, read, wanted(queues), generator), [kept_shares(queue) for queue in queues]
    if model.error > EXACT:
        return bench.cost

    def cost(taken: Sequence[int]) -> float:
        kept = [each[count] for each, count in zip(shares, taken, strict=True)]
        return float(model(torch.tensor(kept, dtype=torch.float64)))

    return cost
