"""Small operations on nodes: fill in parameters, move a tree to another place of the text, parse a piece of text."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple, TypeVar

from recipelang.errors import Span
from recipelang.syntax import nodes
from recipelang.syntax.parse import parse

N = TypeVar("N")


#: types of the fields that hold no nodes
LEAVES = ("str", "bool", "int", "tuple[int, ...]", "Quantity", "Span")


#: kind of node → the fields of it that hold nodes
INNER: dict[type, tuple[str, ...]] = {
    kind: tuple(f.name for f in dataclasses.fields(kind) if f.type not in LEAVES)
    for kind in vars(nodes).values()
    if isinstance(kind, type) and kind.__module__ == nodes.__name__ and dataclasses.is_dataclass(kind)
}


def rebuild(node: Any, change: Callable[[Any], Any]) -> Any:
    """The tree with `change` applied to every node, leaves first; what does not change stays the same object."""
    if isinstance(node, tuple):
        made = [rebuild(item, change) for item in node]
        return node if all(new is old for new, old in zip(made, node, strict=True)) else tuple(made)
    inner = INNER.get(type(node))
    if inner is None:
        return node
    changed = {name: new for name in inner if (new := rebuild(old := getattr(node, name), change)) is not old}
    return change(_replaced(node, changed) if changed else node)


def _replaced(node: N, changes: Mapping[str, Any]) -> N:
    """`dataclasses.replace` for nodes, which check nothing when they are made: several times faster."""
    made = object.__new__(type(node))
    made.__dict__.update(node.__dict__, **changes)
    return made


class Extent(NamedTuple):
    """How large a tree is once the values of its parameters are filled in.

    Attributes:
        words: how many nodes; every 64 letters of a word count as one more.
        depth: how deep brackets and values are nested.
    """

    words: int
    depth: int


def extent(node: Any, value_of: Callable[[str], Extent | None]) -> Extent:
    """The extent of a tree, without filling anything in; a block is left out, as in `substitute`.

    Args:
        node: any node.
        value_of: the extent of the value of a parameter, by its name; None where it is unknown.
    """
    words = depth = 0
    if isinstance(node, tuple):
        for item in node:
            inside = extent(item, value_of)
            words, depth = words + inside.words, max(depth, inside.depth)
        return Extent(words, depth)
    if isinstance(node, nodes.Parameter):
        value = value_of(node.name) or Extent(1, 0)
        return value if value.words < 3 else Extent(value.words, value.depth + 1)
    inner = INNER.get(type(node))
    if inner is None or isinstance(node, nodes.Block):
        return Extent(0, 0)
    for name in inner:
        inside = extent(getattr(node, name), value_of)
        words, depth = words + inside.words, max(depth, inside.depth)
    text = node.value if isinstance(node, nodes.String) else getattr(node, "text", "")
    return Extent(words + 1 + len(text) // 64, depth + isinstance(node, nodes.Argument | nodes.List))


def respan(node: N, span: Span) -> N:
    """The same tree with `span` for every part: for text that is not in this file."""

    def moved(part: Any) -> Any:
        spans = {"span": span, "operator_span": span} if isinstance(part, nodes.Compare) else {"span": span}
        return _replaced(part, spans)

    return rebuild(node, moved)


def typed(node: N, text: str) -> N:
    """The same tree with spans that point into the `text` of the command line option that it was made from."""

    def moved(part: Any) -> Any:
        names = ("span", "operator_span") if isinstance(part, nodes.Compare) else ("span",)
        return _replaced(part, {name: dataclasses.replace(getattr(part, name), typed=text) for name in names})

    return rebuild(node, moved)


#: nodes that are flat: a sum of sums is one sum
JOINED = {nodes.Words: "items", nodes.Sum: "terms", nodes.Product: "factors"}


def substitute(node: N, value_of: Callable[[nodes.Parameter], Any]) -> N:
    """The tree with every `$name` replaced by its value; blocks are left alone, since they bind names of their own.

    Args:
        node: any node.
        value_of: the value of a parameter; None keeps `$name` (it is unknown, which is already noted).
    """

    def filled(part: Any) -> Any:
        if isinstance(part, nodes.Parameter):
            value = value_of(part)
            return part if value is None else value
        field = JOINED.get(type(part))
        if field and any(isinstance(item, type(part)) for item in getattr(part, field)):
            return dataclasses.replace(part, **{field: _flat(getattr(part, field), type(part), field)})
        return part

    if isinstance(node, nodes.Statement) and node.block:
        bare = dataclasses.replace(node, block=None)
        return dataclasses.replace(rebuild(bare, filled), block=node.block)
    return rebuild(node, filled)


def _flat(parts: tuple[Any, ...], kind: type, field: str) -> tuple[Any, ...]:
    """A value of several words among other words becomes part of the same flat list."""
    return tuple(inner for part in parts for inner in (getattr(part, field) if isinstance(part, kind) else (part,)))


@cache
def statement(text: str) -> nodes.Statement:
    """One statement from recipe text.

    Raises:
        RecipeError: the text is not a recipe.
    """
    item = parse(text).body.items[0]
    if not isinstance(item, nodes.Statement):
        raise ValueError(f"`{text}` is not a statement")
    return item


@cache
def expression(text: str) -> nodes.Expression:
    """One expression from recipe text, as it may follow `let NAME =`.

    Raises:
        RecipeError: the text is not an expression.
    """
    items = parse(f"let value = {text}").body.items
    if len(items) != 1 or not isinstance(items[0], nodes.Let):
        raise ValueError(f"`{text}` is not a single value")
    return items[0].value


def words(node: nodes.Condition) -> tuple[Any, ...]:
    """Words side by side; a single word is a tuple of one."""
    return node.items if isinstance(node, nodes.Words) else (node,)


def whole(node: Any, dimensions: tuple[str, ...], *, low: int = 1, most: float = 1e9) -> int | None:
    """A whole number of one of these dimensions, `low` or more and `most` or less; None for anything else."""
    quantity = node.quantity if isinstance(node, nodes.Number) else None
    if quantity is None or quantity.dimension not in dimensions or not low <= quantity.value <= most:
        return None
    return int(quantity.value) if quantity.value == int(quantity.value) else None


def bare_word(node: Any) -> str | None:
    """`layers` → "layers"; None for anything but one word without settings or dots."""
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
