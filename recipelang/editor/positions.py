"""Places in a text as the protocol of editors counts them: lines and columns from 0, columns in units of an encoding.

A recipe's own spans count characters and know one line end, `\\n`; the protocol counts UTF-16 units where nothing else
is agreed, and a lone `\\r` ends a line too. Only this file knows the difference.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable

_LINE_END = re.compile(r"\r\n|\n|\r")
#: encoding → how many of its units a character takes
UNITS: dict[str, Callable[[str], int]] = {
    "utf-8": lambda character: 1 if character < "\x80" else 2 if character < "\u0800" else 3 + (character > "\uffff"),
    "utf-16": lambda character: 1 + (character > "\uffff"),
    "utf-32": lambda character: 1,
}


class Lines:
    """The lines of a text, between offsets and places.

    Args:
        text: the text.
        encoding: what columns count: `utf-8`, `utf-16` or `utf-32`.
    """

    def __init__(self, text: str, encoding: str = "utf-16") -> None:
        self.text = text
        self._units = UNITS[encoding]
        ends = [(match.start(), match.end()) for match in _LINE_END.finditer(text)]
        self._starts = [0, *(after for _, after in ends)]
        self._ends = [*(before for before, _ in ends), len(text)]

    def __len__(self) -> int:
        """How many lines there are; a text that ends with a line end has an empty last one."""
        return len(self._starts)

    def place(self, offset: int) -> tuple[int, int]:
        """(line, column) of a character; an offset beyond the text is its end."""
        offset = max(0, min(offset, len(self.text)))
        line = bisect_right(self._starts, offset) - 1
        return line, self.size(self.text[self._starts[line] : offset])

    def offset(self, line: int, column: int) -> int:
        """The character at a place; a column beyond its line is the line's end, a line beyond the text the text's.

        A place within a character, between the two units of an emoji, is before it.
        """
        if line >= len(self):
            return len(self.text)
        start, end = self._starts[max(0, line)], self._ends[max(0, line)]
        content = self.text[start:end]
        if content.isascii():
            return start + max(0, min(column, len(content)))
        for index, character in enumerate(content):
            column -= self._units(character)
            if column < 0:
                return start + index
        return end

    def size(self, text: str) -> int:
        """How many columns a stretch of a line takes."""
        return len(text) if text.isascii() else sum(map(self._units, text))
