"""Diagnostics for a caller from Python: options of the command line are said as arguments of the call."""

from __future__ import annotations

import re
from dataclasses import replace

from recipelang.errors import Diagnostic, Span, typed

#: options that are a truth value, and those that take one, by the name of the argument
_FLAGS = ("trust", "outside", "fresh", "smoke", "control")
_TAKE = {name: name for name in ("model", "data", "out", "store", "device", "threads", "profile", "seeds")}
_TAKE |= {"set": "sets"}
#: an option in a sentence, with its value where it is in quotes of code
_OPTION = re.compile(rf"(`)?--({'|'.join((*_FLAGS, *_TAKE))})(?![\w-])(?(1)(?: ([^`]*)(?=`))?)")
_TYPED = re.compile(r"--(model|data) ")


def in_python(found: Diagnostic) -> Diagnostic:
    """The diagnostic as a caller of `recipelang.run` reads it: `--trust` is `trust=True`.

    Text that was given as an argument is shown as one: `--data labels.csv` is `data="labels.csv"`.
    """
    return replace(
        found,
        message=_OPTION.sub(_argument, found.message),
        help=_OPTION.sub(_argument, found.help),
        span=_argued(found.span),
    )


def _argument(option: re.Match[str]) -> str:
    """An option in a sentence as an argument; its quotes of code stay, or are put around it."""
    tick, name, value = option.groups()
    end = "" if tick else "`"
    if name in _FLAGS:
        return f"`{name}=True{end}"
    plain = (value or "…").strip().strip("'")
    if name == "set":
        said = "{…}"
    elif plain == "…" or plain.isnumeric():
        said = plain
    else:
        said = f"'{plain}'" if '"' in plain else f'"{plain}"'
    return f"`{_TAKE[name]}={said}{end}"


def _argued(span: Span | None) -> Span | None:
    """A place in an option as a place in the argument."""
    option = _TYPED.match(span.typed) if span else None
    if span is None or option is None:
        return typed("control=True") if span and span.typed == "--control" else span
    name, value = option[1], span.typed[option.end() :]
    quote = "" if value.startswith("given(") else "'" if '"' in value else '"'
    shown = f"{name}={quote}{value}{quote}"
    by = len(name) + 1 + len(quote) - option.end()
    within = span.start >= option.end()  # else it is the word itself
    start, end = (span.start + by, span.end + by) if within else (0, len(name))
    return replace(span, typed=shown, start=start, end=end, column=start + 1, end_column=end + 1)
