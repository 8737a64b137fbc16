"""The reference in docs/ and the grammar for editors, printed by `python -m recipelang.reference`.

Nothing is written twice: verbs come from `verbs/`, methods from `methods/`, errors from `explanations/`,
keywords from the grammar. A test prints them again and compares them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from recipelang import verbs
from recipelang.catalogue import FOLDERS, card, find, names, settings
from recipelang.meaning.verb import Verb
from recipelang.textmate import textmate
from recipelang.vocabulary import default_text, takes

_HEAD = "<!-- Printed by `make docs` from {source}; edit there. -->\n\n# {title}\n\n{lead}\n"
_SECTION = re.compile(r"([A-Z]\w*(?: \w+){0,3}):(?:\s|$)(.*)")


def pages() -> dict[str, str]:
    """Path in the repository → text, for everything that is printed."""
    return {
        "docs/catalogue.md": _catalogue(),
        "docs/verbs.md": _verbs(),
        "docs/methods.md": _methods(),
        "docs/errors.md": _errors(),
        "editors/vscode/recipe.tmLanguage.json": textmate(),
    }


# the catalogue ----------------------------------------------------------------------------------------


def _catalogue() -> str:
    """Every name, each a link to its card."""
    lead = "Every verb and every method. `recipe list` and `recipe explain NAME` print the same in a terminal."
    rows = [(folder, ", ".join(_link("methods", name) for name in names(kind))) for kind, folder in FOLDERS.items()]
    rows.insert(0, ("verbs", ", ".join(_link("verbs", name) for name in verbs.names())))
    table = [_row(("kind", "names")), _row(["---"] * 2), *map(_row, rows)]
    head = _HEAD.format(source="`recipelang/verbs/` and `recipelang/methods/`", title="Catalogue", lead=lead)
    foot = "A method is one file; [CONTRIBUTING.md](../CONTRIBUTING.md) shows a whole one."
    return "\n".join([head, *table, "", foot, ""])


def _link(page: str, name: str) -> str:
    return f"[`{name}`]({page}.md#{name})"


# verbs ------------------------------------------------------------------------------------------------


def _verbs() -> str:
    lead = (
        "A statement is `verb operand… clause… [block]`; clauses come in any order, each at most once. "
        "`recipe explain VERB` prints the same in a terminal."
    )
    parts = [_HEAD.format(source="`recipelang/verbs/`", title="Verbs", lead=lead)]
    found = ((name, verbs.find(name)) for name in verbs.names())
    parts += [_verb(name, verb) for name, verb in found if verb]
    return "\n".join(parts)


def _verb(name: str, verb: Verb) -> str:
    lines = [f"## {name}", "", _prose(verb.summary), ""]
    if verb.operands:
        lines += [f"After the verb: {_prose(verb.operands)}", ""]
    if verb.clauses:
        rows = [(f"`{c.word}`", c.takes, "required" if c.required else c.default or "–") for c in verb.clauses]
        lines += [*_table(("clause", "takes", "without it"), rows), ""]
    lines += ["```recipe", verb.example.strip(), "```", ""]
    lines += [f"- {_prose(rule)}" for rule in verb.rules]
    return "\n".join(lines).rstrip() + "\n"


# methods ----------------------------------------------------------------------------------------------


def _methods() -> str:
    lead = "One method, one file, one card. `recipe explain NAME` prints a card in a terminal."
    parts = [_HEAD.format(source="the cards in `recipelang/methods/`", title="Methods", lead=lead)]
    for kind, folder in FOLDERS.items():
        parts.append(f"## {folder.capitalize()}\n")
        for name in names(kind):
            method = find(kind, name)
            if method is not None:
                parts.append(_method(name, method))
    return "\n".join(parts)


def _method(name: str, method: type) -> str:
    rows = [(f"`{s.name}`", takes(s), default_text(s), s.help) for s in settings(method)]
    table = [*_table(("setting", "takes", "default", "what it is"), rows), ""] if rows else []
    return "\n".join([f"### {name}", "", *_card(card(method)), "", *table])


def _card(text: str) -> list[str]:
    """A card as Markdown: its sections (`Formula: …`) become a list, continued lines are joined."""
    summary, *rest = text.splitlines()
    lines = [_prose(summary)]
    for raw in rest:
        section = _SECTION.match(raw)
        if section:
            lines += [""] if lines[-1] and not lines[-1].startswith("- ") else []
            lines.append(f"- **{section[1]}.** {_prose(section[2])}")
        elif raw.strip() and lines[-1]:
            lines[-1] = f"{lines[-1].rstrip()} {_prose(raw.strip())}"
        elif raw.strip() or lines[-1]:
            lines.append(_prose(raw.strip()))
    return lines


# errors -----------------------------------------------------------------------------------------------


def _errors() -> str:
    folder = Path(__file__).parent / "explanations"
    texts = [page.read_text(encoding="utf-8").strip() for page in sorted(folder.glob("RCP*.md"))]
    lead = "Every error has a code that stays. `recipe explain CODE` prints one page in a terminal."
    head = _HEAD.format(source="`recipelang/explanations/`", title="Errors", lead=lead)
    return "\n".join([head, *(f"#{text}\n" for text in texts)])


# Markdown ---------------------------------------------------------------------------------------------


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    cells = [[_prose(cell).replace("|", r"\|").replace("\n", " ") for cell in row] for row in rows]
    return [_row(head), _row(["---"] * len(head)), *(_row(row) for row in cells)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _prose(text: str) -> str:
    """Text of a card as Markdown: outside backticks nothing is markup."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(piece if piece.startswith("`") else re.sub(r"([<*]|\b_|_\b)", r"\\\1", piece) for piece in pieces)


def main(folder: Path) -> None:
    """Write every page below `folder`, the repository."""
    for name, text in pages().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
        print(folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
