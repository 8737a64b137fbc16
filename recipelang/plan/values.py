"""What the words of a statement become: durations, selections, samples, trainings, readings and conditions.

Frozen and printable: a field marked `unhashed` (a place in the text, a spelling) never enters a key.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from recipelang.errors import Span


def unhashed(default: Any = dataclasses.MISSING) -> Any:
    """A field that holds a place in the text and so never enters a key."""
    return field(default=default, metadata={"key": False}, compare=False, repr=False)


def later(default: Any) -> Any:
    """A field that an earlier version did not have: it enters a key only where it differs from its default, so that
    what was stored before it existed is found again."""
    return field(default=default, metadata={"later": True})


@dataclass(frozen=True)
class Duration:
    """How long a training stage lasts: `Duration(3, "epochs")` or `Duration(500, "steps")`."""

    count: float
    unit: str = "epochs"

    def __str__(self) -> str:
        return f"{self.count:g} {self.unit.removesuffix('s') if self.count == 1 else self.unit}"

    def steps(self, per_epoch: int) -> float:
        """In optimizer steps, which need not be whole, of a training with this many steps in an epoch."""
        return self.count * (per_epoch if self.unit == "epochs" else 1)


@dataclass(frozen=True)
class Mark:
    """A moment of a training that a ramp needs.

    Attributes:
        setting: the setting of the ramp that gives the moment.
        when: counted from the start of the training; it must come before its end.
        otherwise: what is wrong if it does not, in words: "epoch 80 of `at` is never reached".
    """

    setting: str
    when: Duration
    otherwise: str


DEFAULT_RECOVERY = Duration(3, "epochs")


@dataclass(frozen=True)
class Selector:
    """One way to name modules. `how` is `glob` (a dotted glob), `type` (a class name), `first` or `last`."""

    how: str
    text: str = ""
    span: Span | None = unhashed(None)

    def __str__(self) -> str:
        return {"glob": f'"{self.text}"', "type": f"type({self.text})"}.get(self.how, self.how)


@dataclass(frozen=True)
class Selection:
    """The modules that `in` names (all where empty) without those that `except` names."""

    include: tuple[Selector, ...] = ()
    exclude: tuple[Selector, ...] = ()


@dataclass(frozen=True)
class Zeros:
    """What a step leaves of masks.

    Attributes:
        piece: what is kept or removed whole, in words: `weight`, `block`.
        restriction: the pattern that hardware asks for (`2:4`); "" for another.
        share: of zeros; None where the pattern decides it.
        selection: of the modules whose weights they are in.
    """

    piece: str
    restriction: str
    share: float | None
    selection: Selection

    def meets(self, other: Zeros) -> bool:
        """Whether some weights certainly have both, whatever the network.

        What can be N:M can be sparse in single weights too, and not the other way round.
        """
        if (self.piece, self.restriction) == (other.piece, other.restriction):
            return self.selection == other.selection or Selection() in (self.selection, other.selection)
        wide = [one for one in (self, other) if one.piece == "weight" and not one.restriction]
        narrow = [one for one in (self, other) if one.piece == "weight" and one.restriction]
        return bool(wide and narrow) and (self.selection == other.selection or wide[0].selection == Selection())


@dataclass(frozen=True)
class FewValues:
    """The weights of which modules hold few values after a step.

    Attributes:
        how: `shared`: groups of elements are one number each; `rounded`: what computes is the nearest number of a grid
            or codebook.
        selection: of the modules.
        zero: whether zero is one of the numbers, so that what a mask holds at zero stays zero.
    """

    how: str
    selection: Selection
    zero: bool = True

    def covers(self, selection: Selection) -> bool:
        """Whether it is certainly about modules of this selection too, whatever the network."""
        return self.selection == selection or Selection() in (self.selection, selection)


@dataclass(frozen=True)
class Samples:
    """The data that `on` names: a split, at most this many samples of it, and the data set.

    Attributes:
        source: a method of kind `source` that makes the samples from the network; the split is then not looked at.
    """

    split: str
    count: int | None = None
    data: str = ""
    source: Any = later(None)


@dataclass(frozen=True)
class Term:
    """One term of a loss sum: `0.7 * kd(T=4)`; the weight may be a ramp."""

    weight: Any
    loss: Any

    def leaves(self, teachers: int = 0) -> tuple[str, ...]:
        """The names of the networks that its loss leaves; () for a method of another kind, which an editor tries."""
        named = getattr(self.loss, "leaves", None)
        return named(teachers) if named else ()


@dataclass(frozen=True)
class Course:
    """How a target is reached during a training: `to 90% … over agp(start=5%)`.

    Attributes:
        schedule: a method of kind `schedule`.
        target: where it ends, as a number in base units.
    """

    schedule: Any
    target: float


@dataclass(frozen=True)
class Training:
    """What the one training loop needs.

    Attributes:
        duration: totals; a statement's rounds share it.
        optimizer: a method of kind `optimizer`; its `lr` may be a ramp over the duration.
        losses: the terms; empty means the task's own loss alone.
        text: the optimizer as the recipe writes it, so that a control's step reads like the one it repeats.
        companions: what accompanies it, in this order (`kinds.Companion`).
        course: the target that is raised during it; the stage adds the companion that follows it.
        trains: the modules that it trains; what is outside stays as it is.
    """

    duration: Duration
    optimizer: Any
    losses: tuple[Term, ...] = ()
    text: str = unhashed("")
    companions: tuple[Any, ...] = later(())
    course: Course | None = later(None)
    trains: Selection = later(Selection())

    @property
    def selected(self) -> Selection | None:
        """The modules that it trains; None where it trains all of them."""
        return self.trains if self.trains != Selection() else None

    def beside(self, teachers: int = 0) -> tuple[str, ...]:
        """The names of the networks that it leaves beside the one that it trains, with so many teachers."""
        return tuple(name for term in self.losses for name in term.leaves(teachers))

    @property
    def batches(self) -> int:
        """How many batches of the data make one step."""
        return max((companion.gathers() for companion in self.companions), default=1)

    @property
    def precision(self) -> str:
        """In which it computes, where the recipe says so: `float32` or `bfloat16`; else `auto`."""
        return next((companion.precision for companion in self.companions if companion.precision), "auto")

    @property
    def compiled(self) -> bool:
        """Whether the network that trains is compiled."""
        return any(companion.compiles for companion in self.companions)

    @property
    def caching(self) -> Any:
        """The companion for which teachers answer once, before the first step; None where they answer in each."""
        return next((companion for companion in self.companions if companion.caches), None)

    @property
    def leaves(self) -> frozenset[str]:
        """What its companions leave in the network (`kinds.Companion.leaves`): `masks`, `parts` that are gone."""
        return frozenset(companion.leaves for companion in self.companions if companion.leaves)


@dataclass(frozen=True)
class Subject:
    """Whose metric: `current`, a named state (`healthy`, `recovered`, `keep as`) or a variant."""

    kind: str  # "current" | "state" | "variant"
    name: str = ""


CURRENT = Subject("current")


@dataclass(frozen=True)
class Reading:
    """A metric of something: `latency`, `layers.latency(batch=8)`, `top1 drop(from=control)`.

    Attributes:
        metric: a method of kind `metric`.
        subject: whose.
        form: `value` (in the metric's unit), `ratio` (to healthy), `drop` or `rise` (against `against`).
        against: `healthy` or `control`; for `ratio`, `drop` and `rise`.
        split: `val` or `test`; of which data set `data` ("" is the recipe's first).
    """

    metric: Any
    subject: Subject = CURRENT
    form: str = "value"
    against: str = "healthy"
    split: str = "test"
    data: str = ""
    span: Span | None = unhashed(None)


@dataclass(frozen=True)
class Test:
    """`reading operator bound`; the bound is a number in base units or another reading."""

    __test__: ClassVar[bool] = False  # pytest: this is not a test case

    reading: Reading
    operator: str
    bound: float | Reading
    text: str = unhashed("")
    span: Span | None = unhashed(None)


@dataclass(frozen=True)
class All:
    """Every test holds."""

    tests: tuple[Condition, ...]
    text: str = unhashed("")
    span: Span | None = unhashed(None)


@dataclass(frozen=True)
class Any_:
    """At least one test holds."""

    tests: tuple[Condition, ...]
    text: str = unhashed("")
    span: Span | None = unhashed(None)


Condition: TypeAlias = "Test | All | Any_"


def tests_of(condition: Condition | None) -> Iterator[Test]:
    """Every single test of a condition."""
    if isinstance(condition, Test):
        yield condition
    elif condition is not None:
        for inner in condition.tests:
            yield from tests_of(inner)
