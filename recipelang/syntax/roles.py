"""What each word of a text is there for: what an editor, a page or a notebook colours.

A role depends on the words around and on no catalogue, so it is right for a half-written recipe, and for a verb or a
method that is not installed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from recipelang.syntax.grammar import RESERVED, Token, scan, statement_ends

_RESERVED_TYPES = frozenset(word.upper() for word in RESERVED)


class Role(StrEnum):
    """What a word is there for."""

    VERB = "verb"  # the first word of a statement
    CLAUSE = "clause"  # `let`, `by`, `until`, `and`, …
    NAME = "name"  # of a method, a metric, a state
    FUNCTION = "function"  # a name with settings in parentheses
    SETTING = "setting"  # before the `=` of a setting
    VARIABLE = "variable"  # the name that `let` defines, and `$name`
    NUMBER = "number"  # with its unit
    PATTERN = "pattern"  # `2:4`, `1x4`
    RANGE = "range"  # `0..4`
    STRING = "string"
    COMPARISON = "comparison"
    OPERATOR = "operator"
    PUNCTUATION = "punctuation"
    COMMENT = "comment"
    STRAY = "stray"  # nothing of the language


_OF_TYPE = {
    "COMMENT": Role.COMMENT,
    "STRING": Role.STRING,
    "PARAMETER": Role.VARIABLE,
    "NUMBER": Role.NUMBER,
    "PATTERN": Role.PATTERN,
    "RANGE": Role.RANGE,
    "COMPARE": Role.COMPARISON,
    "PLUS": Role.OPERATOR,
    "STAR": Role.OPERATOR,
    "EQUAL": Role.OPERATOR,
    "STRAY": Role.STRAY,
}


def roles(text: str) -> Iterator[tuple[Token, Role]]:
    """Every word of a text with its role, comments and line ends included, blanks left out; never fails."""
    tokens = list(scan(text))
    words = [index for index, token in enumerate(tokens) if token.type != "COMMENT"]
    ends = {words[nth] for nth in statement_ends([tokens[index] for index in words])}
    after = dict(zip(words, (tokens[index].type for index in words[1:]), strict=False))
    first, before = True, ""
    for index, token in enumerate(tokens):
        if token.type == "COMMENT":
            yield token, Role.COMMENT
            continue
        yield token, _role(token, before, after.get(index, ""), first)
        if index in ends or token.type in ("LBRACE", "RBRACE"):
            first = True
        elif token.type != "_END":
            first = False
        before = token.type


def _role(token: Token, before: str, after: str, first: bool) -> Role:
    """The role of a word between two others."""
    if token.type in _RESERVED_TYPES:
        return Role.SETTING if after == "EQUAL" else Role.CLAUSE
    if token.type != "NAME":
        return _OF_TYPE.get(token.type, Role.PUNCTUATION)
    if before == "LET":
        return Role.VARIABLE
    if first:
        return Role.VERB
    if after == "EQUAL":
        return Role.SETTING
    return Role.FUNCTION if after == "LPAR" else Role.NAME
