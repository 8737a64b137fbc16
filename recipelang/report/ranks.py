"""Rankings of the same units as charts: the rank of each unit by each ranking, and Spearman's correlations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recipelang.report import words
from recipelang.report.agreement import Agreement
from recipelang.report.chart import WIDTH, Chart, text_of
from recipelang.report.svg import ACCENT, GONE, INK, MUTED, drawing, marked, to_svg

MOST_UNITS = 40
DARKEST = 0.5  # opacity of a cell at most: what is written in it has a contrast of 4.5 on light and dark pages
MOST_WRITTEN = 240  # cells with their rank written in


def ranks(found: Agreement, index: int) -> Chart:
    """A row for each unit and a column for each ranking; the darker a cell, the less important is the unit."""
    shown, count = found.ranks[:MOST_UNITS], len(found.ranks)
    written = len(shown) * len(found.names) <= MOST_WRITTEN
    with drawing(WIDTH, 0.5 + 0.2 * len(shown) + 0.18 * len(found.names)) as figure:
        axes = figure.subplots()
        for column, name in enumerate(found.names):
            cells = axes.barh(
                range(len(shown)), 0.94, left=column - 0.47, height=0.88, color=ACCENT, linewidth=0
            )  # fmt: skip
            for row, (cell, (unit, given)) in enumerate(zip(cells, shown, strict=True)):
                rank = given[column]
                cell.set_alpha(0.06 + (DARKEST - 0.06) * (count - rank) / max(1, count - 1))
                marked(cell, (f"{unit}: rank {words.short(rank)} of {count} by {name}", ""))
                if written:
                    axes.text(column, row, words.short(rank), ha="center", va="center", fontsize=8.5, color=INK)
        _grid(axes, [unit for unit, _ in shown], len(found.names))
        for label in axes.get_yticklabels():
            label.set(family="DejaVu Sans Mono", fontsize=8)
        _key(figure, found.names)
        name = f"ranks-{index}"
        svg = to_svg(figure, name, "ranks of units side by side")
    caption = "1, dark, is the least important. A unit whose cells differ is one on which the rankings do not agree."
    caption += f" The first {len(shown)} of {count} units are shown." if count > len(shown) else ""
    rows = ((unit, *map(words.short, given)) for unit, given in found.ranks)
    return Chart(name, "Ranks of units", caption, svg, "agreement", text_of(("unit", *found.names), rows))


def correlations(found: Agreement, index: int) -> Chart:
    """Spearman's rank correlation of every two rankings as a matrix."""
    count = len(found.names)
    with drawing(WIDTH, 0.5 + 0.3 * count + 0.18 * count) as figure:
        axes = figure.subplots()
        for column in range(count):
            cells = axes.barh(range(count), 0.94, left=column - 0.47, height=0.9, color="none", linewidth=0)
            for row, cell in enumerate(cells):
                value = found.correlations[row][column]
                if value is not None:
                    cell.set(facecolor=ACCENT if value >= 0 else GONE, alpha=DARKEST * abs(value))
                said = "none: equal scores" if value is None else words.number(value, 2)
                marked(cell, (f"{found.names[row]} and {found.names[column]}: {said}", ""))
                text = "–" if value is None else words.number(value, 2)
                axes.text(column, row, text, ha="center", va="center", fontsize=8.5, color=INK)
        _grid(axes, [f"{k}  {words.shorten(name, 30)}" for k, name in enumerate(found.names, 1)], count)
        name = f"correlations-{index}"
        svg = to_svg(figure, name, "rank correlations")
    caption = "Spearman's ρ of every two: 1 the same order, 0 none in common, −1 (the other colour) the reverse order."
    rows = (
        (one, *("–" if value is None else words.number(value, 2) for value in line))
        for one, line in zip(found.names, found.correlations, strict=True)
    )
    return Chart(name, "Rank correlations", caption, svg, "agreement", text_of(("", *found.names), rows))


def _grid(axes: Any, names: Sequence[str], columns: int) -> None:
    """Names of the rows at the left, numbers of the columns above, no lines."""
    axes.grid(visible=False)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_yticks(range(len(names)), [words.shorten(name, 34) for name in names], fontsize=9)
    axes.set_xticks(range(columns), [str(k) for k in range(1, columns + 1)], fontsize=9)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)


def _key(figure: Any, names: Sequence[str]) -> None:
    """What the number of each column means, below."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], linestyle="none") for _ in names]
    labels = [f"{k}  {words.shorten(name, 56)}" for k, name in enumerate(names, 1)]
    figure.legend(
        handles, labels, loc="outside lower left", ncols=1, handlelength=0, handletextpad=0, labelspacing=0.25,
        labelcolor=MUTED,
    )  # fmt: skip
