"""A recipe's text, read and checked as `recipe check` does, for an editor: everything at once and nothing raised."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from recipelang.check import check
from recipelang.errors import Diagnostic, RecipeError, Refusal
from recipelang.meaning.mentions import Mentions
from recipelang.plan import Plan
from recipelang.syntax import nodes
from recipelang.syntax.parse import read


@dataclass(frozen=True)
class Analysis:
    """What is known of a text.

    Attributes:
        recipe: the statements that could be read.
        diagnostics: every mistake and warning, in the order of the text; those of used files carry their path.
        plan: the checked recipe; None where there is a mistake.
        mentions: where names are given and used.
        files: the paths that `use` named, as they were asked for, those that could not be read included.
    """

    recipe: nodes.Recipe
    diagnostics: tuple[Diagnostic, ...]
    plan: Plan | None
    mentions: Mentions
    files: frozenset[str] = frozenset()

    @property
    def text(self) -> str:
        """The text that was read."""
        return self.recipe.text

    def here(self, found: Diagnostic) -> bool:
        """Whether a diagnostic is about this text and not about a file that it uses."""
        return found.path in ("", self.recipe.path)


def analyse(
    text: str,
    path: str = "",
    *,
    aliases: Mapping[str, str] | None = None,
    text_of: Callable[[str], str] | None = None,
) -> Analysis:
    """Read and check a text.

    Args:
        text: the recipe, finished or not.
        path: where it came from, for messages.
        aliases: those of the profile.
        text_of: the text of a file that the recipe uses, by its path from the recipe's folder; raises OSError.
    """
    recipe, mistakes = read(text, path)
    asked: set[str] = set()
    mentions = Mentions()

    def found(name: str) -> str:
        asked.add(name)
        if text_of is None:
            raise OSError(0, "this text is not in a folder")
        return text_of(name)

    try:
        plan = check(recipe, profile=aliases, read=found, mistakes=mistakes, mentions=mentions)
    except RecipeError as error:
        return Analysis(recipe, error.diagnostics, None, mentions, frozenset(asked))
    except Refusal as refusal:  # the declaration of a plug-in is wrong
        return Analysis(recipe, (*mistakes, refusal.at(None)), None, mentions, frozenset(asked))
    return Analysis(recipe, plan.warnings, plan, mentions, frozenset(asked))


def place_in(recipe: nodes.Recipe, path: str) -> nodes.String | None:
    """The file name in the recipe's own `use` that leads to a used file: the one that names it, else the first."""
    named = [
        operand
        for item in recipe.body.items
        if isinstance(item, nodes.Statement)
        for operand in item.operands
        if isinstance(operand, nodes.String) and operand.value.endswith(".rcp")
    ]
    exact = (operand for operand in named if os.path.normpath(operand.value) == os.path.normpath(path))
    return next(exact, named[0] if named else None)
