"""What is known of the network at one point of a recipe, before anything runs."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from recipelang.errors import Span
from recipelang.meaning import tasks
from recipelang.plan import Closes, FewValues, Needs, Zeros

#: states that the language itself names, and words with another meaning: a recipe cannot give these names
RESERVED = ("healthy", "recovered", "current", "self", "control", "scratch", "train", "val", "test", "first", "last")


@dataclass(frozen=True)
class Origin:
    """Where a network comes from.

    Attributes:
        teachers: of the last statement that trained it to agree with teachers; none where there is no such statement.
        altered: whether the recipe changed since what it is, beside its weights.
    """

    teachers: tuple[str, ...] = ()
    altered: bool = False


@dataclass
class Flow:
    """The abstract state along one path through a recipe; variants copy it and diverge.

    Attributes:
        provided: `model` and `data` → where each is.
        names: kept states, models and data sets that have a name: name → what it is and where it was named.
        variants: variants that are finished: the name as written → its full name in the plan; "" where it has
            no single result of its own.
        path: the variants that contain this flow, outermost first.
        branch: whether variants are open, so that there is no single current model.
        first_use: the place of the first statement that needs a model and data.
        healthy: whether the first compressing step is past.
        restricted: where a hardware restriction first began: after it there is a `recovered`.
        perhaps: where one begins only if a block runs that may run zero times.
        last_surgery: the place of the last statement that removed something.
        last: verb → the place of its last statement.
        trained: whether something trained the network, or it started from weights.
        exported: (folder, format) of every `export` → its place.
        expects: whether there is an `expect` after the branch was opened, or inside it.
        sparse: whether a weight may be in a pattern, here or in a variant above.
        outgrown: states, `healthy` among them, of which the current network has certainly lost parts since.
        across: where weights were put into a pattern across channels, which removing channels would break.
        zeros: the masks of the last statement that left some, and where; None where they are not known.
        few: the weights that hold few values, by each statement that made them so, and where.
        grids: what the statement before gave grids, and where; None where something trained or changed since.
        restrictions: those that the current network is certainly under; while variants are open, that one of them is.
        everywhere: while variants are open, the restrictions that each of them is under.
        origin: where the current network comes from; `origins`: where kept states do.
        beside: names of networks that statements left beside the current one.
        same: the kept states that the current network is, to the last number.
        closed: what may not follow, with the verb and the place of the statement that says so.
        task: the class of the recipe's task.
    """

    provided: dict[str, Span] = field(default_factory=dict)
    names: ChainMap[str, tuple[str, Span]] = field(default_factory=ChainMap)
    variants: ChainMap[str, str] = field(default_factory=ChainMap)
    path: tuple[str, ...] = ()
    branch: bool = False
    first_use: Span | None = None
    healthy: bool = False
    restricted: Span | None = None
    perhaps: Span | None = None
    last_surgery: Span | None = None
    last: dict[str, Span] = field(default_factory=dict)
    trained: bool = False
    exported: ChainMap[tuple[str, str], Span] = field(default_factory=ChainMap)
    expects: bool = False
    sparse: bool = False
    outgrown: frozenset[str] = frozenset()
    across: Span | None = None
    zeros: tuple[Zeros, Span] | None = None
    few: tuple[tuple[FewValues, Span], ...] = ()
    grids: tuple[Needs, Span] | None = None
    restrictions: frozenset[str] = frozenset()
    everywhere: frozenset[str] = frozenset()
    origin: Origin | None = None
    origins: Mapping[str, Origin] = field(default_factory=dict)  # replaced and never changed: flows share it
    beside: frozenset[str] = frozenset()
    same: frozenset[str] = frozenset()
    closed: tuple[tuple[Closes, str, Span], ...] = ()
    task: Any = field(default_factory=tasks.default)

    def copy(self) -> Flow:
        """A separate flow that starts here."""
        return replace(
            self,
            provided=dict(self.provided),
            names=ChainMap(dict(self.names)),
            variants=ChainMap(dict(self.variants)),
            last=dict(self.last),
            exported=ChainMap(dict(self.exported)),
        )

    def inner(self, name: str, variants: ChainMap[str, str]) -> Flow:
        """The flow of a variant that starts here; what comes before is shared and not copied.

        Args:
            name: of the variant.
            variants: those that are finished before it.
        """
        return replace(
            self,
            provided=dict(self.provided),
            names=self.names.new_child(),
            variants=variants.new_child(),
            last=dict(self.last),
            exported=self.exported.new_child(),
            path=(*self.path, name),
            branch=False,
            healthy=True,
            expects=False,
        )

    @property
    def certain(self) -> frozenset[str]:
        """The restrictions that the current network is under, or every network while variants are open."""
        return self.everywhere if self.branch else self.restrictions

    @property
    def recovered(self) -> bool:
        """Whether there is a state `recovered`."""
        return self.restricted is not None

    def become(self, other: Flow) -> None:
        """Replace this flow by everything that is known of another."""
        for part in fields(self):
            setattr(self, part.name, getattr(other, part.name))

    @property
    def states(self) -> tuple[str, ...]:
        """The states that can be named here, second models among them."""
        return ("healthy", *(("recovered",) if self.recovered else ()), *self.named("state"), *self.named("model"))

    def is_state(self, name: str) -> bool:
        """Whether `name` is one of `states`."""
        given = self.names.get(name, ("", None))[0] in ("state", "model")
        return given or name == "healthy" or (name == "recovered" and self.recovered)

    def is_data(self, name: str) -> bool:
        """Whether `name` is that of a data set."""
        return self.names.get(name, ("", None))[0] == "data"

    def named(self, what: str) -> tuple[str, ...]:
        """The names of one sort: `state`, `model` or `data`."""
        return tuple(name for name, (sort, _) in self.names.items() if sort == what)


def joined(before: Flow, ends: list[Flow]) -> Flow:
    """The flow after variants when one of them is chosen: what holds in each of them holds after them."""
    after = before.copy()
    inside, *others = (end.names.maps[0] for end in ends)
    after.names.update({k: v for k, v in inside.items() if all(k in other for other in others)})
    restricted = [end.restricted for end in ends if end.restricted]
    after.restricted = min(restricted) if len(restricted) == len(ends) else None
    after.last_surgery = max((end.last_surgery for end in ends if end.last_surgery), default=None)
    after.first_use = max((end.first_use for end in ends if end.first_use), default=None)
    after.healthy = True
    after.trained = all(end.trained for end in ends)
    after.sparse = any(end.sparse for end in ends)
    after.across = next((end.across for end in ends if end.across), None)
    after.outgrown = frozenset.intersection(*(end.outgrown for end in ends))
    after.same = before.same.intersection(*(end.same for end in ends))
    after.beside = frozenset.intersection(*(end.beside for end in ends))
    after.grids = None
    after.few = tuple(one for one in ends[0].few if all(one in end.few for end in ends))
    after.zeros = ends[0].zeros if len({end.zeros for end in ends}) == 1 else None
    after.restrictions = frozenset.intersection(*(end.restrictions for end in ends))
    after.closed = tuple(dict.fromkeys(closed for end in ends for closed in end.closed))
    for end in ends:
        after.last.update(end.last)
    return after
