"""A chart of a report, its numbers as text, and what all charts share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WIDTH = 5.0  # inches of 72 units: close to the width of a phone, so that text stays readable there
#: where a chart belongs on the page, in its order
GROUPS = ("front", "comparison", "spread", "layers", "importance", "agreement", "search", "training", "maps")
LONGEST_OF_TWO = 29  # characters of a label in a legend of two columns
MOST_LINES = 60  # of a chart's numbers as text


@dataclass(frozen=True)
class Text:
    """The numbers of a chart as a small table: what a reader without the image gets.

    Attributes:
        header: names of the columns.
        rows: one text per column each, the first of which names the row.
        more: how many rows are left out; they are in report.json.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    more: int = 0


def text_of(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Text:
    """The first rows of a table, and how many more there are."""
    found = tuple(rows)
    return Text(header, found[:MOST_LINES], max(0, len(found) - MOST_LINES))


def columns(labels: Sequence[str]) -> int:
    """How many columns a legend with these labels has room for."""
    longest = max(map(len, labels), default=0)
    return 1 if longest > LONGEST_OF_TWO else 2 if longest > 14 else 3


@dataclass(frozen=True)
class Chart:
    """A chart of a report.

    Attributes:
        name: of the file, and prefix of the ids inside.
        title, caption: in words.
        svg: the `<svg>` element. An element of it with `data-tip` is a point, and the tip says what it is; with
            `data-row` it stands for the row of the comparison with this `anchor`.
        group: one of `GROUPS`.
        text: its numbers.
        statement: of the recipe that it belongs to; "" for a chart of whole networks.
    """

    name: str
    title: str
    caption: str
    svg: str
    group: str
    text: Text
    statement: str = ""


@dataclass(frozen=True)
class Charts:
    """The charts of a report in the order of the page; `left_out` counts those that are only in report.json."""

    all: tuple[Chart, ...] = ()
    left_out: int = 0

    def in_group(self, name: str) -> tuple[Chart, ...]:
        """The charts of one group, in order.

        Raises:
            KeyError: there is no such group.
        """
        if name not in GROUPS:
            raise KeyError(name)
        return tuple(chart for chart in self.all if chart.group == name)
