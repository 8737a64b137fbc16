"""The charts of a report: what was gained against what was lost, each metric, each ranking, each training."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from recipelang.report import words
from recipelang.report.axes import FARTHEST, limits_of, point, reaches_beyond
from recipelang.report.boxes import box_plot
from recipelang.report.chart import MARKS, WIDTH, Chart, Charts, Text, text_of
from recipelang.report.context import ReportContext, most_of
from recipelang.report.parts import Curve, Ranking, Training
from recipelang.report.rows import Cell, Row
from recipelang.report.searches import curves
from recipelang.report.svg import ACCENT, GONE, INK, LINE, MUTED, REFERENCE, SERIES, drawing, marked, to_svg

MOST_UNITS, MOST_CHARTS, MOST_NAMED, MOST_DRAWN = 60, 12, 8, 60
BEYOND = ", some longer than the frame"


def charts(context: ReportContext) -> Charts:
    """The charts that the context has numbers for, in the order of the page."""
    colour = colours(context)
    bearing = [i for i, m in enumerate(context.metrics) if m.role != "property"]
    kinds: tuple[tuple[Sequence[Any], Callable[[int], Chart | None]], ...] = (
        (bearing, lambda i: bars(context.rows, bearing[i], colour)),
        (context.spreads, lambda i: box_plot(context.spreads[i], colour)),
        (context.rankings, lambda i: importance(context.rankings[i], i)),
        (context.searches, lambda i: curves(context.searches[i], i)),
        (context.trainings, lambda i: training(context.trainings[i], i, colour)),
    )
    drawn = [tradeoff(context, colour)]
    drawn += [draw(i) for found, draw in kinds for i in range(min(len(found), MOST_CHARTS))]
    left_out = sum(max(0, len(found) - MOST_CHARTS) for found, _ in kinds)
    return Charts(tuple(chart for chart in drawn if chart), left_out)


def groups(context: ReportContext) -> dict[str, str]:
    """Row name → the name of the group that shares its colour and its entry in a legend.

    A variant is its own group; points of a sweep over several parameters are grouped by the first; many other
    variants are grouped by their run.
    """
    variants = [row for row in context.rows if row.kind == "variant"]
    sweep = all(len(row.variant.parameters) > 1 for row in variants)
    found = {}
    for row in context.rows:
        name = row.name
        if row.kind == "variant" and sweep:
            parameter, value = next(iter(row.variant.parameters.items()))
            name = f"{parameter}={words.plain(value)}"
        elif row.kind == "variant" and len(variants) > MOST_NAMED:
            name = context.sources[row.origin].name if len(context.sources) > 1 else "variants"
        found[row.name] = words.shorten(name, 44)
    return found


def colours(context: ReportContext) -> dict[str, str]:
    """A colour for every row, by its name: healthy and control have theirs, groups of variants share the rest."""
    grouped = groups(context)
    variants = list(dict.fromkeys(grouped[row.name] for row in context.rows if row.kind == "variant"))
    own = {"healthy": INK, "control": REFERENCE}
    return {
        row.name: own.get(row.kind) or SERIES[variants.index(grouped[row.name]) % len(SERIES)] for row in context.rows
    }


def tradeoff(context: ReportContext, colour: dict[str, str]) -> Chart | None:
    """The first quality against time (or the first cost), relative to healthy; None with fewer than two networks."""
    costs = [i for i, m in enumerate(context.metrics) if m.role == "cost"]
    qualities = [i for i, m in enumerate(context.metrics) if m.role == "quality"]
    if not costs or not qualities:
        return None
    x = next((i for i in costs if context.metrics[i].unit == "s"), costs[0])
    y = qualities[0]
    drawn = [
        (row, px, py)
        for row in most_of(context.rows, MOST_DRAWN)
        if (px := point(row.cells[x], True, row.kind)) and (py := point(row.cells[y], False, row.kind))
    ]
    if sum(row.kind != "healthy" for row, _, _ in drawn) < 2:
        return None
    cost, quality = context.metrics[x], context.metrics[y]
    grouped = groups(context)
    labels = [grouped[row.name] for row, _, _ in drawn]
    columns = _columns(labels)
    with drawing(WIDTH, 3.0 + 0.2 * math.ceil(len(set(labels)) / columns)) as figure:
        axes = figure.subplots()
        for place, (row, px, py) in enumerate(drawn):
            spot = axes.errorbar(
                [px.value],
                [py.value],
                xerr=[[px.below], [px.above]],
                yerr=[[py.below], [py.above]],
                fmt=MARKS[row.kind],
                color=colour[row.name],
                markersize=8 if row.variant.chosen else 6,
                elinewidth=1.1,
                markerfacecolor="none" if row.dominated else colour[row.name],
                label="_" if labels[place] in labels[:place] else labels[place],
            )
            marked(spot.lines[0], _tip(row, x, y), row.anchor)
        axes.axvline(1, color=LINE, linewidth=1.2, zorder=0)
        across, up = limits_of([px for _, px, _ in drawn], held=[1.0]), limits_of([py for _, _, py in drawn])
        axes.set_xlim(*across)
        axes.set_ylim(*up)
        axes.set_xlabel(f"{cost.name}, of healthy")
        axes.set_ylabel(f"{quality.name}{' (%)' if quality.unit == '%' else ''}")
        figure.legend(loc="outside lower center", ncols=columns, handletextpad=0.3, columnspacing=1.2)
        title = f"{quality.name} against {cost.name}"
        better = "up" if quality.better == "higher" else "down"
        hollow = " Hollow marks are dominated." if any(row.dominated for row, _, _ in drawn) else ""
        cut = reaches_beyond([px for _, px, _ in drawn], across) or reaches_beyond([py for _, _, py in drawn], up)
        side = "Right" if cost.better == "higher" else "Left"
        caption = f"{side} and {better} is better. Bars are 95 % intervals{BEYOND if cut else ''}.{hollow}"
        caption += _of(len(context.rows))
        header = ("network", cost.name, f"{cost.name}, of healthy", quality.name, "")
        rows = (
            (row.name, row.cells[x].value, f"{px.value:.2f}×", row.cells[y].value, "dominated" if row.dominated else "")
            for row, px, _ in drawn
        )
        return Chart("tradeoff", title, caption, to_svg(figure, "tradeoff", title), "front", text_of(header, rows))


def _tip(row: Row, *columns: int) -> str:
    """A network's name and its numbers in these columns."""
    return f"{row.name}: {', '.join(_told(row.cells[i]) for i in columns)}"


def _told(cell: Cell) -> str:
    change = f" ({cell.change})" if cell.change else ""
    return f"{cell.metric.name} {cell.value}{change}"


def _of(rows: int) -> str:
    """A caption's sentence on networks that are not drawn."""
    return f" {MOST_DRAWN} of {rows} networks are drawn." if rows > MOST_DRAWN else ""


def _columns(labels: Sequence[str]) -> int:
    """Number of legend columns for labels of this length."""
    longest = max(map(len, labels), default=0)
    return 1 if longest > 24 else 2 if longest > 14 else 3


def bars(rows: Sequence[Row], index: int, colour: dict[str, str]) -> Chart | None:
    """One metric of all networks: costs as bars from zero, qualities as points with their intervals."""
    metric = rows[0].cells[index].metric if rows else None
    if metric is None:
        return None
    relative = metric.role == "cost"
    drawn = [(row, p) for row in most_of(rows, MOST_DRAWN) if (p := point(row.cells[index], relative, row.kind))]
    if len(drawn) < 2:
        return None
    with drawing(WIDTH, 0.62 + 0.44 * len(drawn)) as figure:
        axes = figure.subplots()
        for place, (row, spot) in enumerate(drawn):
            shade = colour[row.name]
            error = [[spot.below], [spot.above]] if spot.below or spot.above else None
            if relative:
                (bar,) = axes.barh(place, spot.value, height=0.3, color=shade, alpha=0.85)
                marked(bar, _tip(row, index), row.anchor)
                axes.errorbar([spot.value], [place], xerr=error, fmt="none", ecolor=INK, elinewidth=1.4, capsize=2.5)
                axes.plot([1, 1], [place - 0.2, place + 0.2], color=INK, linewidth=1)
            else:
                mark = MARKS[row.kind]
                dot = axes.errorbar(
                    [spot.value], [place], xerr=error, fmt=mark, color=shade, markersize=6, elinewidth=1.4
                )
                marked(dot.lines[0], _tip(row, index), row.anchor)
            _name(axes, place, row, row.cells[index])
        _frame(axes, len(drawn))
        points = [spot for _, spot in drawn]
        limits = limits_of(points, held=[0.0, 1.0] if relative else ())
        limits = (0.0, limits[1]) if relative else limits
        axes.set_xlim(*limits)
        axes.set_xlabel("of healthy" if relative else f"{metric.name}{' (%)' if metric.unit == '%' else ''}")
        name = f"metric-{index}"
        split = f", on {metric.split}" if metric.split else ""
        caption = f"{metric.better.capitalize()} is better{split}."
        if any(p.below or p.above for p in points):
            caption += f" Whiskers are 95 % intervals{BEYOND if reaches_beyond(points, limits) else ''}."
        caption += _of(len(rows))
        svg = to_svg(figure, name, f"{metric.name} of every network")
        return Chart(name, metric.name, caption, svg, "comparison", _metric_text(drawn, index))


def _metric_text(drawn: Sequence[tuple[Row, Any]], index: int) -> Text:
    """One metric of the networks: value, change against healthy, interval of the value."""
    header = ("network", drawn[0][0].cells[index].metric.name, "against healthy", "95 % interval")
    cells = ((row, row.cells[index]) for row, _ in drawn)
    return text_of(header, ((row.name, c.value, str(c.change or "–"), c.interval or "–") for row, c in cells))


def _name(axes: Any, place: int, row: Row, cell: Cell) -> None:
    """The row's name above its bar, its value at the right."""
    line = {"transform": axes.get_yaxis_transform(), "va": "bottom", "fontsize": 9.5}
    axes.text(0.0, place - 0.22, words.shorten(row.name, 34), ha="left", color=INK, **line)
    axes.text(1.0, place - 0.22, cell.value, ha="right", color=MUTED, **line)


def _frame(axes: Any, count: int) -> None:
    """Rows from top to bottom, no vertical axis."""
    axes.set_ylim(count - 0.55, -0.75)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False)


def importance(ranking: Ranking, index: int) -> Chart:
    """A ranking as bars, least important first; removed units in a different colour. Of groups what was removed."""
    if any(unit.of for unit in ranking.ranked):
        return _removed(ranking, index)
    known = [unit for unit in ranking.ranked if unit.score is not None and abs(unit.score) <= FARTHEST]
    shown = known[:MOST_UNITS]
    removed = sum(unit.removed for unit in ranking.ranked)
    with drawing(WIDTH, 0.75 + 0.19 * max(4, len(shown))) as figure:
        axes = figure.subplots()
        kept_colour = [GONE if unit.removed else ACCENT for unit in shown]
        drawn = axes.barh(range(len(shown)), [unit.score for unit in shown], height=0.66, color=kept_colour)
        for bar, unit in zip(drawn, shown, strict=True):
            marked(bar, f"{unit.layer}: {unit.score:.4g}, {'removed' if unit.removed else 'kept'}")
        axes.set_yticks(range(len(shown)), [words.shorten(unit.layer, 30) for unit in shown])
        for label, unit in zip(axes.get_yticklabels(), shown, strict=True):
            label.set(family="DejaVu Sans Mono", fontsize=8, color=GONE if unit.removed else MUTED)
        axes.set_ylim(max(4, len(shown)) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("importance")
        caption = f"{removed} of {len(ranking.ranked)} removed (orange). Least important first"
        caption += f"; the {MOST_UNITS} least important are shown." if len(known) > len(shown) else "."
        if len(known) < len(ranking.ranked):
            caption += f" {len(ranking.ranked) - len(known)} have no score."
        name = f"importance-{index}"
        svg = to_svg(figure, name, f"importance ranking of {ranking.step.text}")
        lines = ((unit.layer, f"{unit.score:.4g}", "removed" if unit.removed else "kept") for unit in known)
        text = text_of(("unit", "importance", ""), lines)
        caption = f"{ranking.name}: {caption}"
        return Chart(name, "Importance", caption, svg, "importance", text, ranking.step.text)


def _removed(ranking: Ranking, index: int) -> Chart:
    """How much of each group was removed, in the order of the network."""
    groups = [unit for unit in ranking.ranked if unit.of]
    shown = groups[:MOST_UNITS]
    with drawing(WIDTH, 0.75 + 0.19 * max(4, len(shown))) as figure:
        axes = figure.subplots()
        shares = [100 * (unit.gone or 0) / (unit.of or 1) for unit in shown]
        axes.barh(range(len(shown)), 100, height=0.66, color=ACCENT)
        for bar, unit in zip(axes.barh(range(len(shown)), shares, height=0.66, color=GONE), shown, strict=True):
            marked(bar, f"{unit.layer}: {unit.gone or 0} of {unit.of} removed")
        names = [f"{words.shorten(unit.layer, 24)} {unit.gone or 0}/{unit.of}" for unit in shown]
        axes.set_yticks(range(len(shown)), names)
        for label in axes.get_yticklabels():
            label.set(family="DejaVu Sans Mono", fontsize=8, color=MUTED)
        axes.set_ylim(max(4, len(shown)) - 0.4, -0.6)
        axes.set_xlim(0, 100)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("% of the group")
        gone, whole = (sum(getattr(unit, name) or 0 for unit in groups) for name in ("gone", "of"))
        caption = f"{gone:,} of {whole:,} removed (orange), by group of coupled channels, in the order of the network"
        caption += f"; the first {MOST_UNITS} are shown." if len(groups) > len(shown) else "."
        name, caption = f"importance-{index}", f"{ranking.name}: {caption}"
        svg = to_svg(figure, name, f"removed by {ranking.step.text}")
        lines = ((unit.layer, str(unit.gone or 0), str(unit.of)) for unit in groups)
        text = text_of(("group", "removed", "of"), lines)
        return Chart(name, "Removed of each group", caption, svg, "importance", text, ranking.step.text)


def training(trained: Training, index: int, colour: dict[str, str]) -> Chart:
    """The loss over the epochs of one statement, a line for every network and seed."""
    with drawing(WIDTH, 2.9) as figure:
        axes = figure.subplots()
        names = list(dict.fromkeys(curve.name for curve in trained.curves))
        labelled: set[str] = set()
        for curve in trained.curves:
            place = names.index(curve.name)
            label = "_" if curve.name in labelled else words.shorten(curve.name, 44)
            labelled.add(curve.name)
            # Beyond the eight colours, lines are distinguished by their dashes.
            dashes = ("-", "--", ":")[place // len(SERIES) % 3]
            _curve(axes, curve, colour.get(curve.name, SERIES[place % len(SERIES)]), dashes, label)
        axes.set_xlabel("epochs")
        axes.set_ylabel("training loss")
        axes.margins(x=0.02)
        if 1 < len(names) <= MOST_NAMED:
            figure.legend(loc="outside lower center", ncols=_columns(names), handlelength=1.4)
        seeds = {curve.seed for curve in trained.curves}
        caption = f"{len(names)} networks" if len(names) > 1 else f"{names[0]}"
        caption += f", {len(seeds)} seeds each." if len(seeds) > 1 else "."
        name = f"training-{index}"
        svg = to_svg(figure, name, f"training loss of {trained.step.text}")
        return Chart(name, "Training loss", caption, svg, "training", _training_text(trained), trained.step.text)


def _training_text(trained: Training) -> Text:
    """The first and the last loss of every curve."""
    lines = []
    for curve in trained.curves:
        first, last = (f"{p.loss:.4g}" if p.loss is not None else "–" for p in (curve.points[0], curve.points[-1]))
        lines.append(
            (curve.name, "–" if curve.seed is None else str(curve.seed), f"{curve.points[-1].epoch:g}", first, last)
        )
    return text_of(("network", "seed", "epochs", "first loss", "last loss"), lines)


def _curve(axes: Any, curve: Curve, colour: str, dashes: str, label: str) -> None:
    x = [point.epoch for point in curve.points]
    losses = (point.loss for point in curve.points)
    y = [float("nan") if loss is None or abs(loss) > FARTHEST else loss for loss in losses]
    marker = "o" if len(x) < 3 else ""
    axes.plot(x, y, color=colour, linewidth=1.6, linestyle=dashes, label=label, marker=marker, markersize=3.5)
