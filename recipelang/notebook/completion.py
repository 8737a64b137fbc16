"""Words of recipes where a cell is one: what the language server offers an editor, under the notebook's own key."""

from __future__ import annotations

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

from recipelang.editor.completion import choices_at


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
    return {
        "completions": [
            SimpleCompletion(choice.insert or choice.label, type=choice.owner or choice.sort)
            for choice in found.items
            if choice.label.startswith(typed) and not choice.wrong
        ],
        "matched_fragment": typed,
        "suppress": True,
        "ordered": True,
    }
