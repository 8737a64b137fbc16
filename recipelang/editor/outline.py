"""The statements of a text by their words, with the blocks that they open, whatever is half typed between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from recipelang.editor.cursor import words_of
from recipelang.editor.expected import verb_of
from recipelang.meaning.verb import Verb
from recipelang.syntax.grammar import DEEPEST, Token, statement_ends


@dataclass
class Item:
    """A statement or `let`.

    Attributes:
        words: its words, without line ends and without its block; never empty.
        end: where it ends, its block included.
        block: the items of its block; None without one.
    """

    words: list[Token]
    end: int
    block: list[Item] | None = None

    @property
    def start(self) -> int:
        """Where its first word begins."""
        return self.words[0].start

    @property
    def verb(self) -> Verb | None:
        """Its verb; None for a `let` and for a word that is not a verb."""
        return verb_of(self.words[0].text) if self.words[0].type == "NAME" else None

    def given(self) -> Iterator[tuple[str, Token]]:
        """What it gives names to: (sort, name), of `parameter`, `state`, `model`, `data` and `variant`."""
        words, verb = self.words, self.verb
        if words[0].type == "LET" and len(words) > 1 and words[1].type == "NAME":
            yield "parameter", words[1]
        if verb is None:
            return
        if "name" in verb.accepts and len(words) > 1 and words[1].type == "NAME":
            yield "variant", words[1]
            if any("value" in clause.accepts for clause in verb.clauses):
                yield "parameter", words[1]
        for word, name in zip(words, words[1:], strict=False):
            if word.type == "AS" and name.type == "NAME":
                yield verb.provides or "state", name


@dataclass(frozen=True)
class Scope:
    """The names that may be used at a place, each with the sort of what it names, the last given first.

    Attributes:
        names: of `parameter`, `state`, `model`, `data` and `variant` → name → the word that gives it.
        recovered: whether a statement above may restrict the network, so that there is a `recovered`.
    """

    names: dict[str, dict[str, Token]] = field(default_factory=dict)
    recovered: bool = False

    def of(self, *sorts: str) -> tuple[str, ...]:
        """The names of these sorts."""
        return tuple(dict.fromkeys(name for sort in sorts for name in reversed(self.names.get(sort, {}))))


@lru_cache(maxsize=4)
def outline(text: str) -> tuple[Item, ...]:
    """The items of a text; a block that is not closed ends with the text, a brace that closes nothing is left out, and
    so is a block that is nested deeper than a recipe may be."""
    words = [word for word in words_of(text) if word.type != "COMMENT"]
    ends = set(statement_ends(words))
    top: list[Item] = []
    open_: list[tuple[list[Item], Item | None]] = []  # the items around each open block, and its statement
    items, current = top, list[Token]()
    for index, word in enumerate(words):
        if word.type == "LBRACE":
            item = Item(current, word.end, []) if current and len(open_) < DEEPEST else None
            if item:
                items.append(item)
            open_.append((items, item))
            items, current = (item.block or [] if item else []), []
            if item:
                item.block = items
        elif word.type == "RBRACE":
            _finish(items, current)
            current = []
            if open_:
                items, item = open_.pop()
                if item:
                    item.end = word.end
        elif index in ends:
            _finish(items, current)
            current = []
        elif word.text != "\n":
            current.append(word)
    _finish(items, current)
    for _, item in open_:
        if item:
            item.end = len(text)
    return tuple(top)


def _finish(items: list[Item], words: list[Token]) -> None:
    if words:
        items.append(Item(list(words), words[-1].end))


def scope_at(items: Sequence[Item], offset: int) -> Scope:
    """The names that may be used at an offset.

    Names of a variant end with its block; those that `keep` gives in a repeated block do not. A `let` holds in its
    block, from the line after it.
    """
    scope = Scope()
    restricted = _gather(items, offset, scope)
    return Scope(scope.names, restricted)


def _gather(items: Sequence[Item], offset: int, scope: Scope) -> bool:
    """Add the names that are given before an offset; whether a statement among them may restrict the network."""
    restricted = False
    for item in items:
        if item.start >= offset:
            break
        verb = item.verb
        inside = item.block is not None and offset <= item.end
        given = list(item.given())
        if item.end <= offset or inside:
            for sort, name in given:
                if sort != "parameter" or inside or item.words[0].type == "LET":
                    _add(scope, sort, name)
        restricted = restricted or (verb is not None and verb.restricts and item.end <= offset)
        if inside:
            return _gather(item.block or (), offset, scope) or restricted
        if item.block and not any(sort == "variant" for sort, _ in given):
            inner = Scope()
            restricted = _gather(item.block, offset, inner) or restricted
            for sort in ("state", "model", "data", "variant"):
                for name in inner.names.get(sort, {}).values():
                    _add(scope, sort, name)
    return restricted


def _add(scope: Scope, sort: str, name: Token) -> None:
    names = scope.names.setdefault(sort, {})
    names.pop(name.text, None)
    names[name.text] = name
