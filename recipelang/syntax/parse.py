"""Text → tree: `read` gives the readable statements and the syntax errors of the others; `parse` accepts no errors.

    text ──lalr──▶ parse tree ──build──▶ nodes (syntax/nodes.py)

After an error the broken statement is blanked and the rest is read again, so that one error does not hide another.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from recipelang import units
from recipelang.errors import Diagnostic, RecipeError, Span
from recipelang.syntax import nodes
from recipelang.syntax.grammar import Token
from recipelang.syntax.lalr import Parsed, Tree, Unexpected, tree_of

#: a recipe is read by people; a longer text is not a recipe
LONGEST = 200_000
#: after this many errors, or this many characters read again because of them, the rest is left for the next check
MOST_ERRORS, MOST_READ = 20, 400_000
#: no number of a recipe has more digits than this
MOST_DIGITS = 15


def parse(text: str, path: str = "") -> nodes.Recipe:
    """Read a recipe that has no syntax error.

    Args:
        text: the recipe; a byte order mark and Windows line ends are accepted.
        path: where it came from, for messages.

    Raises:
        RecipeError: with every syntax error of the text, in order.
    """
    recipe, errors = read(text, path)
    if errors:
        raise RecipeError(errors, text)
    return recipe


def read(text: str, path: str = "") -> tuple[nodes.Recipe, tuple[Diagnostic, ...]]:
    """The statements that can be read, and every syntax error of the others, in order; arguments as for `parse`.

    A statement whose head is wrong and whose block is not keeps the block, under the verb `nodes.UNREADABLE`.
    """
    lines = text.split("\n")
    whole = Span(0, len(text), 1, 1, len(lines), len(lines[-1]) + 1)
    if len(text) > LONGEST:
        what = f"this recipe has {len(text)} characters; a recipe has at most {LONGEST}"
        help_ = "split it, or check whether this file is a recipe"
        wrong = Diagnostic("RCP0118", what, whole, help_, path)
        return nodes.Recipe(nodes.Block((), whole), text, path, text), (wrong,)
    tree, errors, unread = _read(text, path)
    items: list[nodes.Item] = []
    for parsed in _trees(tree):
        too_large = _numbers(parsed, path) if len(errors) < MOST_ERRORS else []
        errors += too_large
        if too_large:
            unread += f"\n{text[parsed.span.start : parsed.span.end]}"
        else:
            items.append(_build(parsed))
    errors.sort(key=lambda d: d.span or whole)
    return nodes.Recipe(nodes.Block(tuple(items), whole), text, path, unread), tuple(errors)


def _read(text: str, path: str) -> tuple[Tree, list[Diagnostic], str]:
    """The parse tree of what could be read, the errors of what could not, and its text."""
    errors: list[Diagnostic] = []
    rest = " " + text[1:] if text.startswith("\ufeff") else text
    while True:
        try:
            return tree_of(rest), errors, _without(text, rest) if errors else ""
        except Unexpected as error:
            from recipelang.syntax.mistakes import explain  # only a wrong recipe needs it

            diagnostic, blanked = explain(rest, error, path)
            errors.append(diagnostic)
            if blanked == rest or len(errors) >= min(MOST_ERRORS, MOST_READ / len(text)):
                return Tree("recipe", []), errors, text
            rest = blanked


def _without(text: str, rest: str) -> str:
    """What was blanked in the rest of a text, at its place."""
    return "".join(c if c != left or c.isspace() else " " for c, left in zip(text, rest, strict=True))


def _numbers(tree: Tree, path: str) -> list[Diagnostic]:
    """Errors of the numbers that have too many digits or are too large."""
    found = []
    for token in tree.words():
        if token.type not in ("NUMBER", "PATTERN", "RANGE"):
            continue
        digits = max(len(run) for run in re.findall("[0-9]+", token.text))
        if digits > MOST_DIGITS or (token.type == "NUMBER" and not math.isfinite(_number(token).quantity.number)):
            shown = token.text if len(token.text) <= 24 else f"{token.text[:20]}…"
            found.append(
                Diagnostic("RCP0109", f"`{shown}` is too large a number", token.span, "write fewer digits", path)
            )
    return found


# ── parse tree → nodes: one function a rule ─────────────────────────────────────────────────────────────


def _name(token: Token) -> nodes.Name:
    return nodes.Name(token.text, token.span)


def _build(parsed: Parsed) -> Any:
    """The node of a token or tree."""
    if isinstance(parsed, Token):
        return TOKENS[parsed.type](parsed)
    return RULES[parsed.data](parsed)


def _builds(parsed: Sequence[Parsed]) -> tuple[Any, ...]:
    """The nodes of all children; what joins them (`and`, `or`) is dropped."""
    return tuple(_build(p) for p in parsed if not (isinstance(p, Token) and p.type in ("AND", "OR")))


def _number(token: Token) -> nodes.Number:
    return nodes.Number(units.parse_quantity(token.text), units.spelt(token.text), token.span)


def _pattern(token: Token) -> nodes.Pattern:
    separator = ":" if ":" in token.text else "x"
    return nodes.Pattern(tuple(int(n) for n in token.text.split(separator)), separator, token.span)


def _range(token: Token) -> nodes.Range:
    first, last = token.text.split("..")
    return nodes.Range(int(first), int(last), token.span)


def _call(tree: Tree) -> nodes.Call:
    path = tuple(_name(t) for t in tree.children if isinstance(t, Token))
    settings = next((t for t in tree.children if isinstance(t, Tree)), None)
    arguments = _builds(settings.children) if settings else ()
    return nodes.Call(path, arguments, settings is not None, tree.span)


def _argument(tree: Tree) -> nodes.Argument:
    *key, value = tree.children
    return nodes.Argument(_name(key[0]) if key else None, _build(value), tree.span)  # type: ignore[arg-type]


def _compare(tree: Tree) -> nodes.Compare:
    left, operator, right = tree.children
    assert isinstance(operator, Token)
    return nodes.Compare(_build(left), operator.text, _build(right), tree.span, operator.span)


def _clause(tree: Tree) -> nodes.Clause:
    word, *arguments = tree.children
    name = _name(word)  # type: ignore[arg-type]
    if name.text == "as":
        target = _name(arguments[0])  # type: ignore[arg-type]
        return nodes.Clause(name, (nodes.Call((target,), (), False, target.span),), tree.span)
    return nodes.Clause(name, _builds(arguments), tree.span)


def _trees(tree: Tree) -> list[Tree]:
    """The statements of a file or block."""
    return [t for t in tree.children if isinstance(t, Tree)]


def _let(tree: Tree) -> nodes.Let:
    _, name, value = tree.children
    return nodes.Let(_name(name), _build(value), tree.span)  # type: ignore[arg-type]


def _statement(tree: Tree) -> nodes.Statement:
    verb, *rest = tree.children
    parts = {data: [t for t in rest if t.data == data] for data in ("operands", "clause", "block")}  # type: ignore[union-attr]
    return nodes.Statement(
        verb=_name(verb),  # type: ignore[arg-type]
        operands=_builds(parts["operands"][0].children) if parts["operands"] else (),  # type: ignore[union-attr]
        clauses=_builds(parts["clause"]),
        block=_build(parts["block"][0]) if parts["block"] else None,
        span=tree.span,
    )


TOKENS: dict[str, Callable[[Token], Any]] = {
    "NUMBER": _number,
    "PATTERN": _pattern,
    "RANGE": _range,
    "STRING": lambda t: nodes.String(t.text[1:-1], t.span),
    "PARAMETER": lambda t: nodes.Parameter(t.text[1:], t.span),
}
RULES: dict[str, Callable[[Tree], Any]] = {
    "block": lambda t: nodes.Block(_builds(_trees(t)), t.span),
    "let": _let,
    "statement": _statement,
    "clause": _clause,
    "any": lambda t: nodes.AnyOf(_builds(t.children), t.span),
    "all": lambda t: nodes.AllOf(_builds(t.children), t.span),
    "compare": _compare,
    "words": lambda t: nodes.Words(_builds(t.children), t.span),
    "sum": lambda t: nodes.Sum(_builds(t.children), t.span),
    "product": lambda t: nodes.Product(_builds(t.children), t.span),
    "list": lambda t: nodes.List(_builds(t.children), t.span),
    "call": _call,
    "argument": _argument,
}
