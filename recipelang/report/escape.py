"""Text from a file, made harmless in Markdown and in CSV. (HTML has Jinja's autoescape.)"""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterable

from markupsafe import Markup

# An underscore inside a word is not markup, and common in names.
_SPECIAL = re.compile(r"([\\`*\[\]#|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")


def markdown(text: object) -> str:
    """Text as Markdown that shows it unchanged: one line, no markup, no HTML, no table bars."""
    one_line = re.sub(r"\s+", " ", str(text))
    return _SPECIAL.sub(r"\\\1", html.escape(one_line, quote=False))


def code(text: object) -> str:
    """Text as a Markdown code span, also inside a table.

    A table is split at bars before code spans are parsed, and no escape works in every reader: text with bars,
    backticks or backslashes is written as HTML entities instead.
    """
    one_line = " ".join(str(text).split())
    if not one_line:
        return ""
    if re.search(r"[|`\\]", one_line):
        return f"<code>{''.join(c if c.isalnum() or c in ' .,:;=()/' else f'&#{ord(c)};' for c in one_line)}</code>"
    return f"`{one_line}`"


def prose(text: object) -> str:
    """A sentence of ours that may quote code between backticks; the quoted text may be anything."""
    return "".join(code(piece) if quoted else markdown(piece) for quoted, piece in pieces(str(text)))


def prose_html(text: object) -> Markup:
    """The same as HTML."""
    found = (Markup("<code>{}</code>" if quoted else "{}").format(piece) for quoted, piece in pieces(str(text)))
    return Markup("").join(found)


def pieces(text: str) -> tuple[tuple[bool, str], ...]:
    """A sentence in pieces: (whether between backticks, text). A backtick without a partner is text."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        parts[-2:] = ["`".join(parts[-2:])]
    return tuple((i % 2 == 1, part) for i, part in enumerate(parts) if part)


def fence(text: str, language: str = "") -> str:
    """Text as a fenced block; the fence is longer than any in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    marks = "`" * max(3, longest + 1)
    return f"{marks}{language}\n{text.rstrip()}\n{marks}"


def csv_line(values: Iterable[object]) -> str:
    """One line of CSV (RFC 4180). A text that a spreadsheet would take for a formula is prefixed with an apostrophe."""
    buffer = io.StringIO()
    safe = (f"'{v}" if isinstance(v, str) and v[:1] in ("=", "+", "-", "@", "\t") else v for v in values)
    ending = "\r\n"  # what it consists of is quoted inside a cell
    csv.writer(buffer, lineterminator=ending).writerow("" if v is None else v for v in safe)
    return buffer.getvalue().removesuffix(ending)
