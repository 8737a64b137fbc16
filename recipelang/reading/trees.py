"""Small operations on nodes: put values in for parameters, move a tree to another place of the text, read a text."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

from recipelang.errors import Span
from recipelang.syntax import nodes
from recipelang.syntax.parse import parse

N = TypeVar("N")


def rebuild(node: Any, change: Callable[[Any], Any]) -> Any:
    """The tree with `change` applied to every node, leaves first."""
    if isinstance(node, tuple):
        return tuple(rebuild(item, change) for item in node)
    if not dataclasses.is_dataclass(node) or isinstance(node, type) or type(node).__module__ != nodes.__name__:
        return node
    fields = {f.name: rebuild(getattr(node, f.name), change) for f in dataclasses.fields(node)}
    same = all(fields[name] is getattr(node, name) for name in fields)
    return change(node if same else dataclasses.replace(node, **fields))


def respan(node: N, span: Span) -> N:
    """The same tree, every part of it blamed on `span`: for text that does not stand in this file."""

    def moved(part: Any) -> Any:
        spans = {f.name: span for f in dataclasses.fields(part) if f.name in ("span", "operator_span")}
        return dataclasses.replace(part, **spans)

    return rebuild(node, moved)


def substitute(node: N, value_of: Callable[[nodes.Parameter], Any]) -> N:
    """The tree with every `$name` replaced by its value; blocks are left alone, they bind names of their own.

    Args:
        node: any node.
        value_of: the value of a parameter; None leaves `$name` standing (it is unknown, and noted already).
    """

    def filled(part: Any) -> Any:
        if isinstance(part, nodes.Parameter):
            value = value_of(part)
            return part if value is None else value
        if isinstance(part, nodes.Words):
            return dataclasses.replace(part, items=_flat(part.items, nodes.Words, "items"))
        if isinstance(part, nodes.Sum):
            return dataclasses.replace(part, terms=_flat(part.terms, nodes.Sum, "terms"))
        if isinstance(part, nodes.Product):
            return dataclasses.replace(part, factors=_flat(part.factors, nodes.Product, "factors"))
        return part

    if isinstance(node, nodes.Statement) and node.block:
        bare = dataclasses.replace(node, block=None)
        return dataclasses.replace(rebuild(bare, filled), block=node.block)
    return rebuild(node, filled)


def _flat(parts: tuple[Any, ...], kind: type, field: str) -> tuple[Any, ...]:
    """A value of several words among words is more words, not a word of words."""
    return tuple(inner for part in parts for inner in (getattr(part, field) if isinstance(part, kind) else (part,)))


@cache
def statement(text: str) -> nodes.Statement:
    """One statement from recipe text.

    Raises:
        RecipeError: the text is no recipe.
    """
    item = parse(text).body.items[0]
    if not isinstance(item, nodes.Statement):
        raise ValueError(f"`{text}` is no statement")
    return item


@cache
def expression(text: str) -> nodes.Expression:
    """One expression from recipe text, as it may stand after `let NAME =`.

    Raises:
        RecipeError: the text is no expression.
    """
    items = parse(f"let value = {text}").body.items
    if len(items) != 1 or not isinstance(items[0], nodes.Let):
        raise ValueError(f"`{text}` is no single value")
    return items[0].value


def words(node: nodes.Condition) -> tuple[Any, ...]:
    """The words that stand side by side; one word is a tuple of one."""
    return node.items if isinstance(node, nodes.Words) else (node,)


def whole(node: Any, dimensions: tuple[str, ...], *, low: int = 1, most: float = 1e9) -> int | None:
    """A whole number of one of these dimensions, `low` or more and `most` or less; None for anything else."""
    quantity = node.quantity if isinstance(node, nodes.Number) else None
    if quantity is None or quantity.dimension not in dimensions or not low <= quantity.value <= most:
        return None
    return int(quantity.value) if quantity.value == int(quantity.value) else None


def bare_word(node: Any) -> str | None:
    """`layers` → "layers"; None for anything but one word without settings and dots."""
    if isinstance(node, nodes.Call) and len(node.path) == 1 and not node.arguments:
        return node.path[0].text
    return None


def bindings_in(items: tuple[nodes.Item, ...]) -> Mapping[str, nodes.Let]:
    """Every `let` of these items and of the blocks inside them, by name."""
    found: dict[str, nodes.Let] = {}
    for item in items:
        if isinstance(item, nodes.Let):
            found[item.name.text] = item
        elif item.block:
            found.update(bindings_in(item.block.items))
    return found
