"""What may be typed at a place: verbs, clauses, methods, settings, names of the recipe, units, modules and files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from recipelang import catalogue, vocabulary
from recipelang.catalogue import Setting
from recipelang.editor.cards import clause_card, method_card, setting_card, verb_card, word_card
from recipelang.editor.cursor import Cursor, cursor, in_comment
from recipelang.editor.expected import Expected, expected, method_named, units_of, verb_of
from recipelang.editor.fitting import unfit
from recipelang.editor.outline import Scope, outline, scope_at
from recipelang.meaning.metrics import CHANGES
from recipelang.syntax.grammar import CLAUSES

#: sort → its place among the others
ORDER = (
    "parameter",
    "setting",
    "word",
    "unit",
    "state",
    "variant",
    "split",
    "file",
    "module",
    "method",
    "verb",
    "clause",
)
#: words of selections of modules
SELECTORS = ("first", "last")


@dataclass(frozen=True)
class Choice:
    """Something that may be typed.

    Attributes:
        label: what is shown and looked for.
        sort: one of `ORDER`.
        insert: what is typed, where it is not the label.
        owner: what it belongs to: the kind of a method, the method of a setting, the verb of a clause.
        note: a few words beside it.
        wrong: why the statement would refuse it here; "" where it would not, as far as it is typed.
    """

    label: str
    sort: str
    insert: str = ""
    owner: str = ""
    note: str = ""
    wrong: str = ""


@dataclass(frozen=True)
class Choices:
    """What may be typed between two offsets, in place of what is there."""

    start: int
    end: int
    items: tuple[Choice, ...]


def choices_at(
    text: str,
    offset: int,
    *,
    modules: Callable[[], Iterable[tuple[str, str]]] = tuple,
    files: Callable[[], Iterable[str]] = tuple,
) -> Choices:
    """What may be typed at an offset.

    Args:
        text: the text, finished or not.
        offset: where.
        modules: (path, class) of the network's modules, where they are known.
        files: the recipes that may be used, relative to the recipe's folder.
    """
    place = cursor(text, offset)
    end = place.typed.end if place.typed and place.typed.end > offset else offset
    if in_comment(place):
        return Choices(offset, offset, ())
    if place.prefix.startswith('"'):
        return _in_quotes(place, lambda: (path for path, _ in modules()), files)
    if place.call and place.call.path == ("type",) and "modules" in expected(place.call.outside).accepts:
        kinds = sorted({kind for _, kind in modules()})
        return Choices(place.start, end, tuple(Choice(kind, "module") for kind in kinds))
    items = outline(text)
    start = place.statement[0].start if place.statement else place.start  # a statement does not know its own names
    found = _Finder(place, scope_at(items, start)).choices()
    unique = {(choice.label, choice.sort): choice for choice in found}
    methods = [choice.label for choice in unique.values() if choice.sort == "method"]
    wrong = unfit(place, methods, items) if place.statement and not place.path else {}
    told = (replace(choice, wrong=wrong.get(choice.label, "")) for choice in unique.values())
    ordered = sorted(told, key=lambda choice: (bool(choice.wrong), ORDER.index(choice.sort)))
    return Choices(place.start, end, tuple(ordered))


def _in_quotes(place: Cursor, modules: Callable[[], Iterable[str]], files: Callable[[], Iterable[str]]) -> Choices:
    """Modules and files in a quoted text, whose closing quote may be there already."""
    line_end = place.text.find("\n", place.offset)
    rest = place.text[place.offset : line_end if line_end >= 0 else len(place.text)]
    accepts = expected(place).accepts
    names = modules() if "modules" in accepts else files() if "file" in accepts else ()
    sort = "module" if "modules" in accepts else "file"
    closed = rest.find('"') if place.typed and place.typed.type == "STRING" else -1
    end = place.offset + max(0, closed)
    quote = "" if closed >= 0 else '"'
    return Choices(place.start + 1, end, tuple(Choice(name, sort, f"{name}{quote}") for name in names))


@dataclass(frozen=True)
class _Finder:
    """One place, and what may be typed there."""

    place: Cursor
    scope: Scope

    def choices(self) -> Iterator[Choice]:
        place = self.place
        if place.path:
            yield from self._after_dot(place.path)
        elif not place.statement:
            yield from self._beginning()
        elif place.verb == "let" and len(place.statement) < 3:
            return
        else:
            wanted = expected(place)
            number = place.part[-1] if place.part and place.part[-1].type == "NUMBER" else None
            if number is not None and number.text[-1].isdigit():
                yield from self._units(wanted, number.text)
            if "NAME" in place.accepts:
                yield from self._values(wanted, bool(place.part))
            if not place.call:
                yield from self._clauses(place)

    def _beginning(self) -> Iterator[Choice]:
        """Where a statement begins: verbs, and the clauses with which the line continues the one above."""
        for name in vocabulary.verbs():
            yield Choice(name, "verb")
        yield Choice("let", "verb")
        if self.place.above:
            yield from self._clauses(self.place.above)

    def _clauses(self, place: Cursor) -> Iterator[Choice]:
        """The clauses that the statement may still take, and what joins conditions."""
        verb, accepts = verb_of(place.verb), place.accepts
        for word in CLAUSES:
            if word.upper() in accepts and verb and verb.clause(word) and word not in place.clauses:
                yield Choice(word, "clause", owner=place.verb)
        if "condition" in expected(place).accepts and any(word.type == "COMPARE" for word in place.part):
            for word in ("and", "or"):
                if word.upper() in accepts:
                    yield Choice(word, "clause")

    def _after_dot(self, path: Sequence[str]) -> Iterator[Choice]:
        """The rest of a dotted name: a network of a library, or a metric of a state."""
        wanted = expected(self.place)
        found = method_named(path[0], wanted.kinds)
        if found and any(s.dotted for s in catalogue.settings(found[1])):
            for name in sorted(getattr(found[1], "dotted_names", frozenset)()):
                yield Choice(name, "word", owner=path[0])
        elif path[0] in (*self._states(), *self.scope.of("variant")):
            yield from _methods(("metric",))

    def _values(self, wanted: Expected, begun: bool) -> Iterator[Choice]:
        """What may stand here; `begun` is whether a word of the same item comes before: a number, a metric."""
        for s in () if begun else wanted.settings:
            yield _setting(self.place, s)
        last = self.place.part[-1] if begun else None
        if last is not None and last.type == "NAME":
            yield from self._after_metric(wanted)
            return
        if last is not None and last.type == "NUMBER":
            one = last.text == "1" and "unit" in wanted.accepts
            yield from _methods(wanted.kinds if "unit" in wanted.accepts else (), one)
            return
        yield from (Choice(word, "word") for word in wanted.words)
        yield from _methods(wanted.kinds)
        yield from self._named(wanted)

    def _named(self, wanted: Expected) -> Iterator[Choice]:
        """Names of the recipe and of the language."""
        accepts = set(wanted.accepts)
        if accepts & {"state", "condition"} or ("metric" in accepts and "model" not in accepts):  # any value of `let`
            dot = "" if "state" in accepts else "."
            yield from (Choice(name, "state", f"{name}{dot}") for name in self._states())
            if dot:
                yield from (Choice(name, "variant", f"{name}.") for name in self.scope.of("variant"))
        if "split" in accepts:
            yield from (Choice(name, "split") for name in (*vocabulary.SPLITS, *self.scope.of("data")))
        if "modules" in accepts:
            yield from (Choice(name, "word") for name in SELECTORS)
            yield Choice("type", "word", "type(")
        if wanted.accepts or wanted.words or wanted.dimensions or self.place.call:
            yield from (Choice(f"${name}", "parameter") for name in self.scope.of("parameter"))

    def _states(self) -> tuple[str, ...]:
        recovered = ("recovered",) if self.scope.recovered else ()
        return ("healthy", *recovered, *self.scope.of("state", "model"))

    def _after_metric(self, wanted: Expected) -> Iterator[Choice]:
        """`drop` or `rise` after a metric that has one of them."""
        if not {"condition", "metric"} & set(wanted.accepts):
            return
        found = method_named(self.place.part[-1].text, ("metric",))
        if found and found[0] == "metric" and getattr(found[1], "role", "") == "quality":
            yield Choice(CHANGES[getattr(found[1], "better", "") != "higher"], "word")

    def _units(self, wanted: Expected, number: str) -> Iterator[Choice]:
        """The units of a number, with the space that a word takes."""
        space = " " if self.place.text[self.place.start - 1 : self.place.start] not in (" ", "\t") else ""
        for dimension in wanted.dimensions:
            for unit in units_of(dimension, number == "1"):
                yield Choice(unit, "unit", f"{space}{unit}" if unit.isalpha() and len(unit) > 3 else unit)


def _methods(kinds: Sequence[str], one: bool = False) -> Iterator[Choice]:
    """The methods of some kinds; units in the singular after a 1."""
    for kind in kinds:
        for name in catalogue.names(kind):
            single = getattr(catalogue.find(kind, name), "one", name) if one and kind == "unit" else name
            yield Choice(single, "method", owner=kind)


def _setting(place: Cursor, s: Setting) -> Choice:
    assert place.call is not None
    return Choice(s.name, "setting", f"{s.name}=", ".".join(place.call.path), vocabulary.takes(s))


def card_of(choice: Choice) -> str | None:
    """The card of a choice."""
    if choice.sort == "verb":
        return verb_card(choice.label) or word_card(choice.label)
    if choice.sort == "clause":
        return clause_card(choice.owner, choice.label) if choice.owner else word_card(choice.label)
    if choice.sort == "setting":
        found = method_of_owner(choice.owner)
        s = next((s for s in catalogue.settings(found) if s.name == choice.label), None) if found else None
        return setting_card(choice.owner, s) if s else None
    if choice.sort == "method":
        method = catalogue.find(choice.owner, choice.label) or catalogue.find(choice.owner, f"{choice.label}s")
        return method_card(choice.owner, method) if method else None
    if choice.sort in ("state", "split", "unit", "word"):
        return word_card(choice.label)
    return None


def method_of_owner(owner: str) -> type | None:
    """The method of a setting's owner, of whatever kind."""
    found = method_named(owner.partition(".")[0], ())
    return found[1] if found else None
