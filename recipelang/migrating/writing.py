"""Statements and notes become the text of a recipe, which `recipe check` accepts."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from recipelang.check import check
from recipelang.errors import RecipeError
from recipelang.migrating.finding import Note, Statement
from recipelang.syntax.format import format as formatted
from recipelang.syntax.parse import read

WIDTH = 100
#: words that begin a clause, before which a long statement is broken
_CLAUSES = ("by", "over", "for", "with", "in", "except", "on")


def accepted(statements: Iterable[Statement], notes: list[Note]) -> list[Statement]:
    """The statements, without those that `check` refuses: they become comments, and notes say why.

    What each item of a file means is translated alone, and two of them may contradict each other here: a second pruning
    to fewer zeros than the first left, for example.
    """
    found = list(statements)
    while True:
        text, owners = _numbered(found)
        tree, mistakes = read(text)
        try:
            check(tree, profile={}, sets={}, read=lambda path: "", mistakes=mistakes)
            return found
        except RecipeError as error:
            wrong = {owners[d.span.line]: d for d in reversed(error.diagnostics) if d.span and d.span.line in owners}
        if not wrong:  # a mistake without a statement: nothing can be kept
            return [_without(one) for one in found]
        for number, diagnostic in wrong.items():
            statement = found[number]
            line = statement.lines[0] if statement.lines else 0
            why = f"here `recipe check` refuses it: {diagnostic.message}"
            notes.append(Note(line, "missing", statement.text, why, diagnostic.help))
            found[number] = _without(statement)


def _without(statement: Statement) -> Statement:
    return statement if statement.text.startswith("#") else Statement(f"# {statement.text}", statement.lines)


def _numbered(statements: Sequence[Statement]) -> tuple[str, dict[int, int]]:
    """The statements one a line, and line → number of its statement."""
    shown = [(number, one.text) for number, one in enumerate(statements) if not one.text.startswith("#")]
    return "\n".join(text for _, text in shown) + "\n", {line: number for line, (number, _) in enumerate(shown, 1)}


def recipe(title: str, statements: Sequence[Statement], notes: Iterable[Note]) -> str:
    """The text of a recipe: what is to be known first, then each statement below the lines that it comes from."""
    lines = [f"# {''.join(letter if letter.isprintable() else ' ' for letter in title)}"]
    for note in notes:
        place = f"line {note.line}, " if note.line else ""
        lines += _wrapped(f"{place}{note.told()}")
    for statement in statements:
        told = ", ".join(map(str, statement.lines[:6])) + (", …" if len(statement.lines) > 6 else "")
        named = [line for line in statement.lines if line]
        lines += ["", f"# line{'s' if len(named) > 1 else ''} {told}"] if named else [""]
        lines += [statement.text] if statement.text.startswith("#") else broken(statement.text)
    if all(statement.text.startswith("#") for statement in statements):
        lines += ["", "# nothing of the file is translated", "measure top1, latency, params"]
    return formatted("\n".join(lines) + "\n")


def _wrapped(text: str) -> list[str]:
    """A comment of several lines."""
    return textwrap.wrap(
        text, WIDTH, initial_indent="# - ", subsequent_indent="#   ", break_long_words=False, break_on_hyphens=False
    )


def broken(text: str) -> list[str]:
    """A statement in lines of at most `WIDTH` letters, where its clauses allow that; each begins with a clause."""
    clauses: list[list[str]] = [[]]
    depth, quoted = 0, False
    for word in text.split(" "):
        if depth == 0 and not quoted and word in _CLAUSES and clauses[-1]:
            clauses.append([])
        clauses[-1].append(word)
        depth += word.count("(") - word.count(")")
        quoted ^= word.count('"') % 2 == 1
    lines = [""]
    for clause in clauses:
        words = " ".join(clause)
        if lines[-1] and len(lines[-1]) + 1 + len(words) > WIDTH:
            lines.append(f"  {words}")
        else:
            lines[-1] = f"{lines[-1]} {words}".lstrip() if len(lines) == 1 else f"{lines[-1]} {words}"
    return lines
