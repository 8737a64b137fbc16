"""The names of a recipe: where each is given and used, what it stands for, and another name for it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from recipelang.editor.analysis import Analysis
from recipelang.editor.formatting import Edit, applied
from recipelang.errors import Refusal
from recipelang.meaning import flow
from recipelang.meaning.mentions import Mention
from recipelang.syntax import nodes
from recipelang.syntax.grammar import RESERVED
from recipelang.syntax.show import show

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: sort → what it is called
_SORTS = {"parameter": "value", "state": "state", "model": "model", "data": "data set", "variant": "variant"}


@dataclass(frozen=True)
class Symbol:
    """A name that a recipe gives.

    Attributes:
        name: as it is given.
        sort: `parameter`, `state`, `model`, `data` or `variant`.
        given: the word that gives it.
        uses: the words that use it, in order.
        here: the word at the place that was asked about.
    """

    name: str
    sort: str
    given: Mention
    uses: tuple[Mention, ...]
    here: Mention


def symbol_at(found: Analysis, offset: int, text_of: Callable[[str], str]) -> Symbol | None:
    """The name at an offset; None where there is none, or one of the language itself.

    Args:
        found: the recipe.
        offset: a place in it.
        text_of: the text of a file by its path; raises OSError.
    """
    mentions, path = found.mentions, found.recipe.path
    every = (*mentions.given, *mentions.uses)
    here = next((m for m in every if m.path == path and m.span.start <= offset <= m.span.end), None)
    if here is None:
        return None
    given = mentions.uses.get(here, here)
    uses = sorted(use for use, by in mentions.uses.items() if by == given and use != given)
    text = _text(found, given.path, text_of)
    sort = mentions.given.get(given, "parameter")
    return Symbol(text[given.span.start : given.span.end], sort, given, tuple(uses), here)


def _text(found: Analysis, path: str, text_of: Callable[[str], str]) -> str:
    return found.text if path == found.recipe.path else text_of(path)


def name_card(found: Analysis, symbol: Symbol, text_of: Callable[[str], str]) -> str:
    """What a name stands for, as Markdown: the line that gives it."""
    text = _text(found, symbol.given.path, text_of)
    line = text.split("\n")[symbol.given.span.line - 1].strip()
    given = f"line {symbol.given.span.line}"
    place = given if symbol.given.path == found.recipe.path else f"{symbol.given.path}, {given}"
    shown = f"**{symbol.name}** ({_SORTS[symbol.sort]}, {place})\n\n```recipe\n{line}\n```"
    let = _let(found, symbol)
    if let is not None and any(isinstance(part, nodes.Parameter) for part in _parts(let.value)):
        shown += f"\n\nIt is `{show(let.value, _values(found))}`."
    return shown


def _let(found: Analysis, symbol: Symbol) -> nodes.Let | None:
    """The `let` of a name on the top level of the recipe."""
    lets = (item for item in found.recipe.body.items if isinstance(item, nodes.Let))
    return next((let for let in lets if let.name.span == symbol.given.span), None)


def _values(found: Analysis) -> dict[str, str]:
    """The values of the `let` on the top level, each with those above it filled in."""
    values: dict[str, str] = {}
    for item in found.recipe.body.items:
        if isinstance(item, nodes.Let):
            text = show(item.value, values)
            values[item.name.text] = text if len(text) < 400 else f"${item.name.text}"
    return values


def _parts(node: object) -> list[object]:
    """A node with everything in it."""
    inner = getattr(node, "__dict__", {}).values()
    several = [item for value in inner for item in (value if isinstance(value, tuple) else (value,))]
    return [node, *(part for item in several if type(item).__module__ == nodes.__name__ for part in _parts(item))]


def renamed(
    found: Analysis,
    symbol: Symbol,
    new: str,
    text_of: Callable[[str], str],
    again: Callable[[Mapping[str, str]], Analysis],
) -> dict[str, tuple[Edit, ...]]:
    """The edits that give a name another one, by the path of each file.

    Args:
        found, symbol: the recipe and the name.
        new: the other name, with or without `$` for a value.
        text_of: the text of a file by its path; raises OSError.
        again: analyses the recipe with other texts in place of some files.

    Raises:
        Refusal: RCP0110: it is not a name; RCP0207: it has a meaning already, or the recipe would have another one.
    """
    new = new.removeprefix("$") if symbol.sort in ("parameter", "variant") else new
    if not _NAME.fullmatch(new) or new in RESERVED:
        help = "a name has letters, digits and `_`, does not begin with a digit, and is not a word of the language"
        raise Refusal("RCP0110", f"`{new}` is not a name", help)
    if symbol.sort != "parameter" and new in flow.RESERVED:
        raise Refusal("RCP0207", f"`{new}` already has a meaning", "choose another name")
    edits: dict[str, list[Edit]] = {}
    for path, span in (symbol.given, *symbol.uses):
        text = _text(found, path, text_of)
        dollar = text[span.start] == "$"
        edits.setdefault(path, []).append(Edit(span.start + dollar, span.end, new))
    made = {path: tuple(several) for path, several in edits.items()}
    if new != symbol.name:
        after = again({path: applied(_text(found, path, text_of), several) for path, several in made.items()})
        if _shape(after) != _shape(found):
            help = "choose another name"
            raise Refusal("RCP0207", f"with `{new}` in place of `{symbol.name}` the recipe would change", help)
    return made


def _shape(found: Analysis) -> object:
    """What must not change under another name: which mistakes there are, and which words belong together."""
    every = sorted({*found.mentions.given, *found.mentions.uses}, key=lambda m: (m.path, m.span.line, m.span.column))
    number = {mention: index for index, mention in enumerate(every)}
    uses = {number[use]: number.get(given) for use, given in found.mentions.uses.items()}
    return uses, Counter(d.code for d in found.diagnostics)
