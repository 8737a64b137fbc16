"""What ranks units, and what also corrects the weights that stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.kinds.evidence import Evidence


class Criterion(Protocol):
    """`by NAME(…)`: importance, the higher the more important.

    Attributes:
        unit: finest unit that it scores: `element`, `filter`, `layer`, `part` (whatever `prune` removes: a layer, or
            channels), or `any`. Coarser units aggregate its scores (`kinds.Unit.aggregate`).
        needs: what it asks of its evidence (`kinds.evidence.NEEDED`): `weights`, `gradients`, `signed gradients`,
            `activations`, `labels`, `batchnorm`, `network`. Asking for anything else is an error of the criterion.

    Optional, for criteria of elements and filters:
        norm: a filter's score is the root of this order of the sum over its weights; default 1.
        relative: whether scores of different groups have different scales, so that each is divided by the mean of its
            group before groups are ranked together; default false.
        coarse: the same criterion with the settings that it uses when filters or layers are ranked.

    Optional:
        tasks: names of the tasks whose networks it ranks; () or none is every task.
        remark(evidence, gone): a sentence for the record about a removal, given group → numbers of the removed parts:
            an error bound, what the scores rest on.
        rests_on: kinds of weights (`convolution`, `linear`) of which a layer must hold one to be ranked; others stay.
        members: criteria that it is made of; with `combine(scores)`: the scores of each → its own. Then it is ranked by
            what the members' scores are after aggregation, and `score` is for single weights.
        adds: whether scores add up, on one scale in the whole network, so that parts of different units can be compared
            by their sums (`prune layers, filters`); default: those of elements do, others do not.
        unfit: unit (`layers`, `neurons`), or `sparsify` for what patterns keep → why the criterion cannot rank it,
            although its scores could be aggregated.
    """

    unit: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Scores by name: of the shape of a parameter (`element`); N for the N filters of a group or weight (`filter`,
        the names of `evidence.filters` or `evidence.scales`); a scalar for a layer (`layer`); of `evidence.shapes`
        (`part`, `any`)."""


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


@runtime_checkable
class Compensator(Criterion, Protocol):
    """A criterion that also corrects: the weights that stay make up for the parts that `prune` removes.

    The corrected values are in the network before anything is cut, so the removal itself stays exact: the smaller
    network computes what the corrected one computes with the parameters of the removed parts at zero. A guard that
    reads quality judges the corrected network. Parameters with masks or grids stay as they are.
    """

    def compensate(self, evidence: Evidence, gone: Mapping[str, Sequence[int]]) -> Mapping[str, Tensor]:
        """New values of parameters, of their shapes before the removal.

        Args:
            evidence: of the network before the removal, as `score` sees it.
            gone: group → numbers of the removed parts, in order of removal.

        Returns:
            parameter name → value. What belongs to removed parts is cut and may be anything finite.
        """


def voters(criterion: Any) -> Iterator[Any]:
    """The criteria that a criterion is made of, also of those within it; itself where it is made of none."""
    members = getattr(criterion, "members", ())
    for member in members:
        yield from voters(member)
    if not members:
        yield criterion


def why_unfit(criterion: Any, unit: str, scores: Sequence[str]) -> str:
    """Why a criterion cannot rank a unit; "" where it can.

    Args:
        unit: name of the unit, `filters`; `sparsify` for what patterns keep.
        scores: the units of criteria whose scores it aggregates (`Unit.scores`).
    """
    for member in getattr(criterion, "members", ()):
        if why := why_unfit(member, unit, scores):
            return f"its member {member.name}: {why}"
    if criterion.unit not in scores:
        return f"it scores {criterion.unit}s"
    unfit: Mapping[str, str] = getattr(criterion, "unfit", {})
    return unfit.get(unit, "")


def why_no_sum(criterion: Any) -> str:
    """Why sums of a criterion's scores do not compare parts of different units; "" where they do."""
    own = criterion.unit == "element" and not getattr(criterion, "members", ())
    if getattr(criterion, "adds", own):
        return ""
    if criterion.unit == "layer":
        return "it scores layers alone"
    if getattr(criterion, "members", ()):
        return "sums of ranks do not say how much is lost"
    return "its scores do not add up to that of what holds them"
