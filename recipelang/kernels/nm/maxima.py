"""What groups of columns keep, from sums of maxima: many ways to distribute columns cost little more than one.

The k-th largest of m numbers is a sum of maxima over their subsets (inclusion–exclusion, with C(j−1, m−k) for
subsets of j), and so is what N:M keeps of a group, summed over the rows:

    kept(a, b, c, d) of 2:4 = Σ over triples of Σ_rows max − 2 Σ_rows max(a, b, c, d)

The maximum over a subset that spans two groups is that of its two parts. These are computed once per group, and every
way to distribute the columns of two groups takes its terms from the same maxima over pairs of parts.
"""

from __future__ import annotations

from itertools import combinations, product
from math import comb

import torch
from torch import Tensor

#: numbers that are processed in one piece
PIECE = 1 << 19

Subset = tuple[int, ...]


def coefficients(n: int, m: int) -> dict[int, int]:
    """Size of a subset → coefficient of its maximum in the sum of the n largest of m numbers, where nonzero."""
    found: dict[int, int] = {}
    for size in range(1, m + 1):
        times = sum((-1) ** (size - m + k - 1) * comb(size - 1, m - k) for k in range(m - size + 1, n + 1))
        if times:
            found[size] = times
    return found


class Maxima:
    """Distributes the columns of two groups, for small m.

    Args:
        columns: C×R float32.
        n, m: n of every m are kept.
        splits: the ways to distribute 2m columns to two groups, S×2m.
    """

    def __init__(self, columns: Tensor, n: int, m: int, splits: Tensor) -> None:
        self.columns = columns
        self.parts = [part for size in range(m + 1) for part in combinations(range(m), size)]
        times = coefficients(n, m)
        sizes = [(a, b) for a, b in product(range(m + 1), repeat=2) if a + b in times]
        self.sizes = [(self._slice(a), self._slice(b)) for a, b in sizes]
        terms = [pair for a, b in sizes for pair in product(combinations(range(m), a), combinations(range(m), b))]
        counts = [[self._times(split, term, m, times) for term in terms] for split in splits.tolist()]
        self.weights = torch.tensor(counts, dtype=torch.float64)

    def values(self, groups: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """What pairs of groups keep in every split: float64 S×P on the CPU.

        Args:
            groups: column indices, G×m.
            first, second: the groups of each pair, P.
        """
        whole = self._of_parts(groups)
        largest = max((a.stop - a.start) * (b.stop - b.start) for a, b in self.sizes)
        piece = max(1, PIECE // (largest * self.columns.shape[1]))
        found = [torch.empty(0, self.weights.shape[1])]
        for one, other in zip(first.split(piece), second.split(piece), strict=True):
            a, b = (whole[numbers.to(whole.device)] for numbers in (one, other))
            sums = [torch.maximum(a[:, i, None], b[:, None, j]).sum(-1).flatten(1) for i, j in self.sizes]
            found.append(torch.cat(sums, 1).cpu())
        return self.weights @ torch.cat(found).double().T

    def _of_parts(self, groups: Tensor) -> Tensor:
        """The maxima over every part of every group, G×parts×R; for the empty one a number below all others."""
        columns = self.columns[groups.to(self.columns.device)]
        whole = columns.new_empty(len(groups), len(self.parts), columns.shape[2])
        whole[:, 0] = torch.finfo(columns.dtype).min
        for k, part in enumerate(self.parts[1:], start=1):
            torch.maximum(whole[:, self.parts.index(part[:-1])], columns[:, part[-1]], out=whole[:, k])
        return whole

    def _slice(self, size: int) -> slice:
        """The positions of the parts of a size."""
        numbers = [k for k, part in enumerate(self.parts) if len(part) == size]
        return slice(numbers[0], numbers[-1] + 1)

    @staticmethod
    def _times(split: list[int], term: tuple[Subset, Subset], m: int, times: dict[int, int]) -> int:
        """The coefficient of a maximum in a split: nonzero where all its columns are in one group."""
        columns = {*term[0], *(m + k for k in term[1])}
        return times[len(columns)] * (columns <= set(split[:m]) or columns <= set(split[m:]))
