"""Curves that a step leaves for the report, and as a report reads them from the record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

#: characters of a name that a reader of a record keeps
LONGEST_NAME = 200


@dataclass(frozen=True)
class Line:
    """One line of a plot.

    Attributes:
        name: whose it is: a group, a layer, a candidate; "" for the only one.
        x, y: its points, in the order in which they are joined; None, in a record, for what is not finite.
    """

    name: str = field(metadata={"longest": LONGEST_NAME})
    x: tuple[float | None, ...]
    y: tuple[float | None, ...]


@dataclass(frozen=True)
class Plot:
    """Numbers that belong together, drawn as lines or as points.

    Attributes:
        title: what is shown, in words.
        x, y: the names of the axes, with their units.
        lines: in the order of the network or of the work.
        points: whether they are drawn as points that no line joins.
    """

    title: str
    x: str
    y: str
    lines: tuple[Line, ...]
    points: bool = False

    def json(self) -> dict[str, Any]:
        """The fields, lists for tuples, null for numbers that are not finite."""
        lines = [{"name": line.name, "x": _finite(line.x), "y": _finite(line.y)} for line in self.lines]
        return {**asdict(self), "lines": lines}


def _finite(values: Sequence[float | None]) -> list[float | None]:
    return [value if value is not None and math.isfinite(value) else None for value in values]


def stored(plots: Sequence[Plot]) -> list[dict[str, Any]]:
    """Plots as JSON."""
    return [plot.json() for plot in plots]
