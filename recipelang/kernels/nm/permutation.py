"""The order of input channels in which a matrix keeps most of its score when it is pruned to N:M.

Greedy over pairs of groups, as in Pool and Yu 2021, "Channel Permutations for N:M Sparsity", NeurIPS, and in its
implementation in NVIDIA's apex: of all ways to distribute the 2m columns of two groups between them the best one
is taken, the pairs that gain most first, until no pair gains anything; then some columns are exchanged at random, and
the same is repeated. Unlike there, the first climb uses estimates (`overlap.py`), and what is then computed from the
rows are the few pairs of each group that the estimates find most promising: in a third of the time, that gains more
than computing all pairs of fewer groups at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from os.path import commonprefix
from typing import Self, TypeVar

import torch
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.kernels.nm.maxima import Maxima
from recipelang.kernels.nm.overlap import Overlap
from recipelang.kernels.nm.reference import why_not

#: rows that are used: of more, this many are drawn; the result is judged on all of them
ROWS = 1024
#: groups among which all pairs are tried; more are divided at random into subsets of at most this many
MOST_GROUPS = 256
#: partners of each group with which it is computed from the rows what an exchange gains
PARTNERS = 4
#: with few groups it is more of them, so that about as many pairs are computed
AT_ONCE = 128
#: how often groups are divided into subsets, from this effort on; below it once, which gains nearly as much
DIVISIONS, THOROUGH = 3, 10
#: for larger m there are too many ways to distribute 2m columns, and only exchanges of two columns are tried
ALL_SPLITS = 4
#: groups whose columns are exchanged at random
SHAKEN = 3
#: numbers that are processed in one piece: few enough to stay in a processor's cache
PIECE = 1 << 18
#: smallest gain, as a part of the two groups' score: sums in float32 are no more precise
LEAST = 1e-5


def kept(matrix: Tensor, n: int, m: int) -> float:
    """The sum of scores R×C that is kept where each row keeps the n largest of every m columns, in float64."""
    groups = matrix.reshape(matrix.shape[0], -1, m)
    return float(groups.topk(n, dim=-1).values.sum(dtype=torch.float64))


def search(matrix: Tensor, n: int, m: int, *, seed: int = 0, effort: int = 10) -> Tensor:
    """An order of the columns in which N:M keeps at least as much as in the given one.

    The same arguments give the same order on one machine. The work grows with the rows, up to 1024, and with the
    square of the columns.

    Args:
        matrix: scores R×C, none NaN; C a multiple of m. The work is done on its device.
        n, m: 0 < n < m.
        seed: for what is drawn: rows, subsets of groups, columns to exchange.
        effort: how often each subset continues after a random change when nothing improves any more; 0: greedy only.
            From `THOROUGH` on, columns that need several subsets are divided `DIVISIONS` times.

    Returns:
        int64 C on the CPU: column k of the better matrix is column `order[k]` of the given one: `matrix[:, order]`.

    Raises:
        Refusal: RCP0705: C is not a multiple of m.
    """
    reason = why_not(matrix, m)
    if reason:
        raise Refusal("RCP0705", f"no {n}:{m} pattern for this weight: {reason}", "exclude the layer with `except`")
    generator = torch.Generator().manual_seed(seed)
    rows, columns = matrix.shape
    identity = torch.arange(columns)
    drawn = torch.randperm(rows, generator=generator)[:ROWS].to(matrix.device) if rows > ROWS else slice(None)
    table = _Table(matrix.detach()[drawn].float().T.contiguous(), n, m)
    groups = identity.reshape(-1, m).clone()
    divisions = DIVISIONS if len(groups) > MOST_GROUPS and effort >= THOROUGH else 1
    for division in range(1, divisions + 1):
        order = (
            torch.randperm(len(groups), generator=generator) if len(groups) > MOST_GROUPS else torch.arange(len(groups))
        )
        for subset in order.tensor_split(-(-len(groups) // MOST_GROUPS)):
            # Random changes pay at the end: a new division exchanges more than they do.
            groups[subset] = _best(table, groups[subset], effort if division == divisions else 0, generator)
    order = groups.reshape(-1)
    return order if kept(matrix[:, order.to(matrix.device)], n, m) > kept(matrix, n, m) else identity


class _Table:
    """The columns of a matrix, and what groups of them keep.

    Attributes:
        columns: C×R float32.
        splits: the ways to distribute 2m columns to two groups, S×2m; the first changes nothing.
        maxima: computes all splits of two groups at once where m is small.
        overlap: estimates what an exchange gains.
    """

    use_maxima = True  # a benchmark compares both ways

    def __init__(self, columns: Tensor, n: int, m: int) -> None:
        self.columns, self.n, self.m = columns, n, m
        self.splits = _splits(m)
        self.maxima = Maxima(columns, n, m, self.splits) if self.use_maxima and m <= ALL_SPLITS else None
        self.overlap = Overlap(columns, n, m, self.splits)

    def kept(self, numbers: Tensor, subsets: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], Tensor]:
        """What some of the columns of each row of `numbers`, P×K, keep.

        Args:
            numbers: column indices.
            subsets: m positions in a row of `numbers` each, in ascending order.

        Returns:
            subset → float32 P: the sum of the n largest of these columns, over all rows of the matrix.
        """
        columns = [self.columns[column] for column in numbers.T.to(self.columns.device)]
        found: dict[tuple[int, ...], Tensor] = {}
        largest: list[list[Tensor]] = [[]]  # of the first k columns of a subset the n largest, in order, for each k
        last: tuple[int, ...] = ()
        for subset in sorted(set(subsets)):
            del largest[1 + len(commonprefix([last, subset])) :]  # neighbours share their beginning
            for position in subset[len(largest) - 1 :]:
                largest.append(self._with(largest[-1], columns[position]))
            last = subset
            found[subset] = torch.stack([value.sum(-1) for value in largest[-1]]).sum(0)
        return found

    def _with(self, largest: list[Tensor], value: Tensor) -> list[Tensor]:
        """The n largest so far, in order, after one more column."""
        held = []
        for old in largest:
            held.append(torch.maximum(old, value))
            value = torch.minimum(old, value)
        return held if len(held) == self.n else [*held, value]

    def total(self, groups: Tensor) -> float:
        """What all these groups, G×m, keep together."""
        whole = tuple(range(self.m))
        return float(self.kept(groups, [whole])[whole].sum(dtype=torch.float64))

    def shared_out(self, groups: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """What pairs of groups gain by their best split, P, and that split, P×2m.

        Args:
            groups: column indices, G×m.
            first, second: the groups of each pair, P.
        """
        pairs = torch.cat([groups[first], groups[second]], dim=1)
        values = self.maxima.values(groups, first, second) if self.maxima else self._values(pairs)
        gain, which = (values - values[0]).max(0)
        real = gain > LEAST * values[0].abs()
        return gain.where(real, 0).float(), pairs.gather(1, self.splits[which.where(real, 0)])

    def _values(self, pairs: Tensor) -> Tensor:
        """What pairs of groups, P×2m, keep in every split: S×P."""
        halves = [tuple(half) for half in self.splits.reshape(-1, self.m).tolist()]
        found = [torch.empty(len(self.splits), 0)]
        for some in pairs.split(max(1, PIECE // (2 * self.m * self.columns.shape[1]))):
            of = self.kept(some, halves)
            values = torch.stack([of[a] + of[b] for a, b in zip(halves[::2], halves[1::2], strict=True)])
            found.append(values.cpu())
        return torch.cat(found, 1)


def _splits(m: int) -> Tensor:
    """Ways to distribute 2m columns to two groups, S×2m, each half in ascending order; the first changes nothing."""
    columns, stay = range(2 * m), tuple(range(m))
    if m <= ALL_SPLITS:  # column 0 stays: the other splits only swap the two groups' names
        firsts = [(0, *rest) for rest in combinations(range(1, 2 * m), m - 1)]
    else:
        firsts = [stay, *(tuple(sorted({*stay, b} - {a})) for a in stay for b in range(m, 2 * m))]
    return torch.tensor([[*first, *(k for k in columns if k not in first)] for first in firsts])


@dataclass(frozen=True)
class _Subset:
    """Groups, and what each pair of them would gain.

    Attributes:
        groups: column indices, G×m.
        first, second: the groups of each pair, P.
        gains: of each pair, P. `shared`: its columns in the best split, P×2m.
    """

    groups: Tensor
    first: Tensor
    second: Tensor
    gains: Tensor
    shared: Tensor

    def stale(self, touched: Tensor) -> Tensor:
        """The pairs, P bool, with a group that has changed; `touched`, G bool, says which have."""
        return touched[self.first] | touched[self.second]

    def changed(self, table: _Table, groups: Tensor, touched: Tensor) -> Self:
        """The subset with changed groups: what exchanges gain is estimated for all pairs."""
        stale = self.stale(touched)
        gains, shared = self.gains.clone(), self.shared.clone()
        gains[stale], shared[stale] = table.overlap.shared_out(groups, self.first[stale], self.second[stale])
        return replace(self, groups=groups, gains=gains, shared=shared)


@dataclass(frozen=True)
class _Computed(_Subset):
    """Here the gains are computed from the rows, for the most promising pairs; of the others they are 0.

    Attributes:
        hopes: the estimated gain of each pair, P. `known`: the pairs that were computed, P bool.
    """

    hopes: Tensor
    known: Tensor

    def changed(self, table: _Table, groups: Tensor, touched: Tensor) -> Self:
        """The subset with changed groups: of each group, the pairs with its best partners are computed."""
        stale = self.stale(touched)
        hopes, shared = self.hopes.clone(), self.shared.clone()
        hopes[stale] = table.overlap.hopes(groups, self.first[stale], self.second[stale])
        known = self.known & ~stale
        asked = self._promising(hopes) & ~known
        gains = self.gains.where(known, 0)
        gains[asked], shared[asked] = table.shared_out(groups, self.first[asked], self.second[asked])
        return replace(self, groups=groups, gains=gains, shared=shared, hopes=hopes, known=known | asked)

    def _promising(self, hopes: Tensor) -> Tensor:
        """The pairs, P bool, of each group with the partners whose expected gain is largest."""
        count = len(self.groups)
        matrix = hopes.new_full((count, count), -math.inf)
        matrix[self.first, self.second] = matrix[self.second, self.first] = hopes
        chosen = torch.zeros(count, count, dtype=torch.bool)
        most = min(max(PARTNERS, AT_ONCE // count), count - 1)
        chosen.scatter_(1, matrix.topk(most, dim=1).indices, True)
        return chosen[self.first, self.second] | chosen[self.second, self.first]


H = TypeVar("H", bound=_Subset)


def _best(table: _Table, groups: Tensor, effort: int, generator: torch.Generator) -> Tensor:
    """The groups in the best distribution found."""
    first, second = torch.triu_indices(len(groups), len(groups), 1)
    all_of_them, gains = torch.ones(len(groups), dtype=torch.bool), torch.zeros(len(first))
    shared = groups.new_zeros(len(first), 2 * table.m)
    subset = _Subset(groups, first, second, gains, shared)
    groups = _climbed(table, subset.changed(table, groups, all_of_them)).groups
    computed = _Computed(groups, first, second, gains, shared, gains, gains.bool())
    best = _climbed(table, computed.changed(table, groups, all_of_them))
    most = table.total(best.groups)
    for _ in range(effort if len(groups) >= SHAKEN else 0):
        again = _climbed(table, _shaken(table, best, generator))
        if (total := table.total(again.groups)) > most:
            best, most = again, total
    return best.groups


def _climbed(table: _Table, subset: H) -> H:
    """The subset after the best exchanges between pairs, until no pair gains anything."""
    while bool((subset.gains > 0).any()):
        groups, touched = subset.groups.clone(), torch.zeros(len(subset.groups), dtype=torch.bool)
        gaining = (subset.gains > 0).nonzero().flatten()
        best = gaining[subset.gains[gaining].argsort(descending=True, stable=True)]
        taken: set[int] = set()
        pairs = zip(best.tolist(), subset.first[best].tolist(), subset.second[best].tolist(), strict=True)
        for pair, a, b in pairs:
            if a not in taken and b not in taken:  # pairs without a common group do not change each other's gain
                groups[a], groups[b] = subset.shared[pair].chunk(2)
                taken |= {a, b}
        touched[list(taken)] = True
        subset = subset.changed(table, groups, touched)
    return subset


def _shaken(table: _Table, subset: H, generator: torch.Generator) -> H:
    """The subset after a random exchange of the columns of three groups: for two, the next step would undo it."""
    groups, touched = subset.groups.clone(), torch.zeros(len(subset.groups), dtype=torch.bool)
    three = torch.randperm(len(groups), generator=generator)[:SHAKEN]
    columns = groups[three].reshape(-1)
    groups[three] = columns[torch.randperm(len(columns), generator=generator)].reshape(-1, table.m)
    touched[three] = True
    return subset.changed(table, groups, touched)
