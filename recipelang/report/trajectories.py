"""The way of networks through the stages of a recipe: what each statement did to quality and costs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recipelang.kinds import Figure
from recipelang.report import words
from recipelang.report.axes import FARTHEST
from recipelang.report.chart import WIDTH, Chart, Text, columns, text_of
from recipelang.report.looks import MOST_GROUPS, Look, own
from recipelang.report.measured import Measured, Metric
from recipelang.report.record import Run, Step
from recipelang.report.rows import Row
from recipelang.report.svg import LINE, drawing, marked, to_svg

MOST_PANELS, MOST_STEPS = 3, 24
QUIET = ("model", "data", "report", "export", "expect", "measure", "task", "choose")  # they change no network


@dataclass(frozen=True)
class Way:
    """What is known of one network and one metric along its statements.

    Attributes:
        row: the network.
        values: after healthy and after each statement, in the numbers of the axis; NaN where nothing was measured.
    """

    row: Row
    values: tuple[float, ...]


@dataclass(frozen=True)
class Route:
    """A sequence of statements that networks share.

    Attributes:
        stops: healthy, then the verb of each statement.
        panels: (metric, ways) of each metric of which more than the ends is known, qualities first.
        networks: how many have these statements; those that recipes end with are drawn first.
    """

    stops: tuple[str, ...]
    panels: tuple[tuple[Metric, tuple[Way, ...]], ...]
    networks: int


def routes(rows: Sequence[Row], metrics: Sequence[Metric]) -> list[Route]:
    """The sequences along which a quality was measured, or a cost more than once; of variants that did not fail."""
    healthy = {row.origin: row for row in rows if row.kind == "healthy"}
    alike: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        verbs = tuple(step.verb for step in _steps(row.variant.runs[0])) if row.variant.runs else ()
        if row.kind == "variant" and not row.failed and 0 < len(verbs) <= MOST_STEPS:
            alike.setdefault(verbs, []).append(row)
    found = []
    for verbs, members in alike.items():
        first = sorted(members, key=lambda row: not row.goes_on)[:MOST_GROUPS]
        kinds = sorted((m for m in metrics if m.role != "property"), key=lambda m: m.role != "quality")
        panels = [(metric, ways) for metric in kinds if (ways := _ways(first, healthy, metric))]
        if any(metric.role == "quality" or _changing(ways) for metric, ways in panels):
            found.append(Route(("healthy", *verbs), tuple(panels[:MOST_PANELS]), len(members)))
    return found


def _changing(ways: Sequence[Way]) -> bool:
    """Whether any of the ways has two numbers or more between its ends."""
    return any(sum(not math.isnan(value) for value in way.values[1:-1]) > 1 for way in ways)


def _steps(run: Run) -> list[Step]:
    """The statements of a run that change its network, after those that made healthy."""
    steps = [step for step in run.steps if step.verb not in QUIET]
    made = next((k for k, step in enumerate(steps) if step.verb not in ("train", "keep")), len(steps))
    return steps[made:]


def _ways(rows: Sequence[Row], healthy: Mapping[int, Row], metric: Metric) -> tuple[Way, ...]:
    """The ways on which something was measured between healthy and the end."""
    found = []
    for row in rows:
        lines = [_values(run, row, healthy.get(row.origin), metric) for run in row.variant.runs]
        lines = [line for line in lines if len(line) == len(lines[0])]
        values = tuple(_mean([line[k] for line in lines]) for k in range(len(lines[0])))
        if any(not math.isnan(value) for value in values[1:-1]):
            found.append(Way(row, values))
    return tuple(found)


def _values(run: Run, row: Row, healthy: Row | None, metric: Metric) -> list[float]:
    """Of one run: healthy's, then what was known after each statement, last of all the result's."""
    start = healthy.variant.metrics.get(metric.name) if healthy else None
    end = run.metrics.get(metric.name) or row.variant.metrics.get(metric.name)
    changing, values = _steps(run), [_number(start, metric, healthy=True)]
    for step in run.steps[run.steps.index(changing[0]) :] if changing else ():
        if step.verb not in QUIET:
            values.append(math.nan)
        known = _number(step.metrics.get(metric.name), metric)
        known = _reached(step, metric) if math.isnan(known) else known
        if not math.isnan(known):
            values[-1] = known
    last = _number(end, metric)
    return [*values[:-1], values[-1] if math.isnan(last) else last]


def _number(measured: Measured | None, metric: Metric, healthy: bool = False) -> float:
    """On the axis: a cost as a ratio to healthy, a share in per cent."""
    if measured is None:
        return math.nan
    if metric.role == "cost":
        return 1.0 if healthy else _axis(measured.ratio)
    return _axis(measured.value) * (100 if metric.unit == "%" else 1)


def _reached(step: Step, metric: Metric) -> float:
    """A ratio to healthy that a statement says it reached, of a cost."""
    figures = step.reached if isinstance(step.reached, tuple) else ()
    for one in figures:
        if isinstance(one, Figure) and one.what == metric.name and one.unit == "x" and metric.role == "cost":
            return _axis(one.value)
    return math.nan


def _axis(value: float | None) -> float:
    return math.nan if value is None or not abs(value) <= FARTHEST else value


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return statistics.fmean(known) if known else math.nan


def trajectory(route: Route, index: int, look: Mapping[str, Look]) -> Chart:
    """A panel for each metric over the statements, a line for each network."""
    panels, stops = route.panels, route.stops
    mine = own(list(dict.fromkeys(way.row.name for _, ways in panels for way in ways)), look)
    entries = list(mine.values())
    labels = [entry.group for entry in entries]
    wide = columns(labels)
    lines = math.ceil(len(labels) / wide) if len(labels) > 1 else 0
    with drawing(WIDTH, 0.75 + 1.45 * len(panels) + 0.2 * lines + (0.35 if len(stops) > 6 else 0)) as figure:
        axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
        for panel, (metric, ways) in zip(axes, panels, strict=True):
            for way in ways:
                _line(panel, way, metric, mine[way.row.name], stops)
            panel.set_ylabel(_scale(metric), fontsize=9)
            if metric.role == "cost":
                panel.axhline(1, color=LINE, linewidth=1.2, zorder=0)
        turned = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if len(stops) > 6 else {}
        axes[-1].set_xticks(range(len(stops)), [words.shorten(stop, 14) for stop in stops], **turned)
        axes[-1].set_xlim(-0.25, len(stops) - 0.75)
        if lines:
            _legend(figure, entries, wide)
        name = f"trajectory-{index}"
        svg = to_svg(figure, name, "quality and costs along the statements of the recipe")
    caption = "What was measured after each statement; a statement without a mark was not followed by a measurement."
    if route.networks > MOST_GROUPS:
        caption += f" {MOST_GROUPS} of {route.networks} networks are drawn."
    caption += " Means over seeds." if any(way.row.seeds > 1 for _, ways in panels for way in ways) else ""
    return Chart(name, "Along the recipe", caption, svg, "front", _text(panels, stops))


def _line(axes: Any, way: Way, metric: Metric, look: Look, stops: Sequence[str]) -> None:
    known = [(k, value) for k, value in enumerate(way.values) if not math.isnan(value)]
    (line,) = axes.plot(
        [k for k, _ in known], [value for _, value in known], look.shape, color=look.colour, linestyle=look.dashes,
        linewidth=1.4, markersize=5,
    )  # fmt: skip
    said = (f"{way.row.name}, after {stops[k]}: {metric.name} {_told(value, metric)}" for k, value in known)
    marked(line, *((text, way.row.anchor) for text in said))


def _legend(figure: Any, entries: Sequence[Look], wide: int) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker=one.shape, color=one.colour, linestyle=one.dashes, markersize=5)  # type: ignore[arg-type]
        for one in entries
    ]
    figure.legend(handles, [one.group for one in entries], loc="outside lower center", ncols=wide, handlelength=2.4)


def _scale(metric: Metric) -> str:
    name = words.shorten(metric.name, 18)
    return f"{name}\nof healthy" if metric.role == "cost" else f"{name}{' (%)' if metric.unit == '%' else ''}"


def _told(value: float, metric: Metric) -> str:
    if math.isnan(value):
        return "–"
    if metric.role == "cost":
        return f"{words.number(value, 2)}×"
    return f"{words.number(value, 2)} %" if metric.unit == "%" else words.quantity(value, metric.unit)


def _text(panels: Sequence[tuple[Metric, Sequence[Way]]], stops: Sequence[str]) -> Text:
    rows = (
        (way.row.name, metric.name, *(_told(value, metric) for value in way.values))
        for metric, ways in panels
        for way in ways
    )
    return text_of(("network", "", *stops), rows)
