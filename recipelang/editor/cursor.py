"""Where a place in a text is: in which statement, clause, call and setting, and which words may follow there.

Only the words before the place count, so that a statement that is half typed has a place too, whatever follows it.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from recipelang.syntax.grammar import CLAUSES, CLOSING, DEEPEST, OPENING, RESERVED, Token, scan
from recipelang.syntax.lalr import END, accepted
from recipelang.syntax.place import Place

#: terminals of words that are typed letter by letter; a string is one too, its letters are module names or files
_TYPED = frozenset(("NAME", "PARAMETER", "STRING", *(word.upper() for word in RESERVED)))
_UNIT = re.compile(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]+)")


@dataclass(frozen=True)
class Call:
    """A call that is open at the place: `sgd(lr=0.1, mo|`.

    Attributes:
        path: the words of its name: `torchvision`, `resnet18`.
        given: the settings that are given before the place, in order; None for one without a name.
        setting: the setting whose value the place is in; "" where a name may be typed as well.
        outside: the place of its name.
    """

    path: tuple[str, ...]
    given: tuple[str | None, ...]
    setting: str
    outside: Cursor


@dataclass(frozen=True)
class Cursor:
    """A place in a text.

    Attributes:
        text: the text.
        offset: the place.
        typed: the word that ends at the place or contains it; None between words.
        words: the words before that word, without comments.
    """

    text: str
    offset: int
    typed: Token | None
    words: tuple[Token, ...]

    @property
    def start(self) -> int:
        """Where the word at the place begins, or would begin."""
        return self.typed.start if self.typed else self.offset

    @property
    def prefix(self) -> str:
        """What is typed of the word up to the place."""
        return self.text[self.start : self.offset]

    @cached_property
    def _place(self) -> Place:
        end = Token(END, "", self.start, self.start, 0, 0)
        return Place(self.text, (*self.words, end), len(self.words), frozenset())

    @cached_property
    def statement(self) -> tuple[Token, ...]:
        """The words of the statement before the place, without line ends; none where a statement may begin."""
        return tuple(word for word in self._place.statement if word.text != "\n")

    @cached_property
    def above(self) -> Cursor | None:
        """The end of the statement above, where a line that begins here may continue it; None elsewhere."""
        if self.statement or not self.words or self.words[-1].text != "\n":
            return None
        words = self.words
        while words and words[-1].text == "\n":
            words = words[:-1]
        ended = not words or words[-1].type in ("_END", "RBRACE", "LBRACE")
        return None if ended else Cursor(self.text, self.offset, self.typed, words)

    @property
    def verb(self) -> str:
        """The verb of the statement; `let` for one; "" where none is typed yet."""
        return self.statement[0].text if self.statement and self.statement[0].type in ("NAME", "LET") else ""

    @property
    def clause(self) -> str:
        """The clause word that the place belongs to; "" among the operands."""
        return self._place.clause

    @property
    def clauses(self) -> tuple[str, ...]:
        """The clause words of the statement before the place."""
        return tuple(word.text for word in _outside(self.statement) if word.text in CLAUSES)

    @property
    def part(self) -> tuple[Token, ...]:
        """The words of the item that the place is in: those since the verb, a clause word, a comma, `and`, `or`, `=`
        or the innermost open bracket."""
        opened = _opened(self.statement)
        first = opened[-1] + 1 if opened else 1
        ends = [first]
        depth = 0
        for index, word in enumerate(self.statement[first:], first):
            depth -= word.type in CLOSING
            if not depth and (word.text in RESERVED or word.type in ("COMMA", "EQUAL")):
                ends.append(index + 1)
            depth += word.type in OPENING
        return self.statement[ends[-1] :]

    @cached_property
    def accepts(self) -> frozenset[str]:
        """The terminals that may follow here; none where the statement has a mistake before the place."""
        return accepted(self.statement)

    @cached_property
    def call(self) -> Call | None:
        """The innermost call that is open here; None in deeper brackets than a recipe may have."""
        opened = _opened(self.statement)
        for index in reversed(opened) if len(opened) <= DEEPEST else ():
            name = _name_before(self.statement, index)
            if name:
                given, setting = _settings(self.statement[index + 1 :])
                return Call(name, given, setting, self._before(self.statement[index - 2 * len(name) + 1]))
        return None

    def _before(self, word: Token) -> Cursor:
        """The place before a word of the statement."""
        return Cursor(self.text, word.start, None, tuple(w for w in self.words if w.start < word.start))

    @property
    def before(self) -> Token | None:
        """The word before the place in the statement."""
        return self.statement[-1] if self.statement else None

    @property
    def path(self) -> tuple[str, ...]:
        """The words before a dot that the place follows: `torchvision.|`; () elsewhere."""
        return _dotted(self.statement) if self.before and self.before.type == "DOT" else ()


@lru_cache(maxsize=4)
def words_of(text: str) -> tuple[Token, ...]:
    """Every word of a text, comments and line ends included: scanned once for all questions about it."""
    return tuple(scan(text))


def cursor(text: str, offset: int, *, within: bool = False) -> Cursor:
    """The place of an offset.

    Args:
        text: the text, right or not.
        offset: a number of characters.
        within: whether a word that the offset only touches at its start counts as typed; then the place is about it.
    """
    every = words_of(text)
    words = list(every[: bisect_left(every, offset + within, key=lambda word: word.start)])
    if len(words) > 1 and words[-1].start == offset == words[-2].end and words[-1].type not in _TYPED:
        words.pop()  # `sgd|(`: about the word, not about the sign after it
    last = words[-1] if words else None
    if last and last.type == "STRAY" and last.end == offset and (begun := _UNIT.fullmatch(last.text)):
        middle = last.start + begun.end(1)  # `12m`: a number and a unit that is half typed
        unit = last._replace(type="NAME", text=begun[2], start=middle, column=last.column + begun.end(1))
        words[-1:] = [last._replace(type="NUMBER", text=begun[1], end=middle), unit]
        last = unit
    if last and last.type == "COMMENT" and last.start < offset <= last.end:
        return Cursor(text, offset, last, ())
    touches = last is not None and last.start <= offset <= last.end
    typed = last if last and touches and (within or last.type in _TYPED or _unclosed(last)) else None
    if typed is not None and typed.text == "\n":
        typed = None
    before = words[:-1] if typed else words
    return Cursor(text, offset, typed, tuple(word for word in before if word.type != "COMMENT"))


def in_comment(place: Cursor) -> bool:
    """Whether the place is in a comment, where nothing may be said."""
    return place.typed is not None and place.typed.type == "COMMENT"


def _unclosed(word: Token) -> bool:
    """Whether it begins a quote or a parameter of which no more is typed."""
    return word.type == "STRAY" and word.text[0] in '"$'


def _outside(words: Sequence[Token]) -> Iterator[Token]:
    """The words outside round and square brackets."""
    depth = 0
    for word in words:
        if word.type in CLOSING:
            depth -= 1
        if not depth:
            yield word
        if word.type in OPENING:
            depth += 1


def _opened(words: Sequence[Token]) -> list[int]:
    """The indexes of the round and square brackets that are open at the end, outermost first."""
    stack: list[int] = []
    for index, word in enumerate(words):
        if word.type in OPENING:
            stack.append(index)
        elif word.type in CLOSING and stack:
            stack.pop()
    return stack


def _name_before(words: Sequence[Token], index: int) -> tuple[str, ...]:
    """The dotted name before an open bracket; () where the bracket groups or lists."""
    if words[index].type != "LPAR" or index < 2 or words[index - 1].type != "NAME":
        return ()  # a verb has no settings
    return (*_dotted(words[: index - 1]), words[index - 1].text)


def _dotted(words: Sequence[Token]) -> tuple[str, ...]:
    """The names before a dot at the end of the words."""
    names: list[str] = []
    index = len(words) - 1
    while index > 0 and words[index].type == "DOT" and words[index - 1].type == "NAME":
        names.insert(0, words[index - 1].text)
        index -= 2
    return tuple(names)


def _settings(inside: Sequence[Token]) -> tuple[tuple[str | None, ...], str]:
    """The settings given between a bracket and the place, and the one whose value the place is in."""
    opened = _opened(inside)
    arguments: list[list[Token]] = [[]]
    for word in _outside(inside[: opened[0]] if opened else inside):
        if word.type == "COMMA":
            arguments.append([])
        else:
            arguments[-1].append(word)
    names = [words[0].text if len(words) > 1 and words[1].type == "EQUAL" else None for words in arguments]
    return tuple(names[:-1]), names[-1] or ""
