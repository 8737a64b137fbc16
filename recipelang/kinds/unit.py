"""What `prune` removes: layers, filters, neurons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.kinds.criterion import Criterion
    from recipelang.kinds.evidence import Evidence
    from recipelang.plan import Selection


@dataclass(frozen=True)
class Group:
    """Parts that are alike, any of which may be removed: the coupled channels of some layers, or one layer by itself.

    Attributes:
        name: as reports show it: the layer, or the first of the layers that make the channels.
        size: number of parts.
        step: after a removal a multiple of this many parts stays; before it, any number.
        least: number of parts that always stay.
        layers: the layers that lose a part together, by path, in the order of the network.
        source: what the unit itself knows about the group.
        joins: whether its removal makes channels before and after it the same ones (a layer without a skip connection),
            so that what is coupled has to be found again.
    """

    name: str
    size: int = 1
    step: int = 1
    least: int = 0
    layers: tuple[str, ...] = ()
    source: Any = field(default=None, compare=False, repr=False)
    joins: bool = False

    def inside(self, paths: Sequence[str]) -> bool:
        """Whether all layers that make its parts are at or below one of these paths: they vanish with them."""
        return bool(self.layers) and all(any(below(layer, path) for path in paths) for layer in self.layers)

    @property
    def most(self) -> int:
        """The number of parts that can be removed: the least multiple of `step` stays, and no fewer than `least`."""
        stay = -(-self.least // self.step) * self.step
        return max(0, self.size - stay)

    @property
    def first(self) -> int:
        """The smallest number of parts that can be removed."""
        return self.size - (self.size - 1) // self.step * self.step


def below(path: str, other: str) -> bool:
    """Whether a module or parameter is at or below a path."""
    return path == other or path.startswith(f"{other}.")


@dataclass(frozen=True)
class Offer:
    """What a network offers for removal.

    Attributes:
        groups: in the order of the network.
        stay: layer or group → why it cannot be removed, or lose a part.
        source: what the unit needs for its edits. Units whose offers have the same one are removed by one edit.
    """

    groups: tuple[Group, ...]
    stay: Mapping[str, str]
    source: Any = field(default=None, compare=False, repr=False)

    @property
    def size(self) -> int:
        """The number of parts of all groups."""
        return sum(group.size for group in self.groups)

    @property
    def most(self) -> int:
        """The number of parts that can be removed."""
        return sum(group.most for group in self.groups)


#: group → numbers of the parts that are removed
Gone = Mapping[str, Sequence[int]]


class Unit(Protocol):
    """`prune NAME by …`: one sort of part that can be removed from a network.

    Attributes:
        name: of the catalogue: the word of a recipe, in the plural.
        one: a part, in words: `filter`.
        ranks: what criteria see its groups as (`Evidence.unit`): `layer` or `filter`.
        scores: the units of criteria whose scores it aggregates: `element`, `filter`, `layer`, `any`. `check` refuses
            other criteria.
        many: whether there are too many parts to try every number; it also says that clocks fall in stairs, for which
            a search looks near the solution.
    """

    name: ClassVar[str]
    one: ClassVar[str]
    ranks: ClassVar[str]
    scores: ClassVar[tuple[str, ...]]
    many: ClassVar[bool]

    def find(self, network: Any, selection: Selection) -> Offer:
        """What the network offers of it, of the modules selected.

        Raises:
            Refusal: RCP0910: nothing, with the first reason; RCP0703: an entry of the selection matches nothing.
        """

    def aggregate(
        self, criterion: Criterion, scores: Mapping[str, Tensor], evidence: Evidence, groups: Sequence[Group]
    ) -> Mapping[str, Tensor]:
        """A criterion's scores as scores of the parts: group name → one number for each part. Groups that hold
        nothing that the criterion scores are left out."""

    # Optional: totals(criterion, scores, evidence, groups), as `aggregate`, but sums of the criterion's single scores,
    # without root, mean or normalisation: what a part holds in all. Only such units are removed together with others.

    def edits(self, network: Any, offer: Offer, gone: Gone) -> tuple[Any, ...]:
        """The edits (`recipelang.surgery.edits`) that remove these parts: cheap, for networks that are measured."""

    def remove(self, network: Any, offer: Offer, gone: Gone) -> tuple[Any, Mapping[str, str]]:
        """The network without these parts, compared with the one in which they are neutralised; and groups that had
        to stay after all → why.

        Raises:
            Refusal: RCP0702: the two differ.
        """
