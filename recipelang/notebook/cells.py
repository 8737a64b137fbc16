"""From a cell to a recipe.

The first line of a recipe in a notebook is that of `%%recipe` itself, so that lines are counted as the notebook counts
them. Variables that the recipe names and does not bind are bound there by `let`: the record of a run then says itself
what their values were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from recipelang.commands.sources import Source
from recipelang.errors import RecipeError, Refusal
from recipelang.notebook.values import literal

NOT_BOUND = "RCP0206"


def source(text: str, name: str) -> Source:
    """The recipe of a cell.

    Args:
        text: the lines after that of the magic.
        name: what messages and the output folder call it.
    """
    return Source(f"\n{text}", name, Path.cwd())


def with_variables(recipe: Source, error: RecipeError, variables: Mapping[str, Any]) -> Source:
    """The recipe with the variables of the notebook that it names and does not bind, in its first line.

    Args:
        recipe: a cell, see `source`.
        error: what is wrong with it alone.
        variables: of the notebook, by name.

    Raises:
        RecipeError: `error` itself, where no variable is missing. RCP1250: a variable is no value of a recipe.
    """
    bound = _bound(recipe, error, variables)
    if not bound:
        raise error
    lets = "; ".join(f"let {name} = {value}" for name, value in bound.items())
    return replace(recipe, text=lets + recipe.text)


def _bound(recipe: Source, error: RecipeError, variables: Mapping[str, Any]) -> dict[str, str]:
    """The variables of the notebook that stand for a name that is not bound: name → text of its value.

    Raises:
        RecipeError: RCP1250, at the name.
    """
    found: dict[str, str] = {}
    for missing in error.diagnostics:
        if missing.code != NOT_BOUND or missing.path not in ("", recipe.path) or missing.span is None:
            continue
        name = recipe.text[missing.span.start : missing.span.end].removeprefix("$")
        if name in variables:
            try:
                found[name] = literal(name, variables[name])
            except Refusal as refusal:
                raise RecipeError([refusal.at(missing.span, recipe.path)], recipe.text) from None
    return found
