"""The words of the language as data: for `recipe list`, `recipe explain`, the reference and editors."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from recipelang import catalogue, units
from recipelang import verbs as verb_folder
from recipelang.catalogue import Setting
from recipelang.meaning.values import DIMENSIONS
from recipelang.meaning.verb import Verb
from recipelang.meaning.wording import KINDS, listing
from recipelang.syntax.grammar import CLAUSES
from recipelang.syntax.mistakes import EXAMPLES
from recipelang.units import SINGULAR, UNITS

EXPLANATIONS = Path(__file__).parent / "explanations"
CODE = re.compile(r"RCP\d{4}")


def verbs() -> tuple[str, ...]:
    """The names of all verbs, sorted; `let` belongs to the grammar and is in no list."""
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
        "accepts": list(found.accepts),
        "words": list(found.words),
        "clauses": [dataclasses.asdict(clause) for clause in found.clauses],
        "block": found.block,
        "example": found.example,
        "rules": list(found.rules),
    }


def catalogue_json(only: str = "") -> dict[str, Any]:
    """All verbs, and all methods by kind with their settings, as JSON values.

    Args:
        only: `verb` or a kind, to list nothing else; "" for everything.
    """
    methods = {
        kind: [_method_json(name, cls) for name in catalogue.names(kind) if (cls := catalogue.find(kind, name))]
        for kind in catalogue.FOLDERS
        if only in ("", kind)
    }
    told: dict[str, Any] = {"verbs": [describe(name) for name in verbs()]} if only in ("", "verb") else {}
    return {**told, "methods": methods} if methods else told


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
    """A default as JSON: methods and durations as text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else catalogue.spell(value)


def explain(word: str) -> str | None:
    """What a word of the language or an error code is, as plain text; None where there is no such word.

    Args:
        word: `prune`, `magnitude`, `RCP0605`, `until`, `ms`, `healthy`, `drop`, `metric`; a name of several things
            gets all their cards, and several words (`top1 drop`) the cards of each.
    """
    return "\n\n".join(text for _, text in cards(word)) or None


def cards(word: str) -> list[tuple[str, str]]:
    """(sort, text) of everything that a word is: sorts are `verb`, the kinds of methods, and those of `WORDS`."""
    word = word.strip()
    if CODE.fullmatch(word.upper()):
        page = EXPLANATIONS / f"{word.upper()}.md"
        return [("code", page.read_text(encoding="utf-8").rstrip())] if page.is_file() else []
    found = [("verb", _verb_card(word, verb))] if (verb := verb_folder.find(word)) else []
    found += [(kind, _method_card(kind, word)) for kind in catalogue.kinds_of(word)]
    found += [(sort, text) for sort, name, text in _words() if name == word]
    parts = word.split()
    if len(parts) > 1 and not found:
        each = [cards(part) for part in parts]
        return [card for several in each for card in several] if all(each) else []
    return found


def known() -> set[str]:
    """Every word and code that `explain` knows."""
    methods = {name for kind in catalogue.FOLDERS for name in catalogue.names(kind)}
    codes = {page.stem for page in EXPLANATIONS.glob("RCP*.md")}
    return {*verbs(), *methods, *codes, *(name for _, name, _ in _words())}


def card_json(word: str) -> list[dict[str, Any]]:
    """What a word is, as JSON values: the sort and text of each meaning; for verbs and methods also their parts."""
    found: list[dict[str, Any]] = []
    for sort, text in cards(word):
        details: dict[str, Any] = {}
        if sort == "verb":
            details = describe(word)
        elif sort in catalogue.FOLDERS and (cls := catalogue.find(sort, word)):
            details = _method_json(word, cls)
        found.append({"sort": sort, **details, "text": text})
    return found


@cache
def _words() -> tuple[tuple[str, str, str], ...]:
    """(sort, word, text) of everything that is neither a verb, a method nor a code."""
    found = [("word", name, f"{name}\n\n{text}") for name, text in LANGUAGE.items()]
    found += [("clause", name, _clause_card(name)) for name in CLAUSES]
    found += [("state", name, f"{name} (state)\n\n{text}") for name, text in STATES.items()]
    found += [("split", name, f"{name} (split)\n\n{text}") for name, text in SPLITS.items()]
    found += [("form", name, f"{name} (form of a metric)\n\n{text}") for name, text in FORMS.items()]
    found += [("unit", name, _unit_card(name)) for name in (*UNITS, *SINGULAR) if name]
    for kind, words in KINDS.items():
        shown = f"{words.many.capitalize()} are written {words.place}: {listing(catalogue.names(kind))}."
        found.append(("kind", kind, f"{kind} (kind of method)\n\n{shown}"))
    return tuple(found)


def _clause_card(word: str) -> str:
    """What a clause holds after each verb that takes it."""
    takers = ((name, clause) for name in verbs() if (v := verb_folder.find(name)) and (clause := v.clause(word)))
    rows = [(name, c.takes, "required" if c.required else c.default or "-") for name, c in takers]
    return f"{word} (clause)\n\n{_table(('verb', 'takes', 'without it'), rows)}\n\nExample: `{EXAMPLES[word]}`"


def _unit_card(unit: str) -> str:
    """What a unit counts, and how much one of it is in the dimension's base unit."""
    dimension, factor = UNITS[SINGULAR.get(unit, unit)]
    base = next((name for name, (other, size) in UNITS.items() if other == dimension and size == 1.0), "")
    text = f"After a number, it is {DIMENSIONS[dimension]}: `{units.spelt(('1' if unit in SINGULAR else '3') + unit)}`."
    if factor != 1.0:
        shown = f"{factor:,.6f}".rstrip("0").rstrip(".")
        text += f" 1 {unit} is {f'{shown} {base}'.removesuffix('x').strip()}."
    return f"{unit} (unit)\n\n{text}"


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


#: words of the grammar that are neither verbs, methods nor clauses
LANGUAGE = {
    "let": "Gives a value a name: `let tune = sgd(lr=1e-3)`, used as `$tune`. The value may be changed from the "
    "command line: `recipe run FILE --set tune='adam(lr=1e-4)'`.",
    "and": "Joins conditions that must all hold: `latency < 0.7 and size < 10MB`. It binds more tightly than `or`.",
    "or": "Joins conditions of which one must hold: `latency < 0.7 or size < 10MB`. Parentheses "
    "group: `(a or b) and c`.",
    "first": "In `in` and `except`, the first layer with weights; in `choose first`, the first variant that meets "
    "every `expect` above.",
    "last": "In `in` and `except`, the last layer with weights: `except last`.",
    "scratch": "In `train from scratch`: random weights in the current architecture. `scratch(equal=flops)` trains as "
    "many epochs as `healthy` could be trained with the same FLOPs.",
}
STATES = {
    "healthy": "The network before the first step that compresses; every variant shares it.",
    "recovered": "The network as it was when the last hardware restriction "
    f"({listing(('sparsify nm', 'quantize'))}) began.",
    "current": "The network as it is now.",
}
SPLITS = {
    "train": "The images that training and most criteria use: `on train(samples=512)` is part of them.",
    "val": "The images that decide: `until`, `while` and `choose` read them.",
    "test": "The images of the verdict: `measure`, `expect` and reports read them, and nothing else does.",
}
#: what follows a metric, or what a bare number beside it means
FORMS = {
    "drop": "How far a quality in which higher is better has fallen, in its own points: `top1 drop < 1%` allows 90 % "
    "to become 89 %. It is counted from `healthy`; `drop(from=control)` counts from the control.",
    "rise": "How far a quality in which lower is better has risen, in its own unit. It is counted from `healthy`; "
    "`rise(from=control)` counts from the control.",
    "ratio": "A cost against a bare number or a percentage is a ratio to `healthy`: `latency < 0.7` and `latency < "
    "70%` ask for 70 % of its latency. With a unit it is absolute: `latency < 12ms`. There is no word "
    "`ratio` in a recipe.",
}
