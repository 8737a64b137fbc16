"""What columns of a matrix cost each other in one group of N:M, estimated pair by pair.

Of a row, a group keeps Σ over thresholds t of min(n, number of its m values above t). Of two columns i and j, with the
other m − 2 drawn at random from the row, the part of it that depends on both is

    −∫ [x_i > t] [x_j > t] P(Binomial(m − 2, p_t) = n − 1) dt = −min(Ψ(x_i), Ψ(x_j)),   Ψ(s) = ∫ up to s of P(…) dt,

where p_t is the share of the row above t: the second difference of min(n, k) is −1 at k = n − 1 and 0 elsewhere. For
1:2 this is exact; for 2:4 it leaves out what three and four columns do together, which is a fifth of the variance of
the gains. Once the C² overlaps are known, an exchange of columns costs a few additions instead of a pass over the rows.
"""

from __future__ import annotations

from math import comb

import torch
from torch import Tensor

#: numbers that are processed in one piece
PIECE = 1 << 20
#: smallest gain, as a part of the overlaps it is computed from: sums in float32 are no more precise
LEAST = 1e-5


class Overlap:
    """Estimates what pairs of groups gain.

    Args:
        columns: C×R float32, none NaN; the overlaps are computed on its device.
        n, m: n of every m are kept.
        splits: the ways to distribute 2m columns to two groups, S×2m; the first changes nothing.

    Attributes:
        between: C×C on the CPU, the sum over the rows of min(Ψ(x_i), Ψ(x_j)).
    """

    def __init__(self, columns: Tensor, n: int, m: int, splits: Tensor) -> None:
        self.between = _between(_reduced(columns, n, m))
        self.splits = splits
        self.one, self.other = torch.triu_indices(2 * m, 2 * m, 1)
        side = torch.zeros(splits.shape, dtype=torch.bool).scatter_(1, splits[:, m:], True)
        apart = (side[:, self.one] != side[:, self.other]).float()
        self.weights = (apart - apart[0]).T.contiguous()  # +1: parted by the split, −1: put together

    def shared_out(self, groups: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """What pairs of groups gain by their best split, P, 0 where none gains, and that split, P×2m.

        Args:
            groups: column indices, G×m.
            first, second: the groups of each pair, P.
        """
        pairs = torch.cat([groups[first], groups[second]], dim=1)
        best = [torch.empty(0)], [torch.empty(0, dtype=torch.int64)]
        for some in self._pieces(pairs):
            overlaps = self._overlaps(some)
            gain, which = (overlaps @ self.weights).max(1)
            real = gain > LEAST * overlaps.sum(1)
            best[0].append(gain.where(real, 0))
            best[1].append(which.where(real, 0))
        return torch.cat(best[0]), pairs.gather(1, self.splits[torch.cat(best[1])])

    def hopes(self, groups: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """What the best split that changes something gains, P: negative where every one loses."""
        pairs = torch.cat([groups[first], groups[second]], dim=1)
        changes = self.weights[:, 1:]
        found = [(self._overlaps(some) @ changes).amax(1) for some in self._pieces(pairs)]
        return torch.cat([torch.empty(0), *found])

    def _overlaps(self, pairs: Tensor) -> Tensor:
        """The overlap of every two of the 2m columns of a pair, P×m(2m − 1)."""
        return self.between[pairs[:, self.one], pairs[:, self.other]]

    def _pieces(self, pairs: Tensor) -> tuple[Tensor, ...]:
        return pairs.split(max(1, PIECE // max(self.weights.shape)))


def _reduced(columns: Tensor, n: int, m: int) -> Tensor:
    """Ψ of every number in its row: C×R."""
    count = len(columns)
    ordered, places = columns.sort(dim=0)
    above = 1 - torch.arange(count, device=columns.device) / count  # the share of a row from the k-th smallest on
    weights = comb(m - 2, n - 1) * above ** (n - 1) * (1 - above) ** (m - n - 1)
    steps = torch.diff(ordered, dim=0, prepend=ordered[:1]) * weights[:, None]
    return torch.empty_like(columns).scatter_(0, places, steps.cumsum(0))


def _between(reduced: Tensor) -> Tensor:
    """The sums over the rows of the smaller of every two columns, C×C."""
    count, rows = reduced.shape
    found = reduced.new_zeros(count, count)
    piece = max(1, PIECE // (count * rows))
    for start in range(0, count, piece):
        some = reduced[start : start + piece]
        found[start : start + piece, start:] = torch.minimum(some[:, None], reduced[None, start:]).sum(-1)
    found = found.triu(1).cpu()
    return found + found.T
