"""What tests of several rooms ask of a recipe's text before anything runs."""

from __future__ import annotations

from typing import Any

from recipelang.check import check
from recipelang.errors import RecipeError
from recipelang.plan import steps_of
from recipelang.syntax.parse import parse


def refused(text: str) -> list[tuple[str, str]]:
    """The code of each error with the text that it is about; none where the recipe is right."""
    try:
        check(parse(text))
    except RecipeError as error:
        return [(d.code, text[d.span.start : d.span.end] if d.span else "") for d in error.diagnostics]
    return []


def step(text: str) -> Any:
    """The last step of a recipe, defaults filled in."""
    return list(steps_of(check(parse(text)).nodes))[-1]
