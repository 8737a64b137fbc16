"""What finds an order of input channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Permutation(Protocol):
    """`sparsify nm 2:4 with NAME(…)`: the order of input channels that loses least when every m of them are pruned."""

    def order(self, scores: Tensor, n: int, m: int, seed: int) -> Tensor:
        """Scores R×C of every row that the channels enter → int64 C: place k is for channel `order[k]`."""
