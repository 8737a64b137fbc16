"""What ranks units, and what also corrects the weights that stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from recipelang.kinds.evidence import Evidence

if TYPE_CHECKING:
    from torch import Tensor


class Criterion(Protocol):
    """`by NAME(…)`: importance, the higher the more important.

    Attributes:
        unit: finest unit that it scores: `element`, `filter`, `layer`, or `any`.
        needs: kinds of evidence: `weights`, `gradients`, `activations`, `labels`, `batchnorm`.
    """

    unit: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Parameter name → scores of the weight's shape (`element`), or candidate name → scalar (`layer`)."""


@runtime_checkable
class Solver(Protocol):
    """A criterion that also corrects: the weights that stay in a matrix compensate for those removed.

    `sparsify` calls it instead of `score`, one weight after another in order of execution, and only for patterns
    that keep `n` of every `m`.
    """

    def solve(self, weight: Tensor, moments: Tensor, n: int, m: int) -> tuple[Tensor, Tensor]:
        """The mask of a weight matrix and its new values.

        Args:
            weight: N×K, a multiple of m columns.
            moments: K×K, 2/rows · XᵀX of the rows X that enter it.
            n, m: of every m columns of a row n stay.

        Returns:
            bool N×K, True where a weight stays, and the weight N×K, zero where it is removed.
        """
