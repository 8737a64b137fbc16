"""Which methods a statement would refuse at its place, and why: each is tried in the statement as far as it is typed.

The verb itself reads the statement, so nothing is known here of what fits what.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from recipelang.editor.cursor import Cursor
from recipelang.editor.expected import verb_of
from recipelang.editor.outline import Item
from recipelang.errors import RecipeError, Refusal
from recipelang.meaning import tasks
from recipelang.meaning.diagnostics import Notes
from recipelang.meaning.flow import Flow
from recipelang.meaning.reader import Reader
from recipelang.syntax import nodes
from recipelang.syntax.parse import read

#: what is wrong only because more is still to be typed: settings that are required, values that do not go together
_LATER = ("RCP0304", "RCP0306", "RCP0307")
#: in a statement of more characters nothing is tried, since each trial reads all of it
LONGEST_TRIED = 5_000


def unfit(place: Cursor, names: Iterable[str], items: Sequence[Item]) -> dict[str, str]:
    """Name → why the statement would refuse it here; only those that it would.

    Args:
        place: where one of the names is to be typed.
        names: of methods.
        items: of the whole text, for what holds throughout the recipe: its task.
    """
    verb = verb_of(place.verb)
    start = place.statement[0].start
    if verb is None or verb.block or place.call or place.start - start > LONGEST_TRIED:
        return {}
    typed = place.text[start : place.start]
    task = _task(place.text, items)
    part = verb.clause(place.clause) if place.clause else verb
    compares = part is not None and "condition" in part.accepts and all(w.type != "COMPARE" for w in place.part)
    found = {}
    for name in names:
        recipe, mistakes = read(f"{typed}{name}{' < 1' * compares}")
        statement = recipe.body.items[0] if recipe.body.items and not mistakes else None
        if not isinstance(statement, nodes.Statement):
            continue
        notes = Notes()
        try:
            verb.read(Reader(statement, Flow(task=task, restricted=statement.span), notes, {}))
        except (RecipeError, Refusal):  # a plug-in
            continue
        at = place.start - start
        here = (d for d in notes.errors if d.span and d.span.start == at and d.code not in _LATER)
        if wrong := next(here, None):
            found[name] = wrong.message
    return found


def _task(text: str, items: Sequence[Item]) -> Any:
    """The task of the recipe."""
    named = [item for item in items if item.verb and item.verb.throughout]
    lines = read("\n".join(text[item.start : item.end] for item in named))[0].body.items
    return tasks.named(lines, lambda name: bool((verb := verb_of(name)) and verb.throughout))
