"""The parser: runs the stored LALR(1) tables over the words of a text.

Gives the trees that lark gives, without lark, which takes longer to import than a recipe takes to check. The place of
a tree is that of its own words: brackets around it belong to the tree above.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TypeAlias

from recipelang.errors import Span
from recipelang.syntax.grammar import CLOSING, CONTINUING, DEEPEST, OPENING, Token, scan
from recipelang.syntax.tables import Rule, Tables, tables

END = "$END"
NONE = -(10**6)  # no step: the word does not fit


class Unexpected(Exception):
    """A word that does not fit.

    Attributes:
        word: which; of the type `STRAY` where it is no word of the language.
        accepts: the terminals that would have fitted.
    """

    def __init__(self, word: Token, accepts: frozenset[str] = frozenset()) -> None:
        self.word, self.accepts = word, accepts
        super().__init__(word)


class TooDeep(Unexpected):
    """A bracket that is nested deeper than DEEPEST."""


class Tree:
    """A rule of the grammar with what it was made of.

    Attributes:
        data: the rule's name.
        children: trees and words.
        first, last: its words at both ends; None if it is empty.
        opening, closing: the same with the brackets around it.
    """

    __slots__ = ("children", "closing", "data", "first", "last", "opening")

    def __init__(self, data: str, children: list[Parsed]) -> None:
        self.data, self.children = data, children
        self.first: Token | None = None
        self.last: Token | None = None
        self.opening: Token | None = None
        self.closing: Token | None = None

    @property
    def span(self) -> Span:
        """Its place; only for a tree that is not empty."""
        assert self.first is not None and self.last is not None
        return self.first.span.to(self.last.span)

    def words(self) -> Iterator[Token]:
        """Every word in it, in order."""
        for child in self.children:
            if isinstance(child, Tree):
                yield from child.words()
            else:
                yield child


Parsed: TypeAlias = "Tree | Token"


def tree_of(text: str) -> Tree:
    """The tree of a text.

    Raises:
        Unexpected: a word does not fit, or none begins here.
        TooDeep: brackets are nested too deep.
    """
    lines = text.split("\n")
    end = Token(END, "", len(text), len(text), len(lines), len(lines[-1]) + 1)
    parse, states, values = tables(), [tables().start], list[Parsed]()
    for word in chain(_seen(text), (end,)):
        while (step := parse.states[states[-1]].get(word.type, NONE)) < 0:
            if step == NONE:
                raise Unexpected(word, _accepted(states, parse))
            rule = parse.rules[~step]
            at = len(values) - rule.size
            made = _made(rule, values[at:])
            del states[at + 1 :], values[at:]
            if word is end and parse.states[states[-1]][rule.name] == parse.end:
                assert isinstance(made, Tree)
                return made
            states.append(parse.states[states[-1]][rule.name])
            values.append(made)
        states.append(step)
        values.append(word)
    raise AssertionError("the end of a text completes its tree or is refused")


def _seen(text: str) -> Iterator[Token]:
    """The words that the grammar sees: no comments, and of the line ends only those that end a statement.

    A line end in `()` and `[]`, and before a line that continues the statement, ends none.

    Raises:
        TooDeep: brackets are nested too deep.
        Unexpected: no word of the language begins here.
    """
    open_: list[str] = []
    end: Token | None = None  # a line end that is held back until the next word is known
    for token in scan(text):
        if token.type == "COMMENT":
            continue
        if token.type == "STRAY":
            raise Unexpected(token)
        if token.text == "\n":
            end = token if not open_ or open_[-1] == "LBRACE" else None
            continue
        if end is not None and token.type not in CONTINUING:
            yield end
        end = None
        if token.type in OPENING:
            open_.append(token.type)
            if len(open_) > DEEPEST:
                raise TooDeep(token)
        elif token.type in CLOSING and open_:
            open_.pop()
        yield token
    if end is not None:
        yield end


def _made(rule: Rule, taken: list[Parsed]) -> Parsed:
    """What a rule makes of its children."""
    children: list[Parsed] = []
    for index in rule.kept:
        child = taken[index]
        if isinstance(child, Tree) and child.data.startswith("_"):
            children += child.children
        else:
            children.append(child)
    made = children[0] if rule.only and len(children) == 1 else Tree(rule.name, children)
    if isinstance(made, Tree):
        _place(made, taken)
    return made


def _place(tree: Tree, taken: list[Parsed]) -> None:
    """The words at both ends, of the children that were taken: brackets count, though they are not kept."""
    for child in taken:
        if first := child.opening if isinstance(child, Tree) else child:
            tree.first, tree.opening = tree.first or first, first
            break
    for child in reversed(taken):
        if last := child.closing if isinstance(child, Tree) else child:
            tree.last, tree.closing = tree.last or last, last
            break


def accepted(words: Iterable[Token]) -> frozenset[str]:
    """The terminals that may follow these words, with which a text begins; none where the words themselves do not fit.

    Args:
        words: as the grammar sees them: no comments, and no line ends but those that end a statement.
    """
    parse, states = tables(), [tables().start]
    for word in words:
        while (step := parse.states[states[-1]].get(word.type, NONE)) < 0:
            if step == NONE:
                return frozenset()
            rule = parse.rules[~step]
            del states[len(states) - rule.size :]
            states.append(parse.states[states[-1]][rule.name])
        states.append(step)
    return _accepted(states, parse)


def _accepted(states: list[int], parse: Tables) -> frozenset[str]:
    """The terminals that can be read here, after every rule that they complete."""
    return frozenset(word for word in parse.states[states[-1]] if word.isupper() and _fits(word, states, parse))


def _fits(word: str, states: list[int], parse: Tables) -> bool:
    """Whether a word can be read in these states."""
    stack = list(states)
    while (step := parse.states[stack[-1]].get(word, NONE)) < 0:
        if step == NONE:
            return False
        rule = parse.rules[~step]
        del stack[len(stack) - rule.size :]
        stack.append(parse.states[stack[-1]][rule.name])
        if word == END and stack[-1] == parse.end:
            return True
    return True
