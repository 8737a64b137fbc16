"""Parts of the language that an option of the command line holds: conditions, methods with settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from recipelang.errors import Diagnostic, RecipeError, typed
from recipelang.meaning.diagnostics import Notes
from recipelang.meaning.flow import Flow
from recipelang.meaning.reader import Reader
from recipelang.syntax import nodes
from recipelang.syntax.parse import read as parsed


def reader(statement: nodes.Statement, flow: Flow | None = None) -> Reader:
    """What reads a statement that stands alone: outside of a recipe, and without a profile."""
    return Reader(statement, flow or Flow(), Notes(), {})


def statement(verb: str, text: str, option: str, help: str) -> nodes.Statement:
    """The statement that a verb and the value of an option make.

    Args:
        verb: of the language.
        text: the value.
        option: as it is shown before the value: `--fail-if `.
        help: for a value that is not one statement.

    Raises:
        RecipeError: it cannot be read, or is more than that, with places in the option.
    """
    tree, mistakes = parsed(f"{verb} {text}")
    items = tree.body.items
    if mistakes:
        raise RecipeError([moved(diagnostic, verb, text, option) for diagnostic in mistakes])
    found = items[0] if len(items) == 1 else None
    if not isinstance(found, nodes.Statement) or found.block:
        raise RecipeError([not_one(text, option, help)])
    return found


def not_one(text: str, option: str, help: str, code: str = "RCP0601") -> Diagnostic:
    """The refusal of a value that is not what the option takes."""
    return Diagnostic(code, f"`{option}{text}` cannot be read", typed(f"{option}{text}", len(option)), help)


def moved(found: Diagnostic, verb: str, text: str, option: str) -> Diagnostic:
    """A mistake of the statement at its place in the option."""
    shown, by = f"{option}{text}", len(option) - len(verb) - 1
    span = found.span
    if span is None or span.line != 1 or span.start + by < len(option):
        return dataclasses.replace(found, span=typed(shown, len(option)), path="")
    end = min(span.end + by, len(shown))
    return dataclasses.replace(found, span=typed(shown, span.start + by, end), path="")


def methods(text: str, kind: str, option: str, short: Mapping[str, str]) -> tuple[Any, ...]:
    """The methods that an option names, with their settings: `md, model_card(license="mit")`.

    Args:
        text: the value of the option.
        kind: of the methods, which is the verb of a statement that names them.
        option: as it is shown before the value.
        short: short names of methods.

    Raises:
        RecipeError: one of them is wrong, at its place in the option.
    """
    help = f"write `{option}NAME` or `{option}'NAME(…)'`"
    read = statement(kind, text, option, help)
    if read.clauses:
        raise RecipeError([not_one(text, option, help, "RCP0405")])
    asked = reader(read)
    found = asked.methods(tuple(_long(item, short) for item in read.operands), kind, f"`{option.strip()}`", option)
    if asked.notes.errors:
        raise RecipeError([moved(diagnostic, kind, text, option) for diagnostic in asked.notes.errors])
    return found


def _long(item: Any, short: Mapping[str, str]) -> Any:
    """A call by the full name of its method."""
    if not isinstance(item, nodes.Call) or item.name not in short:
        return item
    return dataclasses.replace(item, path=(dataclasses.replace(item.path[0], text=short[item.name]),))
