"""Errors are values: the place (Span), and what is wrong and what to do (Diagnostic).

A diagnostic is made in any room and printed in one place. Two exceptions carry them:

    RecipeError   the recipe is wrong (exit 1), or a step of it failed (StepFailed, exit 3)
    Refusal       a room that knows no line of the recipe (surgery, data, a method) cannot do what is
                  asked; the caller that knows the line makes a diagnostic of it with `Refusal.at(span)`
"""

from __future__ import annotations

import os.path
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, order=True)
class Span:
    """A stretch of a recipe's text. Offsets count characters from 0; lines and columns from 1.

    `typed` is the text that it points into where that is an option of the command line and not a file: `--set lr=0.1`.
    """

    start: int
    end: int
    line: int
    column: int
    end_line: int
    end_column: int
    typed: str = ""

    def to(self, other: Span) -> Span:
        """The stretch from the start of this span to the end of `other`."""
        return Span(self.start, other.end, self.line, self.column, other.end_line, other.end_column, self.typed)

    def seen_from(self, other: Span) -> str:
        """Where this span begins, in words for a message about `other`: `line 3`, or `column 7` of the same line."""
        return self.at(other).split(" ", 1)[1]

    def at(self, other: Span) -> str:
        """The same with its preposition: `on line 3`, `in column 7`."""
        return f"in column {self.column}" if self.line == other.line else f"on line {self.line}"


def line_of(span: Span | None) -> int:
    """The line of a recipe on which a span begins; 0 where it is not in a recipe."""
    return span.line if span and not span.typed else 0


#: the path of what was typed and is not in a file
COMMAND_LINE = "<command line>"
#: the same of a call from Python
ARGUMENTS = "<arguments>"


def typed(text: str, start: int = 0, end: int | None = None) -> Span:
    """The span of a stretch of an option of the command line, by default of all of it."""
    end = len(text) if end is None else end
    return Span(start, end, 1, start + 1, 1, end + 1, text)


@dataclass(frozen=True)
class Diagnostic:
    """One thing that is wrong: a stable code, what it is, where, and what to write instead."""

    code: str
    message: str
    span: Span | None = None
    help: str = ""
    path: str = ""
    severity: str = "error"

    @property
    def where(self) -> str:
        """The path of the text that the span points into; "" where it is not known."""
        if self.span and self.span.typed:
            return COMMAND_LINE if self.span.typed.startswith("--") else ARGUMENTS
        return self.path

    def json(self) -> dict[str, object]:
        """The diagnostic as JSON values; positions are 1-based, offsets count characters from 0."""
        place = None
        if self.span:
            s = self.span
            place = {
                "line": s.line,
                "column": s.column,
                "end_line": s.end_line,
                "end_column": s.end_column,
                "start": s.start,
                "end": s.end,
            }
        return {
            "code": self.code,
            "severity": self.severity,
            "message": shortened(self.message),
            "help": shortened(self.help),
            "path": self.where,
            "span": place,
        }


class RecipeError(Exception):
    """The recipe is wrong, or could not be carried out. Carries every diagnostic that was found, in the order of the
    text.

    Attributes:
        diagnostics: each with its code, message, place and help.
        text: of the recipe.
        exit_code: that of the command line: 1 the recipe is wrong, 2 an argument is, 3 a step failed, 4 an `expect` was
            not met.
        told: every diagnostic with its line and a caret, where whoever raises it knows the lines; it is printed then.
        result: the `Result` of a run that wrote its report before it failed; else None.
    """

    exit_code = 1

    def __init__(self, diagnostics: Iterable[Diagnostic], text: str = "") -> None:
        self.diagnostics = tuple(diagnostics)
        self.text = text
        self.told = ""
        self.result: Any = None
        Exception.__init__(self, "; ".join(d.message for d in self.diagnostics))  # not that of `Refused`'s other base

    def __str__(self) -> str:
        return self.told or Exception.__str__(self)

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the diagnostics where there are lines, and no traceback of this package."""
        return [str(self).strip()]


class StepFailed(RecipeError):
    """A step of a correct recipe could not be done: budget out of reach, missing file, NaN loss, full disk."""

    exit_code = 3


class ExpectationFailed(RecipeError):
    """The run is done, and an `expect` of the recipe does not hold, or could not be decided."""

    exit_code = 4


class MachineFailed(StepFailed):
    """The machine refused a file operation; every other variant would fail too, so the whole run stops."""


class Refusal(Exception):
    """What was asked cannot be done; raised by a room that does not know the line of the recipe.

    Args:
        code: stable code, `RCP` and four digits; explained by `recipe explain CODE`.
        message: what is wrong, in one sentence, naming the offending value.
        help: what to do about it.
        span: the word of the statement that is wrong, where it is known; default the statement.
    """

    def __init__(self, code: str, message: str, help: str = "", span: Span | None = None) -> None:
        self.code, self.message, self.help, self.span = code, message, help, span
        super().__init__(message)

    def at(self, span: Span | None, path: str = "") -> Diagnostic:
        """The same refusal as a diagnostic at a statement of a recipe: at its own word, if it has one."""
        return Diagnostic(self.code, self.message, (span and self.span) or span, self.help, path)


class Refused(StepFailed, Refusal):
    """A refusal as callers from Python get it: with a diagnostic, like everything else that they catch."""

    def __init__(self, refusal: Refusal) -> None:
        StepFailed.__init__(self, [refusal.at(None)])
        self.code, self.message, self.help, self.span = refusal.code, refusal.message, refusal.help, refusal.span


class SettingError(ValueError):
    """A setting of a method has an impossible value; raised by `__post_init__`, placed by the checker."""

    def __init__(self, field: str, message: str, help: str = "") -> None:
        self.field, self.message, self.help = field, message, help
        super().__init__(message)


#: the longest part of a line that a message shows, and the longest word that it quotes
WIDEST, LONGEST_QUOTE = 120, 400


def render(diagnostic: Diagnostic, text: str, *, colour: bool = False) -> str:
    """The diagnostic as the user reads it: message, place, the line with a caret, help.

    Args:
        diagnostic: what to print.
        text: the recipe that the span points into; "" prints no line.
        colour: whether to use ANSI colours.
    """
    red, blue, bold, off = ("\x1b[31;1m", "\x1b[34;1m", "\x1b[1m", "\x1b[0m") if colour else ("", "", "", "")
    lines = [
        f"{red}{diagnostic.severity}[{diagnostic.code}]{off}{bold}: {_printable(shortened(diagnostic.message))}{off}"
    ]
    span, gutter = diagnostic.span, ""
    if span:
        gutter = " " * len(str(span.line))
        lines.append(f"{gutter}{blue}-->{off} {diagnostic.where or 'recipe'}:{span.line}:{span.column}")
        text = span.typed or text
        source = text.split("\n")
        if text and span.line <= len(source):
            shown, before, carets = _excerpt(source[span.line - 1], span)
            lines += [
                f"{gutter} {blue}|{off}",
                f"{blue}{span.line} |{off} {shown}",
                f"{gutter} {blue}|{off} {before}{red}{'^' * carets}{off}",
            ]
    elif diagnostic.path:
        lines.append(f" {blue}-->{off} {diagnostic.path}")
    if diagnostic.help:
        lines.append(f"{gutter} {blue}={off} help: {_printable(shortened(diagnostic.help))}")
    return "\n".join(lines)


def _excerpt(line: str, span: Span) -> tuple[str, str, int]:
    """What a message shows of a line, the blanks before the caret, and how many carets there are."""
    line = line.rstrip()
    start = span.column - 1
    end = span.end_column - 1 if span.end_line == span.line else len(line)
    head = tail = ""
    if len(line) > WIDEST + 1:  # an ellipsis takes a column itself
        first = max(0, min(start - WIDEST // 2, len(line) - WIDEST))
        head, tail = "…" if first else "", "…" if first + WIDEST < len(line) else ""
        line, start, end = line[first : first + WIDEST], start - first, min(end - first, WIDEST)
    line = _printable(line)
    # A tab before the caret stays a tab and a wide letter takes two blanks, so that the caret is under its word.
    before = "".join("\t" if c == "\t" else " " * _width(c) for c in head + line[:start])
    return f"{head}{line}{tail}", before, max(1, sum(_width(c) for c in line[start:end]))


def shortened(message: str) -> str:
    """A message whose quoted words are cut in the middle where they are too long to read."""
    if len(message) <= LONGEST_QUOTE:
        return message
    half = LONGEST_QUOTE // 2
    return re.sub(rf"`([^`]{{{half}}})[^`]{{{half},}}([^`]{{{half // 4}}})`", r"`\1…\2`", message)


def _printable(text: str) -> str:
    """The text without terminal control sequences: a recipe may come from anywhere."""
    return "".join(c if c.isprintable() or c in "\t\n" or unicodedata.combining(c) else "\ufffd" for c in text)


def _width(character: str) -> int:
    """How many columns of a terminal a letter takes."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


#: longer words are not matched, and of more candidates than this only those with the same first letter are tried
LONGEST_WORD, MOST_NAMES = 64, 200


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate most similar to `word`, if any is similar enough: for did-you-mean."""
    import difflib

    size = len(word)
    if size > LONGEST_WORD:
        return None
    likely = sorted({c for c in candidates if 3 * min(size, len(c)) >= size + len(c) - min(size, len(c))})
    if len(likely) > MOST_NAMES:
        likely = [c for c in likely if c[:1] == word[:1]]
        likely.sort(key=lambda c: -len(os.path.commonprefix((c, word))))
    swapped = next((c for c in likely if sorted(c) == sorted(word)), None)
    if swapped:  # the right letters in a wrong order: `form` is `from` and not `for`
        return swapped
    found = difflib.get_close_matches(word, likely[:MOST_NAMES], n=8, cutoff=0.6)

    def likeness(candidate: str) -> tuple[float, int]:
        """Similarity, then the length of the common start: `resnet2O` is `resnet20` and not `resnet32`."""
        return difflib.SequenceMatcher(None, candidate, word).ratio(), len(os.path.commonprefix((candidate, word)))

    return max(found, key=likeness, default=None)


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """The start of a help line that offers the candidate most similar to `word`; "" where none is similar."""
    close = nearest(word, candidates)
    return f"did you mean `{close}`? " if close else ""
