"""How important each unit is by a ranking, and what was removed."""

from __future__ import annotations

from recipelang.report import words
from recipelang.report.axes import FARTHEST
from recipelang.report.chart import WIDTH, Chart, text_of
from recipelang.report.parts import Ranking
from recipelang.report.svg import ACCENT, GONE, MUTED, drawing, marked, to_svg

MOST_UNITS = 60
PALE = 0.35  # opacity of what was removed


def importance(ranking: Ranking, index: int) -> Chart:
    """A ranking as bars, least important first; removed units in a different colour. Of groups what was removed."""
    if any(unit.of for unit in ranking.ranked):
        return _removed(ranking, index)
    known = [unit for unit in ranking.ranked if unit.score is not None and abs(unit.score) <= FARTHEST]
    shown = known[:MOST_UNITS]
    removed = sum(unit.removed for unit in ranking.ranked)
    with drawing(WIDTH, 0.75 + 0.19 * max(4, len(shown))) as figure:
        axes = figure.subplots()
        drawn = axes.barh(range(len(shown)), [unit.score for unit in shown], height=0.66, color=ACCENT)
        for bar, unit in zip(drawn, shown, strict=True):
            if unit.removed:  # pale with an outline: not only the colour is another
                bar.set(facecolor=(GONE, PALE), edgecolor=GONE, linewidth=0.9)
            marked(bar, (f"{unit.layer}: {unit.score:.4g}, {'removed' if unit.removed else 'kept'}", ""))
        axes.set_yticks(range(len(shown)), [words.shorten(unit.layer, 30) for unit in shown])
        for label, unit in zip(axes.get_yticklabels(), shown, strict=True):
            label.set(family="DejaVu Sans Mono", fontsize=8, color=GONE if unit.removed else MUTED)
        axes.set_ylim(max(4, len(shown)) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("importance")
        caption = f"{removed} of {len(ranking.ranked)} removed (pale). Least important first"
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
        kept = [100 - share for share in shares]
        axes.barh(range(len(shown)), kept, left=shares, height=0.66, color=ACCENT)
        gone_of = axes.barh(range(len(shown)), shares, height=0.66, color="none", edgecolor=GONE, linewidth=0.9)
        for bar, unit in zip(gone_of, shown, strict=True):
            bar.set_facecolor((GONE, PALE))
            marked(bar, (f"{unit.layer}: {unit.gone or 0} of {unit.of} removed", ""))
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
        caption = f"{gone:,} of {whole:,} removed (pale), by group of coupled channels, in the order of the network"
        caption += f"; the first {MOST_UNITS} are shown." if len(groups) > len(shown) else "."
        name, caption = f"importance-{index}", f"{ranking.name}: {caption}"
        svg = to_svg(figure, name, f"removed by {ranking.step.text}")
        lines = ((unit.layer, str(unit.gone or 0), str(unit.of)) for unit in groups)
        text = text_of(("group", "removed", "of"), lines)
        return Chart(name, "Removed of each group", caption, svg, "importance", text, ranking.step.text)
