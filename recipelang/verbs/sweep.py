"""`sweep NAME in a, b, c { … }`: one variant for each value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from recipelang.meaning import names
from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Clause, VariantPoints, Verb
from recipelang.syntax import nodes
from recipelang.syntax.show import show
from recipelang.units import Quantity

MOST = 1000


def read(reader: Reader) -> VariantPoints | None:
    """`sweep criterion in taylor, magnitude(p=2) { … }`, `sweep n in 1..4 { … }`."""
    node = reader.operand("one name, that of its parameter", "write `sweep lr in 1e-2, 1e-3 { … }`")
    name = names.new(reader, node, "variant") if node is not None else None
    values = [value for item in reader.arguments("in") for value in _values(reader, item)]
    if reader.clause("in") is None:
        reader.refuse("RCP0403", "`sweep` names no values", None, f"write `sweep {name or 'lr'} in 1e-2, 1e-3 {{ … }}`")
    points: dict[str, Any] = {}
    for value in values:
        text = show(value)
        if text in points:
            reader.refuse("RCP0408", f"`{text}` appears twice", value.span, "name each value once")
        points[text] = value
    if name is None or reader.failed:
        return None
    return VariantPoints(tuple((f"{name}={text}", ((name, value),), ((name, text),)) for text, value in points.items()))


def _values(reader: Reader, node: Any) -> Iterator[Any]:
    """The value itself, or each number of a range."""
    if isinstance(node, nodes.Compare | nodes.AllOf | nodes.AnyOf):
        reader.refuse(
            "RCP0406",
            "a comparison is not a value",
            node.span,
            "list the values: `in 0.8, 0.6`, and compare in the block",
        )
    elif not isinstance(node, nodes.Range):
        yield node
    elif not 0 <= node.last - node.first < MOST:
        help = "write the smaller number first, and at most a thousand values"
        reader.refuse("RCP0303", f"`{show(node)}` is not a range of values", node.span, help)
    else:
        for number in range(node.first, node.last + 1):
            yield nodes.Number(Quantity(float(number)), str(number), node.span)


VERB = Verb(
    summary="Opens one variant for each value; inside, `$NAME` is the value.",
    operands="the name of the parameter",
    accepts=("name",),
    clauses=(Clause("in", "values, or a range with both ends: `1..4`", required=True, accepts=("value",)),),
    example="sweep criterion in taylor, magnitude {\n  prune 2 layers by $criterion\n}",
    read=read,
    rules=("Nested sweeps form products.", "What comes before it is done once and shared."),
    block=True,
    after_variants=True,
)
