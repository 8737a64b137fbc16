"""Networks below each other in a chart: few with room for their names above what is drawn, many in a line each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recipelang.report import words
from recipelang.report.rows import Row
from recipelang.report.svg import INK, MUTED

MOST_ROOMY = 16  # networks with their names above
ROOMY, TIGHT = 0.44, 0.185  # inches of one network


def names_above(axes: Any, told: Sequence[tuple[Row, str]]) -> None:
    """Each name above what is drawn for it, its text at the right; no vertical axis."""
    line = {"transform": axes.get_yaxis_transform(), "va": "bottom", "fontsize": 9.5}
    for place, (row, text) in enumerate(told):
        axes.text(0.0, place - 0.22, words.shorten(row.name, 38), ha="left", color=INK, **line)
        axes.text(1.0, place - 0.22, text, ha="right", color=MUTED, **line)
    axes.set_ylim(len(told) - 0.55, -0.75)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def names_left(axes: Any, told: Sequence[tuple[Row, str]]) -> None:
    """Each name left of what is drawn for it, its text at the right."""
    axes.set_ylim(len(told) - 0.4, -0.6)
    axes.set_yticks(range(len(told)), [words.shorten(row.name, 24) for row, _ in told], fontsize=8.5)
    axes.tick_params(axis="y", length=0)
    for label, (row, _) in zip(axes.get_yticklabels(), told, strict=True):
        label.set(color=INK if row.kind != "variant" or row.goes_on else MUTED)
    line = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 8.5, "color": MUTED}
    for place, (_, text) in enumerate(told):
        axes.text(1.01, place, text, ha="left", **line)
