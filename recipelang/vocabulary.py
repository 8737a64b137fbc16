"""The words of the language as data: for `recipe list`, `recipe explain`, the reference and editors."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from recipelang import catalogue
from recipelang import verbs as verb_folder
from recipelang.catalogue import Setting
from recipelang.reading.verb import Verb
from recipelang.reading.wording import KINDS, listing

EXPLANATIONS = Path(__file__).parent / "explanations"
CODE = re.compile(r"RCP\d{4}")


def verbs() -> tuple[str, ...]:
    """The names of all verbs, sorted; `let` is grammar and stands in no list."""
    return verb_folder.names()


def describe(verb: str) -> dict[str, Any]:
    """A verb as JSON values: name, summary, operands, clauses, example and rules.

    Raises:
        KeyError: there is no such verb.
    """
    found = verb_folder.find(verb)
    if found is None:
        raise KeyError(verb)
    return {
        "name": verb,
        "summary": found.summary,
        "operands": found.operands,
        "clauses": [dataclasses.asdict(clause) for clause in found.clauses],
        "block": found.block,
        "example": found.example,
        "rules": list(found.rules),
    }


def catalogue_json() -> dict[str, Any]:
    """All verbs, and all methods by kind with their settings, as JSON values."""
    methods = {
        kind: [_method_json(name, cls) for name in catalogue.names(kind) if (cls := catalogue.find(kind, name))]
        for kind in catalogue.FOLDERS
    }
    return {"verbs": [describe(name) for name in verbs()], "methods": methods}


def _method_json(name: str, cls: type) -> dict[str, Any]:
    return {
        "name": name,
        "summary": catalogue.summary(cls),
        "settings": [_setting_json(s) for s in catalogue.settings(cls)],
    }


def _setting_json(s: Setting) -> dict[str, Any]:
    required = s.default is dataclasses.MISSING
    shown = {f.name: getattr(s, f.name) for f in dataclasses.fields(s) if f.name != "default"}
    return {
        **shown,
        "choices": list(s.choices),
        "required": required,
        "default": None if required else _plain(s.default),
    }


def _plain(value: Any) -> Any:
    """A default as JSON: methods and durations by their text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else catalogue.spell(value)


def explain(word: str) -> str | None:
    """What a verb, a method or an error code is, as plain text; None where there is no such word.

    Args:
        word: `prune`, `magnitude`, `RCP0605`, `let`; a name that is both a verb and a method gets both cards.
    """
    if CODE.fullmatch(word.upper()):
        page = EXPLANATIONS / f"{word.upper()}.md"
        return page.read_text(encoding="utf-8") if page.is_file() else None
    cards = [_verb_card(word, found)] if (found := verb_folder.find(word)) else []
    cards += [_method_card(kind, word) for kind in catalogue.kinds_of(word)]
    return "\n\n".join(cards) or LANGUAGE.get(word)


def _verb_card(name: str, verb: Verb) -> str:
    parts = [f"{name} (verb)\n\n{verb.summary}", f"After the verb: {verb.operands}."]
    if verb.clauses:
        rows = [(c.word, c.takes, "required" if c.required else c.default or "-") for c in verb.clauses]
        parts.append(_table(("clause", "takes", "without it"), rows))
    parts.append("Example:\n" + _indented(verb.example))
    if verb.rules:
        parts.append("\n".join(f"- {rule}" for rule in verb.rules))
    return "\n\n".join(parts)


def _method_card(kind: str, name: str) -> str:
    cls = catalogue.find(kind, name)
    if cls is None:
        raise KeyError(name)
    parts = [f"{name} ({KINDS[kind].one.split(' ', 1)[1]}, written {KINDS[kind].place})", catalogue.card(cls)]
    rows = [(s.name, takes(s), default_text(s), s.help) for s in catalogue.settings(cls)]
    if rows:
        parts.append(_table(("setting", "takes", "default", ""), rows))
    return "\n\n".join(parts)


def takes(s: Setting) -> str:
    """What a setting takes, in words: `number, above 0, or a ramp`."""
    words = [{"word": " or ".join(s.choices), "method": s.kind}.get(s.type, s.type)]
    if s.low is not None:
        words.append(
            f"{'above' if s.open_low else 'from'} {s.low:g}" + (f" to {s.high:g}" if s.high is not None else "")
        )
    elif s.high is not None:
        words.append(f"up to {s.high:g}")
    return ", ".join(words) + (", or a ramp" if s.ramp else "")


def default_text(s: Setting) -> str:
    """The default of a setting as a recipe would write it; `-` for none."""
    if s.default is dataclasses.MISSING:
        return "required"
    if s.default is None or s.default in ((), ""):
        return "-"
    return catalogue.spell(s.default)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns of text, two spaces apart."""
    lines = [head, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


#: words of the grammar that are neither verb nor method
LANGUAGE = {
    "let": "let\n\nGives a value a name: `let tune = sgd(lr=1e-3)`, used as `$tune`. The value may be changed from the "
    "command line: `recipe run FILE --set tune='adam(lr=1e-4)'`.",
    "healthy": "healthy (state)\n\nThe network before the first step that compresses; every variant shares it.",
    "recovered": "recovered (state)\n\nThe network as it stood when the last hardware restriction "
    f"({listing(('sparsify nm',))}) began.",
    "current": "current (state)\n\nThe network as it stands now.",
}
