"""What was gained against what was lost: a quality against a cost, and the networks that no other one beats in both."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recipelang.report import words
from recipelang.report.axes import BEYOND, Point, limits_of, point, reaches_beyond
from recipelang.report.chart import LONGEST_OF_TWO, WIDTH, Chart, columns, text_of
from recipelang.report.context import ReportContext
from recipelang.report.looks import MOST_GROUPS, Look
from recipelang.report.measured import Metric
from recipelang.report.placing import Place, apart, beside
from recipelang.report.rows import Row
from recipelang.report.svg import INK, LINE, MUTED, drawing, marked, to_svg
from recipelang.report.tips import tip
from recipelang.units import counted

MOST_FRONTS = 3  # of one quality: one for each cost; of very many networks only the first
MOST_POINTS, MOST_INTERVALS, MOST_NUMBERED = 300, 24, 9
PLOT_WIDTH, PLOT_HEIGHT, AROUND = 306.0, 186.0, 52.0  # units of the page: what the axes have, and what is below them
ROOM, FARTHEST_MOVE = 6.5, 15.0
FAR_BELOW = 2.0  # spans of the front: what is worse is drawn at the edge, so that the others can be told apart


@dataclass(frozen=True)
class Shown:
    """A network in the chart.

    Attributes:
        row: of the comparison.
        x, y: its cost against healthy's, and its quality.
        best: whether no other network is better in one of the two and as good in the other.
    """

    row: Row
    x: Point
    y: Point
    best: bool = False


def fronts(context: ReportContext, look: Mapping[str, Look]) -> tuple[Chart, ...]:
    """The first quality against each cost in which networks differ: a clock first, then arithmetic, then bytes."""
    quality = next((i for i, m in enumerate(context.metrics) if m.role == "quality"), None)
    if quality is None:
        return ()
    drawn = (_front(context, look, cost, quality) for cost in costs(context.metrics))
    return tuple(itertools.islice((chart for chart in drawn if chart), 1 if context.folded else MOST_FRONTS))


def costs(metrics: Sequence[Metric]) -> list[int]:
    """The columns that are costs, clocks first, in the order in which readers ask for them."""
    order = {"s": 0, "images/s": 1, "FLOPs": 2, "B": 3, "params": 4}
    return sorted(
        (i for i, m in enumerate(metrics) if m.role == "cost"), key=lambda i: (order.get(metrics[i].unit, 5), i)
    )


def best_of(found: Sequence[tuple[float, float]], lower: tuple[bool, bool]) -> list[bool]:
    """Of points (x, y), whether no other is at least as good in both and better in one.

    Args:
        found: the points.
        lower: whether lower is better, of x and of y.
    """
    signed = [(x if lower[0] else -x, y if lower[1] else -y) for x, y in found]
    first: dict[float, float] = {}
    for x, y in signed:
        first[x] = min(y, first.get(x, math.inf))
    least, reached = math.inf, {}
    for x in sorted(first):  # from the cheapest on: only what is better than all that is cheaper
        reached[x] = first[x] if first[x] < least else None
        least = min(least, first[x])
    return [reached[x] == y for x, y in signed]


def _shown(context: ReportContext, x: int, y: int) -> list[Shown]:
    """The networks that have both numbers; those of the front first where there are too many."""
    found = [
        Shown(row, px, py)
        for row in context.rows
        if (px := point(row.cells[x], True, row.kind)) and (py := point(row.cells[y], False, row.kind))
    ]
    lower = tuple(context.metrics[i].better == "lower" for i in (x, y))
    flags = best_of([(one.x.value, one.y.value) for one in found], (lower[0], lower[1]))
    marks = [Shown(one.row, one.x, one.y, best) for one, best in zip(found, flags, strict=True)]
    last = _in_the_way(marks)
    order = sorted(range(len(marks)), key=lambda i: (i in last, _rank(marks[i]), i))
    return [marks[i] for i in sorted(order[:MOST_POINTS])]


def _in_the_way(marks: Sequence[Shown]) -> set[int]:
    """Those of many runs' healthy that would only take the room of networks: all are at 1, and many are the same."""
    healthy = [i for i, one in enumerate(marks) if one.row.kind == "healthy"]
    if len(healthy) <= MOST_GROUPS:
        return set()
    first = {(marks[i].x.value, marks[i].y.value): i for i in reversed(healthy) if marks[i].best}
    return set(healthy) - set(first.values())


def _rank(one: Shown) -> int:
    """What is drawn first where there are too many, and with its interval: the front and healthy."""
    return 0 if one.best or one.row.kind == "healthy" else 1 if one.row.goes_on else 2


def _front(context: ReportContext, look: Mapping[str, Look], x: int, y: int) -> Chart | None:
    shown, cost, quality = _shown(context, x, y), context.metrics[x], context.metrics[y]
    if sum(one.row.kind != "healthy" for one in shown) < 2 or len({one.x.value for one in shown}) < 2:
        return None
    limits = _limits(shown, quality)
    page = _page(limits)
    low, high = limits[1]
    at = [page(one.x.value, min(max(one.y.value, low), high)) for one in shown]
    marks = apart(at, ROOM, FARTHEST_MOVE, (PLOT_WIDTH, PLOT_HEIGHT))
    ahead = sorted((one for one in shown if one.best and one.row.kind == "variant"), key=lambda one: one.x.value)
    numbers = {one.row.name: str(k) for k, one in enumerate(_spread(ahead, MOST_NUMBERED), 1)}
    entries = _legend(shown, look, numbers)
    wide = columns([text for _, text in entries])
    height = (PLOT_HEIGHT + AROUND) / 72 + 0.2 * math.ceil(len(entries) / wide)
    with drawing(WIDTH, height) as figure:
        axes = figure.subplots()
        axes.set_xlim(*limits[0])
        axes.set_ylim(*limits[1])
        axes.axvline(1, color=LINE, linewidth=1.2, zorder=0)
        _stairs(axes, shown, cost, limits)
        _marks(axes, shown, look, (x, y), [_data(limits, place) for place in marks])
        _numbers(axes, shown, numbers, marks, limits)
        axes.set_xlabel(f"{words.shorten(cost.name, 40)}, of healthy")
        axes.set_ylabel(f"{words.shorten(quality.name, 24)}{' (%)' if quality.unit == '%' else ''}")
        handles = [_handle(mark) for mark, _ in entries]
        figure.legend(
            handles, [text for _, text in entries],
            loc="outside lower center", ncols=wide, handletextpad=0.3, columnspacing=1.2,
        )  # fmt: skip
        name, title = f"front-{x}", f"{quality.name} against {cost.name}"
        moved = any(math.dist(a, b) > 2 for a, b in zip(at, marks, strict=True))
        svg = to_svg(figure, name, title)
    caption = (
        _caption(context, shown, cost, quality, limits)
        + _edge(sum(not low <= one.y.value <= high for one in shown))
        + (MOVED if moved else "")
    )
    header = ("network", cost.name, "of healthy", quality.name, "on the front", "dominated")
    rows = (
        (
            one.row.name, one.row.cells[x].value, f"{one.x.value:.3g}×", one.row.cells[y].value,
            numbers.get(one.row.name, "yes") if one.best else "–", "yes" if one.row.dominated else "–",
        )
        for one in sorted(shown, key=lambda one: (not one.best, one.x.value))
    )  # fmt: skip
    return Chart(name, title, caption, svg, "front", text_of(header, rows))


MOVED = " Marks that would hide each other are moved apart; a thin line leads to the place."


def _edge(count: int) -> str:
    return f" {counted(count, 'network')} far worse {'is' if count == 1 else 'are'} drawn at the edge." if count else ""


def _caption(
    context: ReportContext, shown: Sequence[Shown], cost: Metric, quality: Metric, limits: tuple[Place, Place]
) -> str:
    side = "Right" if cost.better == "higher" else "Left"
    better = "up" if quality.better == "higher" else "down"
    inside = [one for one in shown if limits[1][0] <= one.y.value <= limits[1][1]]
    cut = any(reaches_beyond(found, limit) for found, limit in zip(_points(inside), limits, strict=True))
    whose = "" if len(shown) <= MOST_INTERVALS else " of the networks on the front"
    said = f"{side} and {better} is better. The line is the front: no network is better in both."
    if any(p.below or p.above for found in _points(shown) for p in found):
        said += f" Bars are 95 % intervals{whose}{BEYOND if cut else ''}."
    if any(one.row.dominated for one in shown):
        said += " Hollow marks are dominated."
    total = sum(1 for row in context.rows if not row.failed)
    return said + (f" {len(shown)} of {total:,} networks are drawn." if len(shown) == MOST_POINTS < total else "")


def _limits(shown: Sequence[Shown], quality: Metric) -> tuple[Place, Place]:
    """The ends of both axes, with room for the intervals that are drawn."""
    sides = [one.x if _with_interval(one, shown) else Point(one.x.value, 0, 0) for one in shown]
    heights = [one.y if _with_interval(one, shown) else Point(one.y.value, 0, 0) for one in _near(shown, quality)]
    return limits_of(sides, held=[1.0]), limits_of(heights)


def _with_interval(one: Shown, shown: Sequence[Shown]) -> bool:
    return len(shown) <= MOST_INTERVALS or _rank(one) == 0


def _near(shown: Sequence[Shown], quality: Metric) -> list[Shown]:
    """The networks that the vertical axis follows: not those that are far worse than all of the front."""
    sign = 1 if quality.better == "higher" else -1
    held = [sign * one.y.value for one in shown if one.best or one.row.kind != "variant"]
    span = max(max(held) - min(held), 0.02 * max(map(abs, held)))
    return [one for one in shown if sign * one.y.value >= min(held) - FAR_BELOW * span]


def _points(shown: Sequence[Shown]) -> tuple[list[Point], list[Point]]:
    return [one.x for one in shown], [one.y for one in shown]


def _spread(found: Sequence[Shown], most: int) -> list[Shown]:
    """At most this many, evenly from first to last."""
    if len(found) <= most:
        return list(found)
    return [found[round(k * (len(found) - 1) / (most - 1))] for k in range(most)]


def _page(limits: tuple[Place, Place]) -> Any:
    """From numbers to units of the page, about: the axes have about `PLOT_WIDTH` × `PLOT_HEIGHT`."""
    (left, right), (low, high) = limits

    def at(x: float, y: float) -> Place:
        return (x - left) / (right - left) * PLOT_WIDTH, (y - low) / (high - low) * PLOT_HEIGHT

    return at


def _data(limits: tuple[Place, Place], place: Place) -> Place:
    (left, right), (low, high) = limits
    return left + place[0] / PLOT_WIDTH * (right - left), low + place[1] / PLOT_HEIGHT * (high - low)


def _stairs(axes: Any, shown: Sequence[Shown], cost: Metric, limits: tuple[Place, Place]) -> None:
    """The front as stairs: at each cost the best quality that is to be had for it."""
    ahead = sorted({(one.x.value, one.y.value) for one in shown if one.best}, reverse=cost.better == "higher")
    end = limits[0][0 if cost.better == "higher" else 1]
    xs = [*(x for x, _ in ahead), end]
    ys = [*(y for _, y in ahead), ahead[-1][1]]
    axes.step(xs, ys, where="post", color=MUTED, linewidth=1.1, zorder=1, alpha=0.8)


def _marks(
    axes: Any, shown: Sequence[Shown], look: Mapping[str, Look], columns: tuple[int, int], places: Sequence[Place]
) -> None:
    """Intervals and leads where a network is, its mark where it hides no other one; all of one look at once."""
    kinds: dict[tuple[Look, bool, bool], list[int]] = {}
    for i, one in enumerate(shown):
        kinds.setdefault((look[one.row.name], bool(one.row.dominated), one.row.variant.chosen), []).append(i)
    for (found, hollow, chosen), members in kinds.items():
        _intervals(axes, [shown[i] for i in members if _with_interval(shown[i], shown)], found)
        _leads(axes, [(shown[i], places[i]) for i in members], found)
        (line,) = axes.plot(
            [places[i][0] for i in members], [places[i][1] for i in members], found.shape, color=found.colour,
            markerfacecolor="none" if hollow else found.colour, markersize=8 if chosen else 5.5,
            markeredgewidth=1.1, zorder=3 if hollow else 4,
        )  # fmt: skip
        marked(line, *((tip(shown[i].row, *columns), shown[i].row.anchor) for i in members))


def _intervals(axes: Any, shown: Sequence[Shown], found: Look) -> None:
    style: dict[str, Any] = {"colors": found.colour, "linewidth": 1.0, "alpha": 0.55, "zorder": 2}
    wide = [one for one in shown if one.x.below or one.x.above]
    high = [one for one in shown if one.y.below or one.y.above]
    if wide:
        ends = [[one.x.value - one.x.below for one in wide], [one.x.value + one.x.above for one in wide]]
        axes.hlines([one.y.value for one in wide], *ends, **style)
    if high:
        ends = [[one.y.value - one.y.below for one in high], [one.y.value + one.y.above for one in high]]
        axes.vlines([one.x.value for one in high], *ends, **style)


def _leads(axes: Any, marks: Sequence[tuple[Shown, Place]], found: Look) -> None:
    """A thin line from a mark that was moved to its place, unless that is beyond the frame."""
    low, high = axes.get_ylim()
    far = [(one, place) for one, place in marks if place != (one.x.value, one.y.value) and low <= one.y.value <= high]
    if far:
        xs = [x for one, place in far for x in (one.x.value, place[0], math.nan)]
        ys = [y for one, place in far for y in (one.y.value, place[1], math.nan)]
        axes.plot(xs, ys, color=found.colour, linewidth=0.7, zorder=2)


def _numbers(
    axes: Any, shown: Sequence[Shown], numbers: Mapping[str, str], marks: Sequence[Place], limits: tuple[Place, Place]
) -> None:
    """The number of each network of the front beside its mark."""
    named = [i for i, one in enumerate(shown) if one.row.name in numbers]
    spots = beside([marks[i] for i in named], marks, 8.0, 10.0)
    for i, spot in zip(named, spots, strict=True):
        text = numbers[shown[i].row.name]
        axes.text(
            *_data(limits, spot), text, ha="center", va="center", fontsize=8.5, fontweight="bold", color=INK, zorder=5
        )


def _legend(
    shown: Sequence[Shown], look: Mapping[str, Look], numbers: Mapping[str, str]
) -> list[tuple[Look | None, str]]:
    """Every look with its group, and the numbered networks: beside their group where it is theirs alone."""
    groups: dict[Look, list[str]] = {}
    for one in shown:
        groups.setdefault(look[one.row.name], []).append(one.row.name)
    alone = {names[0]: found for found, names in groups.items() if len(names) == 1}
    entries: list[tuple[Look | None, str]] = [
        (found, f"{numbers[names[0]]}  {found.group}" if names[0] in numbers and names[0] in alone else found.group)
        for found, names in groups.items()
    ]
    others = sorted((int(number), name) for name, number in numbers.items() if name not in alone)
    longest = 44 if len(entries) + len(others) < 7 else LONGEST_OF_TWO - 3
    return entries + [(None, f"{number}  {words.shorten(name, longest)}") for number, name in others]


def _handle(mark: Look | None) -> Any:
    from matplotlib.lines import Line2D

    if mark is None:
        return Line2D([], [], linestyle="none")
    return Line2D([], [], linestyle="none", marker=mark.shape, color=mark.colour, markersize=6)
