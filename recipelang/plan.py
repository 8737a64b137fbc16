"""The plan: a recipe with every method built, every unit resolved and every default filled in.

    Plan ─ nodes: Step | Branch ─ Variant ─ nodes | Repeat ─ nodes

A Step holds an operation: the frozen dataclass that its verb defines (`verbs/prune.py: Prune`). Everything
here is frozen, printable and free of torch; `canonical` turns any of it into the JSON that keys are made of.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

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
class Samples:
    """The data that `on` names: a split, at most this many samples of it, and the data set."""

    split: str
    count: int | None = None
    data: str = ""


@dataclass(frozen=True)
class Term:
    """One term of a loss sum: `0.7 * kd(T=4)`; the weight may be a ramp."""

    weight: Any
    loss: Any


@dataclass(frozen=True)
class Training:
    """What the one training loop needs.

    Attributes:
        duration: totals; a statement's rounds share it.
        optimizer: a method of kind `optimizer`; its `lr` may be a ramp over the duration.
        losses: the terms; empty means the task's own loss alone.
        text: the optimizer as the recipe writes it, so that a control's step reads like the one it repeats.
        companions: what accompanies it, in this order (`kinds.Companion`).
    """

    duration: Duration
    optimizer: Any
    losses: tuple[Term, ...] = ()
    text: str = unhashed("")
    companions: tuple[Any, ...] = later(())


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


@runtime_checkable
class Operation(Protocol):
    """What a step does: a frozen dataclass that a verb file defines. Class attributes say what kind of thing it is.

    Attributes:
        verb: the verb's name; `stages/<verb>.py` does the work.
        version: increased by hand when the stage's results change; enters the key.
        role: `setup`, `training`, `surgery`, `execution`, `structure` or `outcome`.
        before_healthy: whether the step may come before `healthy` is taken (model, data, train, …).
    """

    verb: ClassVar[str]
    version: ClassVar[int]
    role: ClassVar[str]
    before_healthy: ClassVar[bool]


@dataclass(frozen=True)
class Step:
    """One planned statement.

    Attributes:
        operation: what to do, fully resolved.
        text: the statement in canonical form, parameters filled in.
        span, path: its place, and the file.
        implied: whether the language adds it (`why` says why) because the recipe does not contain it.
    """

    operation: Any
    text: str
    span: Span | None = unhashed(None)
    path: str = unhashed("")
    implied: bool = False
    why: str = unhashed("")


@dataclass(frozen=True)
class Variant:
    """One way to continue: `variant NAME { … }`, or one point of a sweep with its parameters as text."""

    name: str
    parameters: tuple[tuple[str, str], ...]
    body: tuple[Node, ...]
    span: Span | None = unhashed(None)


@dataclass(frozen=True)
class Branch:
    """Adjacent variants and sweep points: each starts from the state before the first."""

    variants: tuple[Variant, ...]


@dataclass(frozen=True)
class Repeat:
    """`repeat N times`, `repeat until …`, `repeat while …`: exactly one of the three is set."""

    times: int | None
    until: Condition | None
    guard: Condition | None
    body: tuple[Node, ...]
    text: str = ""
    span: Span | None = unhashed(None)
    path: str = unhashed("")


Node: TypeAlias = "Step | Branch | Repeat"


@dataclass(frozen=True)
class Plan:
    """A checked recipe.

    Attributes:
        name: the file's stem, or `oneliner`.
        text: the recipe as written.
        nodes: what to do, in order.
        control: whether a control is asked for (`control` or `--control`).
        warnings: diagnostics that do not stop the run.
    """

    name: str
    text: str
    path: str
    nodes: tuple[Node, ...]
    control: bool = False
    warnings: tuple[Any, ...] = ()


def steps_of(nodes: tuple[Node, ...]) -> Iterator[Step]:
    """Every step, in the order of the text, variants and repeats included."""
    for node in nodes:
        if isinstance(node, Step):
            yield node
        elif isinstance(node, Branch):
            for variant in node.variants:
                yield from steps_of(variant.body)
        else:
            yield from steps_of(node.body)


def parts_of(value: Any) -> Iterator[Any]:
    """Every dataclass anywhere in a plan value, itself included: methods, conditions, readings, subjects, …"""
    if isinstance(value, tuple):
        for inner in value:
            yield from parts_of(inner)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type | Span):
        yield value
        kind: Any = type(value)
        for name in _field_names(kind):
            inner = getattr(value, name)
            if not isinstance(inner, Span | str | float | int | None):
                yield from parts_of(inner)


@cache
def _field_names(kind: type) -> tuple[str, ...]:
    return tuple(part.name for part in dataclasses.fields(kind))


def canonical(value: Any) -> Any:
    """A plan value as JSON for hashing: methods by kind, name and settings; spans and texts left out.

    Raises:
        TypeError: a value of another type, which would make keys depend on its address.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [canonical(v) for v in value]
    if isinstance(value, dict):
        return {str(k): canonical(v) for k, v in sorted(value.items())}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        cls: Any = type(value)
        name = f"{cls.kind}.{cls.name}" if hasattr(cls, "kind") and hasattr(cls, "name") else cls.__name__
        return {"is": name, **{f.name: canonical(getattr(value, f.name)) for f in _keyed(value)}}
    raise TypeError(f"{type(value).__name__} cannot enter a key")


def _keyed(value: Any) -> Iterator[dataclasses.Field[Any]]:
    """The fields of a plan value that enter a key."""
    for one in dataclasses.fields(value):
        old = one.metadata.get("later", False) and getattr(value, one.name) == one.default
        if one.metadata.get("key", True) and not old:
            yield one
