"""The nodes of a plan: steps, variants and repeats, each with its place in the text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from recipelang.errors import Span
from recipelang.plan.needs import Operation
from recipelang.plan.values import Condition, unhashed


@dataclass(frozen=True)
class Step:
    """One planned statement.

    Attributes:
        operation: what to do, fully resolved.
        text: the statement in canonical form, parameters filled in.
        span, path: its place, and the file.
        implied: whether the language adds it (`why` says why) because the recipe does not contain it.
    """

    operation: Operation
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

    verb: ClassVar[str] = "repeat"

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


def conditions_of(nodes: tuple[Node, ...]) -> Iterator[Condition]:
    """Every budget and guard, in the order of the text: of steps, and of repeats."""
    for node in nodes:
        if isinstance(node, Step):
            yield from node.operation.needs().conditions
        elif isinstance(node, Branch):
            for variant in node.variants:
                yield from conditions_of(variant.body)
        else:
            yield from (condition for condition in (node.until, node.guard) if condition is not None)
            yield from conditions_of(node.body)
