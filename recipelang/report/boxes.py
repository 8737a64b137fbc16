"""Box plots: a number of every network under all of its seeds."""

from __future__ import annotations

from collections.abc import Mapping

from recipelang.report.chart import WIDTH, Chart, text_of
from recipelang.report.listing import MOST_ROOMY, ROOMY, TIGHT, names_above, names_left
from recipelang.report.looks import Look
from recipelang.report.spreads import Spread
from recipelang.report.svg import drawing, marked, to_svg

MOST_BOXES = 60
HEADER = ("network", "seeds", "least", "lower quartile", "median", "upper quartile", "greatest")


def box_plot(spread: Spread, look: Mapping[str, Look]) -> Chart:
    """A box from quartile to quartile with the median, whiskers to the ends, and a dot for every seed.

    A few networks stand in the order of the comparison; many from the best median to the worst.

    Args:
        look: of a network, by its name.
    """
    pairs = sorted(zip(spread.boxes, spread.table, strict=True), key=lambda pair: not pair[0].row.goes_on)
    kept = {id(box) for box, _ in pairs[:MOST_BOXES]}
    shown = [(box, told) for box, told in zip(spread.boxes, spread.table, strict=True) if id(box) in kept]
    roomy = len(shown) <= MOST_ROOMY
    if not roomy:
        shown.sort(key=lambda pair: pair[0].quartiles[2] * (1 if spread.metric.better == "lower" else -1))
    with drawing(WIDTH, 0.75 + (ROOMY if roomy else TIGHT) * len(shown)) as figure:
        axes = figure.subplots()
        for place, (box, (_, _, told)) in enumerate(shown):
            least, lower, median, upper, greatest = box.quartiles
            shade, shape = look[box.row.name].colour, look[box.row.name].shape
            axes.plot([least, greatest], [place, place], color=shade, linewidth=1.2)
            (bar,) = axes.barh(place, upper - lower, left=lower, height=0.34 if roomy else 0.6, color=shade, alpha=0.3)
            tip = f"{box.row.name}: median {told[2]}, quartiles {told[1]} and {told[3]}, {len(box.numbers)} seeds"
            marked(bar, (tip, box.row.anchor))
            axes.plot([median, median], [place - 0.17, place + 0.17], color=shade, linewidth=2)
            axes.plot(box.numbers, [place] * len(box.numbers), shape, color=shade, markersize=3.2, alpha=0.7)
        counts = [(box.row, f"{len(box.numbers)} seeds") for box, _ in shown]
        (names_above if roomy else names_left)(axes, counts)
        axes.grid(axis="y", visible=False)
        axes.margins(x=0.06)
        unit = "of healthy" if spread.unit == "×" else spread.unit
        axes.set_xlabel(f"{spread.metric.name}{f' ({unit})' if unit else ''}")
        name = f"spread-{spread.index}"
        svg = to_svg(figure, name, f"spread of {spread.metric.name} over seeds")
    caption = "The box is from the lower to the upper quartile, the line in it the median; a mark is a seed."
    caption += "" if roomy else " From the best median to the worst."
    if len(spread.boxes) > len(shown):
        caption += f" {len(shown)} of {len(spread.boxes)} networks are drawn."
    rows = ((row, str(count), *quartiles) for row, count, quartiles in spread.table)
    return Chart(name, f"{spread.metric.name} over seeds", caption, svg, "spread", text_of(HEADER, rows))
