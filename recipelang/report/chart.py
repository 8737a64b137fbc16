"""A chart of a report, and what all charts share."""

from __future__ import annotations

from dataclasses import dataclass

WIDTH = 5.0  # inches of 72 units: close to the width of a phone, so that text stays readable there
MARKS = {"healthy": "D", "control": "s", "variant": "o"}


@dataclass(frozen=True)
class Chart:
    """A chart of a report.

    Attributes:
        name: of the file, and prefix of the ids inside.
        title, caption: in words.
        svg: the `<svg>` element.
    """

    name: str
    title: str
    caption: str
    svg: str
