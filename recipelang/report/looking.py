"""The chart of how well classes can be told apart after each layer of networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recipelang.report import words
from recipelang.report.chart import WIDTH, Chart, columns, text_of
from recipelang.report.exhibits import Depths
from recipelang.report.looks import MOST_GROUPS, Look, own
from recipelang.report.svg import drawing, marked, to_svg

LABELLED = 36  # layers that the axis has room for names of


def depth_chart(found: Sequence[Depths], look: Mapping[str, Look]) -> Chart:
    """Accuracy after each layer, a line for each network, and at the right that of the whole network."""
    drawn = sorted(found, key=lambda one: not one.row.goes_on)[:MOST_GROUPS]
    names = _merged([[name for name, _, _ in one.layers] for one in drawn])
    place = {name: k for k, name in enumerate(names)}
    labels = [words.shorten(one.row.name, 44) for one in drawn]
    wide = columns(labels)
    mark = own([one.row.name for one in drawn], look)
    with drawing(WIDTH, 3.3 + (0.2 * -(-len(labels) // wide) if len(labels) > 1 else 0)) as figure:
        axes = figure.subplots()
        for one, label in zip(drawn, labels, strict=True):
            mine = mark[one.row.name]
            xs = [*(place[name] for name, _, _ in one.layers), len(names)]
            ys = [100 * after for _, _, after in one.layers] + [100 * one.whole]
            (line,) = axes.plot(
                xs, ys, mine.shape, color=mine.colour, linestyle=mine.dashes, linewidth=1.4, markersize=4.5, label=label
            )
            ends = [*(name for name, _, _ in one.layers), "the whole network"]
            marked(line, *((f"{one.row.name}, {n}: {y:.1f} %", one.row.anchor) for n, y in zip(ends, ys, strict=True)))
        step = -(-len(names) // LABELLED)
        ticks = [*range(0, len(names), step), len(names)]
        shown = [*(words.shorten(name, 22) for name in names[::step]), "whole network"]
        axes.set_xticks(ticks, shown, rotation=90, fontsize=8, family="DejaVu Sans Mono")
        axes.set_ylabel("accuracy after the layer (%)")
        axes.margins(x=0.02)
        if len(labels) > 1:
            figure.legend(loc="outside lower center", ncols=wide, handlelength=2.4)
        svg = to_svg(figure, "depths", "accuracy of a classifier after each layer")
    caption = "How well the classes can be told apart after each layer, by a classifier that is imprinted there."
    caption += f" {len(drawn)} of {len(found)} networks are drawn." if len(found) > len(drawn) else ""
    rows = (
        (name, one.row.name, f"{100 * before:.1f} %", f"{100 * after:.1f} %")
        for one in drawn
        for name, before, after in one.layers
    )
    header = ("layer", "network", "before", "after")
    return Chart("depths", "Accuracy after each layer", caption, svg, "layers", text_of(header, rows))


def _merged(orders: Sequence[Sequence[str]]) -> list[str]:
    """All names in one order that keeps that of each list as far as they agree: what is new stands after what it
    follows."""
    found: list[str] = []
    for names in sorted(orders, key=len, reverse=True):
        after = -1
        for name in names:
            if name in found:
                after = found.index(name)
            else:
                after += 1
                found.insert(after, name)
    return found
