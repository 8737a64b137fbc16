"""What a word at a place is: its card as Markdown, for hovering and beside a completion, and the settings of a call."""

from __future__ import annotations

import re
from dataclasses import dataclass

from recipelang import catalogue, vocabulary
from recipelang.catalogue import Setting
from recipelang.editor.cursor import Cursor, cursor, in_comment
from recipelang.editor.expected import expected, method_named, method_of, verb_of
from recipelang.meaning.verb import Verb
from recipelang.meaning.wording import KINDS
from recipelang.syntax.grammar import CLAUSES, Token

#: sorts of cards whose words are the language's own
_PLAIN = ("state", "split", "form", "unit", "word", "kind", "sign", "form of writing", "value")
#: terminals that are no words and have a card where they stand
_WRITTEN = ("COMPARE", "PLUS", "STAR", "PATTERN", "RANGE", "PARAMETER")


@dataclass(frozen=True)
class Card:
    """What a word is.

    Attributes:
        start, end: the word, by its offsets.
        text: Markdown.
    """

    start: int
    end: int
    text: str


def card_at(text: str, offset: int) -> Card | None:
    """The card of the word at an offset; None where there is nothing to say: in a comment, a string, between words."""
    place = cursor(text, offset, within=True)
    word = place.typed
    if word is None or in_comment(place):
        return None
    told = _told(place, word)
    return Card(word.start, word.end, told) if told else None


def prepare() -> None:
    """Load every verb and method, so that no answer has to wait for it: together a fifth of a second."""
    for kind in catalogue.FOLDERS:
        for name in catalogue.names(kind):
            method_named(name, (kind,))
    for name in vocabulary.verbs():
        verb_of(name)


def _told(place: Cursor, word: Token) -> str | None:
    """What the word is where it stands."""
    follows = place.text[word.end :].lstrip(" \t")
    if word.type == "NUMBER":
        return _unit(word.text)
    if word.type in _WRITTEN:
        return _plain(word.text)
    if word.type == "STRING" or not (word.type == "NAME" or word.text.isalpha()):
        return None
    if place.call and follows.startswith("=") and not follows.startswith("=="):
        return _setting_of(place, word.text)
    if not place.statement:
        return verb_card(word.text) if word.text != "let" else _plain("let")
    if word.type != "NAME":
        return clause_card(place.verb, word.text) if word.text in CLAUSES else _plain(word.text)
    if place.path and (found := method_named(place.path[0], expected(place).kinds)):
        return method_card(*found)  # `resnet18` of `torchvision.resnet18`
    return word_card(word.text, expected(place).kinds)


def word_card(word: str, kinds: tuple[str, ...] = ()) -> str | None:
    """The card of a word that is not a verb: of a method of these kinds, else whatever the word is."""
    found = method_named(word, kinds)
    if found and (found[0] in kinds or not _plain(word)):
        return method_card(*found)
    if plural := next((name for name in catalogue.names("unit") if name == f"{word}s"), None):
        return word_card(plural, ("unit",))
    return _plain(word)


def _plain(word: str) -> str | None:
    """The card of a word that is neither a verb nor a method, nor a clause: a state, a split, a form, a unit."""
    texts = [text for sort, text in vocabulary.cards(word) if sort in _PLAIN]
    return "\n\n".join(_titled(text) for text in texts) or None


def _titled(text: str) -> str:
    """A card with its first line as the title."""
    title, _, rest = text.partition("\n\n")
    return f"**{title}**\n\n{rest}"


def _unit(number: str) -> str | None:
    unit = re.sub(r"^[0-9.]+(?:[eE][+-]?[0-9]+)?[ \t]*", "", number)
    return _plain(unit) if unit else None


def verb_card(name: str) -> str | None:
    """The card of a verb: what it does, its clauses, an example, its rules."""
    verb = verb_of(name)
    if verb is None:
        return None
    parts = [f"**{name}** (verb)", verb.summary, f"After the verb: {verb.operands}."]
    if verb.clauses:
        parts.append("\n".join(_clause_row(verb, clause.word) for clause in verb.clauses))
    parts.append(f"```recipe\n{verb.example}\n```")
    if verb.rules:
        parts.append("\n".join(f"- {rule}" for rule in verb.rules))
    return "\n\n".join(parts)


def _clause_row(verb: Verb, word: str) -> str:
    clause = verb.clause(word)
    assert clause is not None
    without = "required" if clause.required else f"default: {clause.default}" if clause.default else ""
    return f"- `{word}` {clause.takes}" + (f" ({without})" if without else "")


def clause_card(verb_name: str, word: str) -> str | None:
    """What a clause takes after this verb; after a verb that has no such clause, after which verbs it may stand."""
    verb = verb_of(verb_name)
    if verb and verb.clause(word):
        example = vocabulary.EXAMPLES[word]
        return f"**{word}** (clause of `{verb_name}`)\n\n{_clause_row(verb, word)[2:]}\n\nExample: `{example}`"
    takers = [f"`{name}`" for name in vocabulary.verbs() if (v := verb_of(name)) and v.clause(word)]
    return f"**{word}** (clause)\n\nIt follows {', '.join(takers)}."


def method_card(kind: str, method: type) -> str:
    """The card of a method: its docstring and its settings."""
    name: str = method.name  # type: ignore[attr-defined]
    title = f"**{name}** ({KINDS[kind].one.split(' ', 1)[1]}, written {KINDS[kind].place})"
    rows = [_setting_row(s) for s in catalogue.settings(method)]
    return "\n\n".join([title, _broken(catalogue.card(method)), *(["\n".join(rows)] if rows else [])])


def _broken(card: str) -> str:
    """A docstring whose sections (`Formula:`, `Source:`) begin new lines in Markdown too."""
    return re.sub(r"(?<!\n)\n(?=[A-Z][A-Za-z ]{2,24}: )", "  \n", card)


def _setting_row(s: Setting) -> str:
    default = vocabulary.default_text(s)
    without = {"required": "; required", "-": ""}.get(default, f"; default `{default}`")
    return f"- `{s.name}`: {vocabulary.takes(s)}{without}. {s.help}".rstrip()


def setting_card(owner: str, s: Setting) -> str:
    """The card of one setting."""
    return f"**{s.name}** (setting of `{owner}`)\n\n{_setting_row(s)[2:]}"


def _setting_of(place: Cursor, name: str) -> str | None:
    """The card of a setting at its name."""
    assert place.call is not None
    found = method_of(place.call)
    s = next((s for s in catalogue.settings(found[1]) if s.name == name), None) if found else None
    return setting_card(place.call.path[0], s) if s else None


@dataclass(frozen=True)
class Signature:
    """The settings of the call that is being typed.

    Attributes:
        label: the call with all its settings: `sgd(lr=0.01, …)`.
        parts: of each setting: its start and end in the label, and its card.
        active: the index of the setting at the place; None where it is not known.
        text: what the method does.
    """

    label: str
    parts: tuple[tuple[int, int, str], ...]
    active: int | None
    text: str


def signature_at(text: str, offset: int) -> Signature | None:
    """The settings of the call around an offset; None outside of calls."""
    call = cursor(text, offset).call
    found = method_of(call) if call else None
    if call is None or found is None:
        return None
    owner = ".".join(call.path)
    several = [s for s in catalogue.settings(found[1]) if not (s.dotted or s.extra)]
    label = f"{owner}("
    parts: list[tuple[int, int, str]] = []
    for s in several:
        default = vocabulary.default_text(s)
        shown = s.name if default in ("required", "-") else f"{s.name}={default}"
        label += ", " if parts else ""
        parts.append((len(label), len(label) + len(shown), setting_card(owner, s)))
        label += shown
    names = [s.name for s in several]
    first = next((s.name for s in several if s.positional and (s.several or None not in call.given)), "")
    active = call.setting or first
    summary = catalogue.summary(found[1])
    return Signature(f"{label})", tuple(parts), names.index(active) if active in names else None, summary)
