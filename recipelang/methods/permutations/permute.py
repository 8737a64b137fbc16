"""`sparsify nm 2:4 with permute`: channels that lose least together are pruned together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recipelang.catalogue import method, setting

if TYPE_CHECKING:
    from torch import Tensor


@method("permutation", "permute")
@dataclass(frozen=True)
class Permute:
    """Puts input channels in the order in which N:M pruning keeps most of the scores.

    What: which m input channels stand together decides which weights compete. The new order is absorbed by the
        neighbours (the filters that make the channels, biases, norms and every other weight that takes them), so the
        network computes the same function and nothing costs at run time.
    Formula: maximise over orders π of the channels Σ over rows and groups of the n largest of
        scores[π(m·g)] … scores[π(m·g + m − 1)]. Greedy over pairs of groups, all ways to share their 2m channels out
        (for m > 4, all exchanges of two channels), the best pairs first, until none gains; then so many random changes.
    Shapes: scores R×C, the weights that take the C channels as inputs below each other, O·kh·kw rows each.
    When it misleads: weights whose scores are large decide for all that share their inputs; of more than 1024 rows as
        many are drawn. Fine-tuning makes up for part of what a bad order loses, so the gain shrinks in training.
        Channels that a reshape takes apart (the heads of attention) or that enter or leave the network stay.
    Source: Pool, Yu, "Channel Permutations for N:M Sparsity", NeurIPS 2021.
    """

    effort: int = setting(
        10,
        type="integer",
        low=0,
        high=10_000,
        help="How often the search goes on from a random change when nothing improves any more; 0 is greedy alone.",
    )

    def order(self, scores: Tensor, n: int, m: int, seed: int) -> Tensor:
        """Scores R×C, C a multiple of m → int64 C: place k is for channel `order[k]`."""
        from recipelang.kernels.nm.permutation import search

        return search(scores, n, m, seed=seed, effort=self.effort)
