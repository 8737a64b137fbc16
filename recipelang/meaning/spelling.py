"""Methods as they are written in a recipe, for what keeps one beyond the recipe: a grid that a quantizer trains."""

from __future__ import annotations

from typing import Any

from recipelang.errors import RecipeError, Refusal
from recipelang.meaning.diagnostics import Notes
from recipelang.meaning.lookup import lookup
from recipelang.meaning.settings import bind
from recipelang.meaning.trees import expression
from recipelang.syntax import nodes


def built(text: str, kind: str, place: str) -> Any:
    """The method that a spelling describes: `lsq(offset=true)`.

    Args:
        text: from anywhere, an artifact of somebody else included.
        kind: of the method.
        place: what takes it, for messages.

    Raises:
        Refusal: RCP0202 … RCP0308: there is no such method here, or it has no such settings; RCP0101: it is not text of
            a recipe.
    """
    notes = Notes()
    try:
        call = expression(text)
    except (RecipeError, ValueError):
        call = None
    if not isinstance(call, nodes.Call):
        raise Refusal("RCP0101", f"{place} says `{text}`, which is not a method", "write it as in a recipe")
    found = lookup(call, (kind,), place, notes.refuse)
    method = bind(call, found[1], notes.refuse) if found else None
    if method is None:
        first = notes.errors[0]
        raise Refusal(first.code, first.message, first.help)
    return method
