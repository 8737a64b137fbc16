"""Nodes → canonical text: `show` writes one node on one line, as it appears in plans, records and messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from recipelang.syntax import nodes

Node: TypeAlias = "nodes.Item | nodes.Condition | nodes.Argument | nodes.Clause | nodes.Block | nodes.Name"
Values: TypeAlias = Mapping[str, str]


def show(node: Node, parameters: Values | None = None) -> str:
    """One node as one line of canonical text, which reads back as the same node.

    Args:
        node: a statement, a clause, an expression, a condition or a part of one.
        parameters: name → text that replaces `$name`; other parameters stay as they are.
    """
    return _show(node, parameters or {})


def _show(node: Any, values: Values) -> str:
    match node:
        case nodes.Name(text) | nodes.Number(text=text):
            return text
        case nodes.String(value):
            return f'"{value}"'
        case nodes.Pattern(numbers, separator):
            return separator.join(map(str, numbers))
        case nodes.Range(first, last):
            return f"{first}..{last}"
        case nodes.Parameter(name):
            return values.get(name, f"${name}")
        case nodes.Call():
            return node.name + (f"({_listed(node.arguments, values)})" if node.parentheses else "")
        case nodes.Argument(name, value):
            return f"{name.text}={_show(value, values)}" if name else _show(value, values)
        case nodes.List(items):
            return f"[{_listed(items, values)}]"
        case nodes.Statement() | nodes.Clause() | nodes.Let() | nodes.Block():
            return _show_item(node, values)
        case _:
            return _show_joined(node, values)


def _show_joined(node: Any, values: Values) -> str:
    """Nodes made of others with a sign between them."""
    match node:
        case nodes.Words(items):
            return " ".join(_show(item, values) for item in items)
        case nodes.Sum(terms):
            return " + ".join(_show(term, values) for term in terms)
        case nodes.Product(factors):
            return " * ".join(_grouped(f, nodes.Sum, values) for f in factors)
        case nodes.Compare(left, operator, right):
            return f"{_show(left, values)} {operator} {_show(right, values)}"
        case nodes.AllOf(tests):
            return " and ".join(_grouped(t, (nodes.AllOf, nodes.AnyOf), values) for t in tests)
        case nodes.AnyOf(tests):
            return " or ".join(_grouped(t, nodes.AnyOf, values) for t in tests)
        case _:
            raise TypeError(f"{type(node).__name__} is not a part of a recipe")


def _show_item(node: Any, values: Values) -> str:
    """A statement, its clauses and its block."""
    match node:
        case nodes.Let(name, value):
            return f"let {name.text} = {_show(value, values)}"
        case nodes.Clause(word, arguments):
            return f"{word.text} {_listed(arguments, values)}"
        case nodes.Block(items):
            return f"{{ {'; '.join(_show(item, values) for item in items)} }}" if items else "{}"
        case _:
            operands = [_listed(node.operands, values)] if node.operands else []
            rest = [_show(part, values) for part in (*node.clauses, *([node.block] if node.block else []))]
            return " ".join([node.verb.text, *operands, *rest])


def _listed(parts: tuple[Any, ...], values: Values) -> str:
    return ", ".join(_show(part, values) for part in parts)


def _grouped(node: Any, inside: Any, values: Values) -> str:
    """The node, in parentheses where it is of a kind that needs them."""
    return f"({_show(node, values)})" if isinstance(node, inside) else _show(node, values)


def without_spans(node: Any) -> Any:
    """The tree as plain tuples without places: two texts with the same meaning have equal tuples."""
    if isinstance(node, nodes.Recipe):
        return without_spans(node.body)
    if isinstance(node, tuple):
        return tuple(without_spans(item) for item in node)
    if type(node).__module__ != nodes.__name__:
        return node
    fields = [f for f in node.__dataclass_fields__ if f not in ("span", "operator_span")]
    return (type(node).__name__, *(without_spans(getattr(node, f)) for f in fields))
