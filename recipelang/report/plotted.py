"""The curves that a step leaves, as a record holds them."""

from __future__ import annotations

from dataclasses import dataclass, field

from recipelang.report.decode import NAME


@dataclass(frozen=True)
class Line:
    """One line of a plot.

    Attributes:
        name: whose it is: a group, a layer, a candidate; "" for the only one.
        x, y: its points, in the order in which they are joined.
    """

    name: str = field(metadata=NAME)
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
