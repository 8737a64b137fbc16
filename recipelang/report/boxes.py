"""Box plots: a number of every network under all of its seeds."""

from __future__ import annotations

from collections.abc import Mapping

from recipelang.report import words
from recipelang.report.chart import WIDTH, Chart, text_of
from recipelang.report.looks import Look
from recipelang.report.spreads import Spread
from recipelang.report.svg import INK, MUTED, drawing, marked, to_svg

MOST_BOXES = 40
HEADER = ("network", "seeds", "least", "lower quartile", "median", "upper quartile", "greatest")


def box_plot(spread: Spread, look: Mapping[str, Look]) -> Chart:
    """A box from quartile to quartile with the median, whiskers to the ends, and a dot for every seed.

    Args:
        look: of a network, by its name.
    """
    shown, told = spread.boxes[:MOST_BOXES], spread.table
    with drawing(WIDTH, 0.75 + 0.5 * len(shown)) as figure:
        axes = figure.subplots()
        for place, box in enumerate(shown):
            least, lower, median, upper, greatest = box.quartiles
            shade, shape = look[box.row.name].colour, look[box.row.name].shape
            axes.plot([least, greatest], [place, place], color=shade, linewidth=1.2)
            (bar,) = axes.barh(place, upper - lower, left=lower, height=0.34, color=shade, alpha=0.3)
            tip = f"{box.row.name}: median {told[place][2][2]}, quartiles {told[place][2][1]} and {told[place][2][3]}"
            marked(bar, (tip, box.row.anchor))
            axes.plot([median, median], [place - 0.17, place + 0.17], color=shade, linewidth=2)
            axes.plot(box.numbers, [place] * len(box.numbers), shape, color=shade, markersize=3.2, alpha=0.7)
            line = {"transform": axes.get_yaxis_transform(), "va": "bottom", "fontsize": 9.5}
            axes.text(0.0, place - 0.24, words.shorten(box.row.name, 34), ha="left", color=INK, **line)
            axes.text(1.0, place - 0.24, f"{len(box.numbers)} seeds", ha="right", color=MUTED, **line)
        axes.set_ylim(len(shown) - 0.55, -0.75)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(axis="y", visible=False)
        axes.margins(x=0.06)
        unit = "of healthy" if spread.unit == "×" else spread.unit
        axes.set_xlabel(f"{spread.metric.name}{f' ({unit})' if unit else ''}")
        name = f"spread-{spread.index}"
        caption = "The box is from the lower to the upper quartile, the line in it the median; a dot is a seed."
        if len(spread.boxes) > len(shown):
            caption += f" {len(shown)} of {len(spread.boxes)} networks are drawn."
        svg = to_svg(figure, name, f"spread of {spread.metric.name} over seeds")
        rows = ((row, str(count), *quartiles) for row, count, quartiles in spread.table)
        return Chart(name, f"{spread.metric.name} over seeds", caption, svg, "spread", text_of(HEADER, rows))
