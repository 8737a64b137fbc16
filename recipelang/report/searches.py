"""The curves of searches: what was tried, drawn as lines or points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from recipelang.kinds import Line, Plot
from recipelang.report import words
from recipelang.report.axes import FARTHEST
from recipelang.report.chart import WIDTH, Chart, Text, text_of
from recipelang.report.looks import DASHES, SHAPES
from recipelang.report.parts import steps_of
from recipelang.report.record import Step
from recipelang.report.rows import Row
from recipelang.report.svg import LINE, SERIES, drawing, marked, to_svg
from recipelang.units import listed

MOST_NAMED = 8  # lines that a legend has room for


@dataclass(frozen=True)
class Search:
    """One plot that a step left.

    Attributes:
        name: of the networks that share it.
        step: the statement.
        plot: what is drawn.
    """

    name: str
    step: Step
    plot: Plot


def searches(found: Sequence[Row]) -> tuple[Search, ...]:
    """Every different plot of a step under the first seed that has it, with the networks that share it."""
    owners: dict[tuple[str, Plot], list[str]] = {}
    steps: dict[tuple[str, Plot], Step] = {}
    for row, run, step in steps_of(found):
        for plot in step.plots if run is row.variant.runs[0] else ():
            key = step.text, plot
            steps.setdefault(key, step)
            if row.name not in owners.setdefault(key, []):
                owners[key].append(row.name)
    return tuple(Search(listed(owners[key]), step, key[1]) for key, step in steps.items())


def curves(search: Search, index: int) -> Chart:
    """The lines of a plot; of many, those that reach highest are named and the others grey."""
    plot = search.plot
    named = _named(plot.lines)
    with drawing(WIDTH, 3.2) as figure:
        axes = figure.subplots()
        for line in sorted(plot.lines, key=lambda line: line in named):  # named ones on top
            place = named.index(line) if line in named else -1
            _line(axes, plot, line, place)
        axes.set_xlabel(plot.x)
        axes.set_ylabel(plot.y)
        axes.margins(x=0.02)
        if len(named) > 1:
            figure.legend(loc="outside lower center", ncols=2, handlelength=2.4)
        caption = f"{search.name}."
        if len(named) < len(plot.lines):
            caption += f" {len(plot.lines)} lines; the {len(named)} that reach highest are named."
        name = f"search-{index}"
        svg = to_svg(figure, name, f"{plot.title} of {search.step.text}")
        return Chart(name, plot.title, caption, svg, "search", _text(plot), search.step.text)


def _text(plot: Plot) -> Text:
    """Where each line starts and ends, and its extremes."""
    rows = []
    for line in plot.lines:
        points = _points(line)
        if points:
            ys = [y for _, y in points]
            ends = (f"{y:.4g} at {x:.4g}" for x, y in (points[0], points[-1]))
            rows.append((line.name or plot.y, *ends, f"{min(ys):.4g}", f"{max(ys):.4g}"))
    return text_of((plot.y, "first", "last", "lowest", "highest"), rows)


def _points(line: Line) -> list[tuple[float, float]]:
    """The points of a line that an axis can show."""
    points = [(x, y) for x, y in zip(line.x, line.y, strict=False) if x is not None and y is not None]
    return [(x, y) for x, y in points if abs(x) <= FARTHEST and abs(y) <= FARTHEST]


def _named(lines: Sequence[Line]) -> tuple[Line, ...]:
    """The lines that a legend names: all of a few, else those with the highest values, in their order."""
    if len(lines) <= MOST_NAMED:
        return tuple(lines)
    highest = sorted(lines, key=lambda line: -max((y for y in line.y if y is not None), default=-FARTHEST))
    return tuple(line for line in lines if line in highest[:MOST_NAMED])


def _line(axes: Any, plot: Plot, line: Line, place: int) -> None:
    """A line of the plot; `place` is its number among the named ones, −1 for one that is not named."""
    points = _points(line)
    named = place >= 0
    colour = SERIES[place % len(SERIES)] if named else LINE
    style = "" if plot.points else DASHES[place % len(DASHES)] if named else "-"
    every = max(1, len(points) // 12)  # marks tell lines apart whose colours look alike
    label = words.shorten(line.name, 30) if named and line.name else "_"
    (drawn,) = axes.plot(
        [x for x, _ in points], [y for _, y in points], color=colour, linewidth=1.5, linestyle=style, label=label,
        marker=SHAPES[place % len(SHAPES)] if named or plot.points else "", markersize=4,
        markevery=1 if plot.points else every,
    )  # fmt: skip
    marks = points if plot.points else points[::every]
    if named and marks:
        name = line.name or plot.y
        marked(drawn, *((f"{name}: {y:.4g} at {plot.x} {x:.4g}", "") for x, y in marks))
