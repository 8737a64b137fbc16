"""`use "FILE"`: the statements of another recipe, at this place."""

from __future__ import annotations

from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Insert, Verb
from recipelang.syntax import nodes


def read(reader: Reader) -> Insert | None:
    """`use "base.rcp"`."""
    node = reader.operand("one file", 'write `use "base.rcp"`')
    if node is None:
        return None
    if not isinstance(node, nodes.String) or not node.value.strip():
        reader.refuse("RCP0301", "`use` takes a file in quotes", node.span, 'write `use "base.rcp"`')
        return None
    if not node.value.endswith(".rcp"):  # mistakes in a file are shown with their lines; only recipes may be shown
        help = 'recipes end in `.rcp`: write `use "base.rcp"`'
        reader.refuse("RCP0301", f"`{node.value}` is not a recipe", node.span, help)
        return None
    return reader.done(Insert(node.value))


VERB = Verb(
    summary="Inserts the statements of another recipe, without its `report` and `export`.",
    operands="a file in quotes, beside this one",
    accepts=("file",),
    clauses=(),
    example='use "base.rcp"\nchoose by latency',
    read=read,
    rules=("What the other recipe did is taken from the store and not run again.", "Its `let` names remain its own."),
    top_level=True,
    inserts=True,
)
