"""A variable of the notebook as a value of a recipe."""

from __future__ import annotations

import math
import numbers
import re
from os import PathLike, fspath
from typing import Any

from recipelang.errors import Refusal
from recipelang.syntax.grammar import scan
from recipelang.syntax.parse import MOST_DIGITS

_QUANTITIES = ("NUMBER", "PATTERN", "RANGE")


def literal(name: str, value: Any) -> str:
    """The text of a value, which reads back as the same value: `1e-05`, `"photos"`, `[1, 2]`, `true`.

    Args:
        name: of the variable, for the message.
        value: a number, a truth value, text, a path, or a list or tuple of these; scalars of numpy as well. Text that
            is a quantity, `2 epochs` or `70%`, or a pattern, `2:4`, is that; a number has at most 15 digits.

    Raises:
        Refusal: RCP1250: a recipe has no such value.
    """
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        return "true" if value else "false"
    if isinstance(value, numbers.Integral | numbers.Real):
        number = int(value) if isinstance(value, numbers.Integral) else float(value)
        if not math.isfinite(number) or number < 0:
            raise _refusal(name, f"is {number}", "numbers of a recipe are finite, and not below 0")
        return _digits(number)
    if isinstance(value, str | PathLike):
        return _quoted(name, fspath(value))
    if isinstance(value, list | tuple):
        return f"[{', '.join(literal(name, inner) for inner in value)}]"
    kind = type(value).__name__
    raise _refusal(name, f"is a `{kind}`", "give a number, true or false, text, or a list of these")


def _digits(number: float) -> str:
    """A number with as many digits as a recipe takes, 15; Python may print two more."""
    text = repr(number)
    longest = max(map(len, re.findall("[0-9]+", text)))
    return text if longest <= MOST_DIGITS or isinstance(number, int) else f"{number:.{MOST_DIGITS - 1}e}"


def _quoted(name: str, text: Any) -> str:
    """Text in quotes; a quantity or a pattern stays one, since Python has no value with a unit."""
    if not isinstance(text, str) or any(c == '"' or not c.isprintable() for c in text):
        help = "text of a recipe is one line, without quotes"
        raise _refusal(name, "has text with a quote or a control character", help)
    alone = [token.type for token in scan(text) if token.text == text]
    return text if alone and alone[0] in _QUANTITIES else f'"{text}"'


def _refusal(name: str, what: str, help: str) -> Refusal:
    return Refusal("RCP1250", f"the variable `{name}` of the notebook {what}, which no recipe can hold", help)
