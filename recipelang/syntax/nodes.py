"""The tree of a recipe: frozen dataclasses, every one with the Span of its text.

    Recipe ─ Block ─ Let | Statement ─ operands, Clause…, Block
    Expression = Number | Pattern | Range | String | Parameter | Call | List | Words | Sum | Product
    Condition  = Words | Compare | AllOf | AnyOf

A bare word (`layers`, `sgd`) is a Call without parentheses. Names that a user types are Name nodes, so
that a caret can point at exactly that word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from recipelang.errors import Span
from recipelang.units import Quantity

#: the verb of a statement whose head cannot be read but whose block can
UNREADABLE = "_"


@dataclass(frozen=True)
class Name:
    """One word that the user typed."""

    text: str
    span: Span


@dataclass(frozen=True)
class Number:
    """`0.7`, `70%`, `3 epochs`."""

    quantity: Quantity
    text: str
    span: Span


@dataclass(frozen=True)
class Pattern:
    """`2:4` (separator `:`) or `4x4` (separator `x`)."""

    numbers: tuple[int, ...]
    separator: str
    span: Span


@dataclass(frozen=True)
class Range:
    """`0..19`, both ends included."""

    first: int
    last: int
    span: Span


@dataclass(frozen=True)
class String:
    """Quoted text; `value` is without the quotes."""

    value: str
    span: Span


@dataclass(frozen=True)
class Parameter:
    """`$name`; the span covers the dollar sign too."""

    name: str
    span: Span


@dataclass(frozen=True)
class Argument:
    """`T=4` or a positional setting (name None)."""

    name: Name | None
    value: Expression
    span: Span


@dataclass(frozen=True)
class Call:
    """`sgd`, `sgd(lr=0.1)`, `torchvision.resnet18(classes=5)`, `layers.latency`."""

    path: tuple[Name, ...]
    arguments: tuple[Argument, ...]
    parentheses: bool
    span: Span

    @property
    def name(self) -> str:
        """The dotted name as written."""
        return ".".join(part.text for part in self.path)

    @property
    def name_span(self) -> Span:
        """The span of the dotted name, without its settings."""
        return self.path[0].span.to(self.path[-1].span)


@dataclass(frozen=True)
class List:
    """`[80%, 10%, 10%]`."""

    items: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True)
class Words:
    """Two or more words side by side: `prune 2 layers`, `top1 drop`, `nm 2:4`."""

    items: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True)
class Sum:
    """`a + b + c`."""

    terms: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True)
class Product:
    """`0.7 * kd(T=4)`."""

    factors: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True)
class Compare:
    """`top1 drop < 1%`; `operator` is one of `<  <=  >  >=  ==`."""

    left: Expression
    operator: str
    right: Expression
    span: Span
    operator_span: Span


@dataclass(frozen=True)
class AllOf:
    """`a and b`."""

    tests: tuple[Condition, ...]
    span: Span


@dataclass(frozen=True)
class AnyOf:
    """`a or b`."""

    tests: tuple[Condition, ...]
    span: Span


@dataclass(frozen=True)
class Clause:
    """`by taylor`, `until latency < 0.7`. `until` and `while` hold one condition, `as` one Call."""

    word: Name
    arguments: tuple[Condition, ...]
    span: Span


@dataclass(frozen=True)
class Block:
    """`{ … }`, or the whole file."""

    items: tuple[Item, ...]
    span: Span


@dataclass(frozen=True)
class Let:
    """`let NAME = VALUE`."""

    name: Name
    value: Expression
    span: Span


@dataclass(frozen=True)
class Statement:
    """`verb operand… clause… [block]`."""

    verb: Name
    operands: tuple[Condition, ...]
    clauses: tuple[Clause, ...]
    block: Block | None
    span: Span


@dataclass(frozen=True)
class Recipe:
    """A whole file: its text, where it came from, its statements, and what of the text could not be read."""

    body: Block
    text: str
    path: str
    unread: str = ""


Expression: TypeAlias = "Number | Pattern | Range | String | Parameter | Call | List | Words | Sum | Product"
Condition: TypeAlias = "Expression | Compare | AllOf | AnyOf"
Item: TypeAlias = "Let | Statement"
