"""The words of the language as data: for `recipe list`, `recipe explain`, the reference and editors."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from recipelang import catalogue, units
from recipelang import verbs as verb_folder
from recipelang.catalogue import Setting
from recipelang.meaning.values import DIMENSIONS
from recipelang.meaning.verb import Verb
from recipelang.meaning.wording import KINDS, listing
from recipelang.syntax.grammar import CLAUSES, Token, scan
from recipelang.syntax.mistakes import EXAMPLES
from recipelang.units import SINGULAR, UNITS
from recipelang.words import BRACKETS, FORMS, LANGUAGE, LITERALS, PHRASES, SIGNS, SPLITS, STATES

EXPLANATIONS = Path(__file__).parent / "explanations"
CODE = re.compile(r"RCP\d{4}")
#: methods of a kind that the list of what can be explained shows; `recipe list KIND` shows all
MOST_SHOWN = 8


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
        word: `prune`, `magnitude`, `RCP0605`, `until`, `ms`, `healthy`, `drop`, `metric`, `<`, `2:4`; a name of several
            things gets all their cards, and several words (`top1 drop`) the cards of each.
    """
    return "\n\n".join(text for _, text in cards(word)) or None


def cards(word: str) -> list[tuple[str, str]]:
    """(sort, text) of everything that a word is: sorts are `verb`, `code`, `setting`, `value`, the kinds of methods,
    and those of `_words`. Of several words every one must be known."""
    word = word.strip()
    if CODE.fullmatch(word.upper()):
        page = EXPLANATIONS / f"{word.upper()}.md"
        return [("code", page.read_text(encoding="utf-8").rstrip())] if page.is_file() else []
    word = BRACKETS.get(word, word)
    found = _of_name(word)
    if found:
        return found
    each = [_of_token(token) for token in _own(tuple(scan(word.replace("…", " "))))]
    shown = [card for several in each for card in several]
    return list(dict.fromkeys(shown)) if shown and all(each) else []


def _of_name(word: str) -> list[tuple[str, str]]:
    """Everything that a word is by its name."""
    found = [("verb", _verb_card(word, verb))] if (verb := verb_folder.find(word)) else []
    found += [(kind, _method_card(kind, word)) for kind in catalogue.kinds_of(word)]
    found += [(sort, text) for sort, name, text in _words() if name == _phrase(word)]
    if not found and (plural := next((name for name in catalogue.names("unit") if name == f"{word}s"), None)):
        return _of_name(plural)
    return found or [(sort, text) for sort, name, text in _settings() if name == word]


def _own(tokens: Sequence[Token]) -> Iterator[Token]:
    """The words of the language: without the names that a library gives, as in `torchvision.resnet18`, and without what
    stands for a name among other words, as in `variant NAME`."""
    for index, token in enumerate(tokens):
        owner = tokens[index - 2].text if index > 1 and tokens[index - 1].type == "DOT" else ""
        methods = [catalogue.find(kind, owner) for kind in catalogue.kinds_of(owner)] if owner else []
        given = any(token.text in getattr(method, "dotted_names", frozenset)() for method in methods)
        stands_in = len(tokens) > 1 and token.text.isupper() and not _of_name(token.text)
        if not given and not stands_in:
            yield token


def _phrase(word: str) -> str:
    """Words with the dots that stand between them: `until while` is `until … while`."""
    plain = " ".join(word.replace("…", " ").split())
    return next((phrase for phrase in PHRASES if " ".join(phrase.replace("…", " ").split()) == plain), word)


def _of_token(token: Token) -> list[tuple[str, str]]:
    """What one word among several is: by its name, else by its form."""
    if token.type == "NUMBER":
        unit = re.sub(r"^[0-9.]+(?:[eE][+-]?[0-9]+)?[ \t]*", "", token.text)
        return _of_name(unit) if unit else [_literal("NUMBER")]
    if token.type in LITERALS:
        return [_literal(token.type)]
    return _of_name(BRACKETS.get(token.text, token.text))


def _literal(kind: str) -> tuple[str, str]:
    name, text = LITERALS[kind]
    return "form of writing", f"{name} (as it is written)\n\n{text}"


def known() -> set[str]:
    """Every word and code that `explain` knows."""
    methods = {name for kind in catalogue.FOLDERS for name in catalogue.names(kind)}
    codes = {page.stem for page in EXPLANATIONS.glob("RCP*.md")}
    several = (*_words(), *_settings())
    return {*verbs(), *methods, *codes, *(name for _, name, _ in several)}


def sorts() -> list[tuple[str, str]]:
    """(what, examples) of everything that can be explained, for `recipe explain` without a word."""
    rows = [("verbs", listing(verbs())), ("clause words", listing(CLAUSES))]
    rows += [("words", listing([*LANGUAGE, *FORMS])), ("states, splits", listing([*STATES, *SPLITS]))]
    rows += [("together", listing(list(PHRASES))), ("signs", listing(list(SIGNS)))]
    rows += [("units", listing([name for name in UNITS if name]))]
    rows += [(words.many, listing(catalogue.names(kind)[:MOST_SHOWN])) for kind, words in KINDS.items()]
    return [*rows, ("error codes", "`RCP0101` and the others of docs/errors.md")]


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
    found += [("sign", name, f"{name} (sign)\n\n{text}") for name, text in SIGNS.items()]
    found += [("phrase", name, f"{name} (words together)\n\n{text}") for name, text in PHRASES.items()]
    for kind, words in KINDS.items():
        shown = f"{words.many.capitalize()} are written {words.place}: {listing(catalogue.names(kind))}."
        found.append(("kind", kind, f"{kind} (kind of method)\n\n{shown}"))
    return tuple(found)


@cache
def _settings() -> tuple[tuple[str, str, str], ...]:
    """(sort, word, text) of every name of a setting and every word that one takes; loads all methods."""
    takers: dict[str, list[tuple[str, Setting]]] = {}
    values: dict[str, dict[str, list[str]]] = {}
    for kind in catalogue.FOLDERS:
        for name in catalogue.names(kind):
            cls = catalogue.find(kind, name)
            for s in catalogue.settings(cls) if cls else ():
                takers.setdefault(s.name, []).append((name, s))
                for choice in s.choices:
                    values.setdefault(choice, {}).setdefault(s.name, []).append(name)
    found = [("setting", name, _setting_card(name, rows)) for name, rows in takers.items()]
    return (*found, *(("value", word, _value_card(word, of)) for word, of in values.items()))


def _setting_card(name: str, rows: Sequence[tuple[str, Setting]]) -> str:
    """What a setting is, in each method that has it."""
    table = _table(("of", "takes", "default", ""), [(o, takes(s), default_text(s), s.help) for o, s in rows])
    return f"{name} (setting)\n\nIt is written in parentheses after a name: `{rows[0][0]}({name}=…)`.\n\n{table}"


def _value_card(word: str, of: dict[str, list[str]]) -> str:
    """Of which settings a word is a value."""
    rows = [f"- `{name}={word}` of {listing(owners)}" for name, owners in of.items()]
    return f"{word} (value of a setting)\n\n" + "\n".join(rows)


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
