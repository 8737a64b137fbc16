"""A number of bits after `to`, as `quantize` and `share` take it."""

from __future__ import annotations

from typing import Any

from recipelang.meaning.reader import Reader
from recipelang.meaning.values import DIMENSIONS
from recipelang.syntax import nodes


def number(reader: Reader, node: Any, usual: str) -> float | None:
    """How many bits an argument of `to` says; None, with a note (RCP0302), where it is something else.

    Args:
        reader: the statement.
        node: the argument.
        usual: what to write instead of something that is not a number: `8 bits`.
    """
    found = node.quantity if isinstance(node, nodes.Number) else None
    if found is not None and found.dimension == "bits":
        return found.number
    plain = found is not None and found.unit == "" and found.number == int(found.number)
    what = DIMENSIONS[found.dimension] if found else "not a number"
    message = f"`to` of `{reader.statement.verb.text}` takes a number of bits; this is {what}"
    reader.refuse("RCP0302", message, node.span, f"write `to {f'{node.text} bits' if plain else usual}`")
    return None
