"""The clauses `in` and `except`: which modules of the network are meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recipelang.meaning import values
from recipelang.meaning.verb import Clause
from recipelang.plan import Selection, Selector
from recipelang.syntax import nodes

if TYPE_CHECKING:
    from recipelang.meaning.reader import Reader


#: the clauses of a statement that trains
TRAINED = (
    Clause("in", "modules to train; the others stay as they are", default="all", accepts=("modules",)),
    Clause("except", "modules that stay as they are", accepts=("modules",)),
)


def selection(reader: Reader) -> Selection:
    """The clauses `in` and `except`."""
    return Selection(_selectors(reader, "in"), _selectors(reader, "except"))


def _selectors(reader: Reader, word: str) -> tuple[Selector, ...]:
    found = [_selector(reader, node, word) for node in reader.arguments(word)]
    return tuple(selector for selector in found if selector)


def _selector(reader: Reader, node: Any, word: str) -> Selector | None:
    if (found := values.selector(node)) is not None:
        return found
    guess = (
        f'write `{word} "{node.name}"`' if isinstance(node, nodes.Call) and not node.arguments else "modules are named"
    )
    reader.refuse(
        "RCP0301",
        f"`{word}` takes modules",
        node.span,
        f"{guess}: a dotted glob in quotes, `type(Linear)`, `first` or `last`",
    )
    return None
