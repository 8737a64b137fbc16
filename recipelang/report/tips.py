"""What a point of a chart says of the network that it stands for."""

from __future__ import annotations

from recipelang.report.rows import Cell, Row


def tip(row: Row, *columns: int) -> str:
    """A network's name and its numbers in these columns."""
    return f"{row.name}: {', '.join(_told(row.cells[i]) for i in columns)}"


def _told(cell: Cell) -> str:
    change = f" ({cell.change})" if cell.change else ""
    return f"{cell.metric.name} {cell.value}{change}"
