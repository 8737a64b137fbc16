"""Variables of a program or a notebook in a recipe.

Those that the recipe names and does not bind are bound in its first line by `let`: the record of a run then says itself
what their values were. In a notebook that line is that of `%%recipe` itself, so that lines are counted as the notebook
counts them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipelang.api.asked import data_text, network_text
from recipelang.api.values import literal
from recipelang.commands.sources import Source
from recipelang.errors import RecipeError, Refusal
from recipelang.lazy import torch

if TYPE_CHECKING:
    from recipelang.given import Given

NOT_BOUND = "RCP0206"


def source(text: str, name: str) -> Source:
    """The recipe of a cell.

    Args:
        text: the lines after that of the magic.
        name: what messages and the output folder call it.
    """
    return Source(f"\n{text}", name, Path.cwd())


def with_variables(
    recipe: Source, error: RecipeError, variables: Mapping[str, Any], objects: dict[str, Given]
) -> Source:
    """The recipe with the variables that it names and does not bind, in its first line.

    Args:
        recipe: a cell, see `source`, or any other.
        error: what is wrong with it alone.
        variables: by name.
        objects: networks and data among them are entered here.

    Raises:
        RecipeError: `error` itself, where no variable is missing. RCP1250: a variable is no value of a recipe.
    """
    bound = _bound(recipe, error, variables, objects)
    if not bound:
        raise error
    lets = "; ".join(f"let {name} = {value}" for name, value in bound.items())
    between = "" if recipe.text.startswith("\n") else "; "
    return replace(recipe, text=f"{lets}{between}{recipe.text}")


def _bound(
    recipe: Source, error: RecipeError, variables: Mapping[str, Any], objects: dict[str, Given]
) -> dict[str, str]:
    """The variables that stand for a name that is not bound: name → text of its value.

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
                found[name] = _text(name, variables[name], objects)
            except Refusal as refusal:
                raise RecipeError([refusal.at(missing.span, recipe.path)], recipe.text) from None
    return found


def _text(name: str, value: Any, objects: dict[str, Given]) -> str:
    """The text of a value; a network or data of torch is named, and entered among the objects.

    Raises:
        Refusal: RCP1250: it is neither; RCP0712, RCP0722, RCP0844: the network or the data cannot be used.
    """
    if "torch" in sys.modules:
        if isinstance(value, torch.nn.Module):
            return network_text(value, name, objects)
        if isinstance(value, torch.utils.data.Dataset | torch.utils.data.DataLoader) or _holds_data(value):
            return data_text(value, name, objects)
    return literal(name, value)


def _holds_data(value: Any) -> bool:
    """Whether something is tensors, or several data sets, as data may be given by split."""
    inside = list(value.values()) if isinstance(value, Mapping) else list(value) if type(value) in (tuple, list) else []
    return bool(inside) and not any(isinstance(one, str | int | float | bool) for one in inside)
