"""`sparsify nm 2:4 with permute`: channels are grouped so that pruning loses least."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting

if TYPE_CHECKING:
    from torch import Tensor


@method("permutation", "permute")
@dataclass(frozen=True)
class Permute:
    """Puts input channels in the order in which N:M pruning keeps the largest sum of scores.

    What: which m input channels form a group decides which weights compete. The new order is absorbed by the neighbours
        (the filters that produce the channels, biases, norms and every other weight that takes them as inputs), so the
        network computes the same function at no cost at run time.
    Formula: maximise over orders π of the channels Σ over rows and groups of the n largest of scores[π(m·g)] …
        scores[π(m·g + m − 1)]. Greedy over pairs of groups, all ways to divide their 2m channels (for m > 4, all
        exchanges of two channels), the best pairs first, until none gains: by an estimate from sums over two channels,
        min(Ψ(s_i), Ψ(s_j)) with Ψ′ = P(Binomial(m − 2, share of the row above) = n − 1), then by the scores, each group
        with the partners of which the estimate expects most, four where there are many; then `effort` random changes.
    Shapes: scores R×C, the weights that take the C channels as inputs, stacked, O·kh·kw rows each.
    When it misleads: weights with large scores decide for all that share their inputs; of more than 1024 rows, 1024 are
        drawn. More than 256 groups are divided at random into parts of at most 256, which are searched separately:
        once, and three times from `effort=10` on. Fine-tuning compensates for part of what a bad order loses, so the
        gain shrinks in training. Channels that a reshape splits (the heads of attention) or that enter
        or leave the network stay in place.
    Source: Pool, Yu, "Channel Permutations for N:M Sparsity", NeurIPS 2021.
    """

    version: ClassVar[int] = 2  # the search climbs on estimates first, and finds other orders

    effort: int = setting(
        3,
        type="integer",
        low=0,
        high=10_000,
        help="How often the search continues from a random change when nothing improves any more; 0 is greedy only.",
    )

    def order(self, scores: Tensor, n: int, m: int, seed: int) -> Tensor:
        """Scores R×C, C a multiple of m → int64 C: position k takes channel `order[k]`."""
        from recipelang.kernels.nm.permutation import search

        return search(scores, n, m, seed=seed, effort=self.effort)
