"""Mistakes with brackets: one that is never closed, reported where it opens, and one that closes nothing."""

from __future__ import annotations

from recipelang.syntax.grammar import CLOSING, OPENING, Token
from recipelang.syntax.place import RESERVED_TYPES, Mistake, Place, unfinished

SIGNS = {"LPAR": "(", "LSQB": "[", "LBRACE": "{", "RPAR": ")", "RSQB": "]", "RBRACE": "}"}


def unclosed(place: Place) -> Mistake | None:
    """A bracket that is never closed, reported at the bracket."""
    word = place.word
    if not place.open:
        return None
    bracket = place.open[-1]
    if place.inside == "LBRACE":
        if word.type != "$END" or (place.before and unfinished(place.before)):
            return None
        bracket = _unclosed_brace(place)
        blank = ((bracket.start, bracket.end),)
    else:
        new_line = place.words[place.index - 1].text == "\n" and place.after.type != "EQUAL"
        clause = word.type in RESERVED_TYPES and place.after.type not in ("COMMA", "RPAR", "RSQB")
        stops = new_line or place.ends or word.type == "LBRACE"
        if not (stops or clause):
            return None
        blank = ((place.broken()[0], word.start),) if stops else (place.line(),)
    sign = bracket.text
    closing = SIGNS[OPENING[bracket.type]]
    return Mistake("RCP0105", f"this `{sign}` is not closed", f"close it with `{closing}`", bracket.span, blank)


def _unclosed_brace(place: Place) -> Token:
    """The open brace inside which a less indented `}` closed another, if there is one; else the innermost."""
    lines = place.text.split("\n")

    def indent(word: Token) -> int:
        line = lines[word.line - 1]
        return len(line) - len(line.lstrip())

    stack: list[Token] = []
    for word in place.words:
        if word.type == "LBRACE":
            stack.append(word)
        elif word.type == "RBRACE" and stack:
            opening = stack.pop()
            if stack and indent(word) < indent(opening) and lines[word.line - 1].lstrip().startswith("}"):
                return opening
    return place.open[-1]


def stray(place: Place) -> Mistake | None:
    """A closing bracket without its opening."""
    word = place.word
    if word.type not in CLOSING or place.inside == CLOSING[word.type]:
        return None
    blank = ((word.start, word.end),)
    if not place.open or place.inside == "LBRACE":
        what, help_ = (
            f"this `{word.text}` closes nothing",
            f"remove it, or write `{SIGNS[CLOSING[word.type]]}` before it",
        )
        return Mistake("RCP0106", what, help_, word.span, blank)
    opening = place.open[-1]
    what = f"`{word.text}` does not close the `{opening.text}` in column {opening.column}"
    return Mistake("RCP0106", what, f"write `{SIGNS[OPENING[opening.type]]}`", word.span)


def matching_brace(place: Place) -> tuple[tuple[int, int], ...]:
    """The brace at the place and the one that closes it."""
    depth = 0
    for word in place.words[place.index :]:
        depth += (word.type == "LBRACE") - (word.type == "RBRACE")
        if not depth:
            return ((place.word.start, place.word.end), (word.start, word.end))
    return ((place.word.start, place.word.end),)
