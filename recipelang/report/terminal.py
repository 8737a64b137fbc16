"""The comparison as a table in the terminal."""

from __future__ import annotations

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from recipelang.report import words
from recipelang.report.context import ReportContext
from recipelang.report.rows import Cell, Row
from recipelang.report.runs import unlike
from recipelang.report.summary import signs

WIDTH = 100
MOST_NAME, GAP = 36, 3
TONES = {"better": "green", "worse": "red", "same": "dim"}


class Screen(Console):
    """A console that raises on a closed pipe, where rich would exit with code 1."""

    def on_broken_pipe(self) -> None:
        """Called by rich when the pipe is closed."""
        raise BrokenPipeError


def print_table(context: ReportContext, console: Console) -> None:
    """Print the comparison, at most 100 columns wide; several tables if the metrics need more.

    Args:
        context: what to show.
        console: where it is printed; it decides about colour.
    """
    if not console.is_terminal:  # a file has no width: use one that everyone can read
        console = Screen(file=console.file, width=WIDTH, color_system=None, force_jupyter=False)
    width = min(WIDTH, console.width)
    for name, sentence in context.headline:
        text = Text.assemble((words.shorten(name, 2 * MOST_NAME), "bold"), ": ", sentence.replace("`", ""))
        console.print(text, width=width)
    notes = (*context.arrivals, *unlike(context.sources))
    for note in notes:
        console.print(Text(f"note: {note.replace('`', '')}", style="yellow"), soft_wrap=True)
    if context.headline or notes:
        console.print()
    names = [signs(row) + words.shorten(row.name, MOST_NAME) for row in context.shown]
    columns = [[_texts(row.cells[i]) for row in context.shown] for i in range(len(context.metrics))]
    heads = [words.shorten(metric.name, 40) for metric in context.metrics]
    room = width - max([cell_len(name) for name in names], default=0)
    for indices in _chunks([_width(head, column) for head, column in zip(heads, columns, strict=True)], room):
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
        table.add_column("", no_wrap=True)
        for i in indices:
            table.add_column(Text(heads[i]), no_wrap=True)
        for place, (row, name) in enumerate(zip(context.shown, names, strict=True)):
            cells = (Text("  ").join(filter(len, columns[i][place])) for i in indices)
            table.add_row(Text(name, style=_style(row)), *cells)
        console.print(table, crop=False, width=width)
        console.print()
    if context.more:
        console.print(Text(f"{context.more} more networks are in report.json", style="dim"))
    for sign, meaning in context.legend:
        console.print(Text(f"{sign} {meaning.replace('`', '')}", style="dim"), soft_wrap=True)
    for metric, note in context.notes:
        console.print(Text(f"{metric}: {note}", style="dim"), soft_wrap=True)
    for row in context.shown:
        if row.variant.error:
            console.print(Text(f"{row.name}: {row.variant.error.message}", style="red"), soft_wrap=True)


def _texts(cell: Cell) -> tuple[Text, Text]:
    """Value, and change against healthy."""
    change, value = cell.change, Text(cell.value, style="bold" if cell.best else "")
    if change is None:
        return value, Text("")
    return value, Text(change.text + (f" {words.NOISE}" if change.noise else ""), style=TONES[change.tone])


def _style(row: Row) -> str:
    return "red" if row.failed else "bold" if row.kind == "variant" else ""


def _width(head: str, column: list[tuple[Text, Text]]) -> int:
    widest = max((value.cell_len + (2 + change.cell_len if change else 0) for value, change in column), default=0)
    return max(cell_len(head), widest)


def _chunks(widths: list[int], room: int) -> list[list[int]]:
    """The columns in groups that fit; a column that fits nowhere is in a group of its own."""
    groups: list[list[int]] = [[]]
    used = 0
    for i, width in enumerate(widths):
        if groups[-1] and used + width + GAP > room:
            groups.append([])
            used = 0
        groups[-1].append(i)
        used += width + GAP
    return groups
