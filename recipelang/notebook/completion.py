"""Words of recipes where a cell is one: what the language server offers an editor, under the notebook's own key."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher
from IPython.core.getipython import get_ipython

from recipelang.api.values import literal
from recipelang.editor.completion import choices_at
from recipelang.errors import Refusal


def is_recipe(cell: str) -> bool:
    """Whether a cell begins with the line of the magic, and so is a recipe."""
    return cell.lstrip().split(maxsplit=1)[:1] == ["%%recipe"]


@context_matcher(identifier="recipelang", priority=100)
def words(context: CompletionContext) -> SimpleMatcherResult:
    """What may be typed in a recipe; in other cells, and on the line of the magic, nothing."""
    lines = context.full_text.split("\n")
    head = next((number for number, line in enumerate(lines) if line.strip()), 0)  # empty lines may come before
    if context.cursor_line <= head or not is_recipe(lines[head]):
        return {"completions": [], "suppress": False}
    recipe = "\n".join(lines[head + 1 :])
    offset = sum(len(line) + 1 for line in lines[head + 1 : context.cursor_line]) + context.cursor_position
    found = choices_at(recipe, offset)
    typed = recipe[found.start : offset]
    offered = [choice for choice in found.items if choice.label.startswith(typed) and not choice.wrong]
    completions = [SimpleCompletion(one.insert or one.label, type=one.owner or one.sort) for one in offered]
    if typed.startswith("$"):
        taken = {choice.label for choice in offered}
        completions += [
            SimpleCompletion(f"${name}", type="notebook") for name in _variables() if f"${name}" not in taken
        ]
    return {
        "completions": [one for one in completions if one.text.startswith(typed)],
        "matched_fragment": typed,
        "suppress": True,
        "ordered": True,
    }


def _variables() -> Iterator[str]:
    """Variables of the notebook that a recipe can hold, without what IPython itself has left there."""
    shell = get_ipython()
    if shell is None:
        return
    for name, value in sorted(shell.user_ns.items()):
        if not name.startswith("_") and name not in shell.user_ns_hidden:
            with contextlib.suppress(Refusal):
                literal(name, value)
                yield name
