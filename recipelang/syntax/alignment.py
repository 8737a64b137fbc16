"""Lines in columns: the last step of the formatter, where words and comments of neighbouring lines are aligned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby

from recipelang.syntax.grammar import Token

#: spaces between the longest commented line of a paragraph and the comments
COMMENT_GAP = 2


@dataclass
class Cell:
    """A word and the spaces before it; a slot is a gap that may align with the neighbouring lines."""

    text: str
    gap: int = 0
    slot: bool = False


@dataclass
class Line:
    """A line of the result."""

    indent: int
    cells: list[Cell]
    comment: Token | None
    blank: bool

    @property
    def code(self) -> str:
        """The line without its comment."""
        return " " * self.indent + "".join(" " * cell.gap + cell.text for cell in self.cells)


def laid_out(lines: Sequence[Line]) -> str:
    """The lines as text; their gaps are narrowed in place."""
    paragraphs = list(accumulate(line.blank for line in lines))
    _narrow(lines, paragraphs)
    columns: dict[int, int] = {}  # paragraph → the column of its comments
    codes = [line.code for line in lines]
    for paragraph, line, code in zip(paragraphs, lines, codes, strict=True):
        if line.cells and line.comment:
            columns[paragraph] = max(columns.get(paragraph, 0), len(code) + COMMENT_GAP)
    out: list[str] = []
    for paragraph, line, code in zip(paragraphs, lines, codes, strict=True):
        comment = line.comment.text.rstrip() if line.comment else ""
        room = code.ljust(columns[paragraph]) if line.cells and comment else code
        out.append("\n" * line.blank + room + comment)
    return "".join(f"{text}\n" for text in out)


def _narrow(lines: Sequence[Line], paragraphs: Sequence[int]) -> None:
    """Narrow every gap to one space, but keep words of neighbouring lines aligned where the author aligned them.

    Slot by slot from the left: words in the same slot of neighbouring lines that begin in the same column move left
    together, until one of them is a single space from the word before it.
    """
    rest = [(index, line, _slots(line)) for index, line in enumerate(lines)]
    while rest:
        here = [(index, line, slots, found) for index, line, slots in rest if (found := next(slots, None))]
        neighbours = (
            (index - nth, paragraphs[index], line.indent, *found) for nth, (index, line, _, found) in enumerate(here)
        )
        for _, run in groupby(neighbours, key=lambda n: n[:4]):
            cells = [cell for *_, cell in run]
            spare = min(cell.gap for cell in cells) - 1
            for cell in cells:
                cell.gap -= spare
        rest = [(index, line, slots) for index, line, slots, _ in here]


def _slots(line: Line) -> Iterator[tuple[int, Cell]]:
    """Each slot of a line and the column where its word begins; narrowing one moves those that follow."""
    column = line.indent
    for cell in line.cells:
        if cell.slot:
            yield column + cell.gap, cell
        column += cell.gap + len(cell.text)
