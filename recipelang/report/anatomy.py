"""What became of every layer: width, weights, zeros, bits, operations and time, before and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from recipelang.report import words
from recipelang.report.chart import WIDTH, Chart, Text, text_of
from recipelang.report.layered import LayerForm, LayerPair, LayerSeconds
from recipelang.report.rows import Row
from recipelang.report.svg import ACCENT, GONE, MUTED, REFERENCE, drawing, marked, to_svg
from recipelang.units import counted

MOST_LAYERS = 60
FLOAT = 32.0
#: title → a number of a layer; each is a panel where it differs from healthy in any layer
PANELS: tuple[tuple[str, Callable[[LayerForm], float]], ...] = (
    ("width", lambda form: form.width),
    ("nonzero weights", lambda form: form.nonzero),
    ("bits of a weight", lambda form: form.bits),
    ("bits of its input", lambda form: form.activation_bits),
)


def changed(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The networks of which a layer is not as in healthy."""
    return tuple(row for row in rows if any(pair.own != pair.healthy for pair in row.variant.forms))


def anatomy(row: Row, index: int) -> Chart:
    """Every layer in the order of the network: what is left of healthy's, as shares of it; removed layers are pale."""
    pairs = row.variant.forms
    shown = pairs[:MOST_LAYERS]
    panels = [panel for panel in PANELS if any(_differs(pair, panel[1]) for pair in pairs)] or [PANELS[0]]
    narrow = len(panels) == len(PANELS)
    with drawing(WIDTH, 0.85 + 0.15 * narrow + 0.19 * max(4, len(shown))) as figure:
        drawn = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (title, of) in zip(drawn, panels, strict=True):
            _panel(axes, shown, title, of, narrow)
        drawn[0].set_yticks(range(len(shown)), [words.shorten(pair.layer, 26) for pair in shown])
        for label, pair in zip(drawn[0].get_yticklabels(), shown, strict=True):
            label.set(family="DejaVu Sans Mono", fontsize=8, color=MUTED if pair.own else GONE)
        drawn[0].set_ylim(max(4, len(shown)) - 0.4, -0.6)
        name = f"layers-{index}"
        svg = to_svg(figure, name, f"width, zeros and bits of the layers of {row.name}")
    caption = f"{row.name}: {_summed(pairs)}"
    caption += f" The first {MOST_LAYERS} of {len(pairs)} layers are drawn." if len(pairs) > len(shown) else ""
    return Chart(name, "Layers before and after", caption, svg, "layers", _text(row))


def _panel(axes: Any, shown: Sequence[LayerPair], title: str, of: Callable[[LayerForm], float], narrow: bool) -> None:
    """One number of all layers in % of healthy's; of bits, in bits. The title of a narrow panel has two lines."""
    bits = title.startswith("bits")
    whole = [FLOAT if bits else 100.0 if pair.healthy else 0.0 for pair in shown]
    parts = [_part(pair, of, bits) for pair in shown]
    places = range(len(shown))
    axes.barh(places, whole, height=0.8, color=(REFERENCE, 0.18), edgecolor=REFERENCE, linewidth=0.5)
    for bar, pair in zip(axes.barh(places, parts, height=0.5, color=ACCENT), shown, strict=True):
        before, after = (_number(one, of) for one in (pair.healthy, pair.own))
        marked(bar, (f"{pair.layer}, {title}: {before} before, {after} after", ""))
    axes.set_xlim(0, max([FLOAT if bits else 100.0, *parts]))
    label = title if bits else f"{title} (%)"
    axes.set_xlabel(label.replace(" ", "\n", 1) if narrow else label, fontsize=8.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)


def _part(pair: LayerPair, of: Callable[[LayerForm], float], bits: bool) -> float:
    if pair.own is None:
        return 0.0
    before = of(pair.healthy) if pair.healthy else 0
    return of(pair.own) if bits else min(1000.0, 100 * of(pair.own) / before) if before else 100.0


def _differs(pair: LayerPair, of: Callable[[LayerForm], float]) -> bool:
    """Whether a layer that stays has another number; one that is gone has all of them gone."""
    return pair.own is not None and (pair.healthy is None or of(pair.own) != of(pair.healthy))


def _number(form: LayerForm | None, of: Callable[[LayerForm], float]) -> str:
    return "–" if form is None else f"{of(form):,.0f}"


def _summed(pairs: Sequence[LayerPair]) -> str:
    """How many layers went, and what is left of their weights."""
    gone = sum(pair.own is None for pair in pairs)
    before, after = (
        [form for pair in pairs if (form := getattr(pair, side)) is not None] for side in ("healthy", "own")
    )
    said = f"{gone} of {counted(len(before), 'layer')} removed (in the colour of removal). " if gone else ""
    weights = [sum(form.parameters for form in forms) for forms in (before, after)]
    zeros = sum(form.parameters - form.nonzero for form in after)
    said += f"{weights[1]:,} of {weights[0]:,} weights are left"
    return f"{said}, {zeros:,} of them zero." if zeros else f"{said}."


HEADER = ("layer", "width", "weights", "zeros", "bits", "bits of its input", "operations")


def _text(row: Row) -> Text:
    """Before → after of every number; once where nothing has changed. The time where a profile has the same layers."""
    times = {layer.layer: layer for profile in row.variant.profiles[:1] for layer in profile.layers}
    timed = any(pair.layer in times for pair in row.variant.forms)
    lines = []
    for pair in row.variant.forms:
        both = (pair.healthy, pair.own)
        line = [
            pair.layer,
            _change(*(f"{one.width:,}" if one else "" for one in both)),
            _change(*(f"{one.parameters:,}" if one else "" for one in both)),
            _change(*(_share(one) if one else "" for one in both)),
            _change(*(f"{one.bits:g}" if one else "" for one in both)),
            _change(*(f"{one.activation_bits:g}" if one else "" for one in both)),
            _change(*(_operations(one) if one else "" for one in both)),
        ]
        if timed:
            known = times.get(pair.layer)
            line.append(_change(*(map(_seconds, (known.healthy, known.own)) if known else ("–", "–"))))
        lines.append(tuple(line))
    return text_of((*HEADER, "time") if timed else HEADER, lines)


def _change(before: str, after: str) -> str:
    """`16 → 8`; `16` where both are the same, `16 → removed`."""
    if before == after:
        return before or "–"
    return f"{before or 'new'} → {after or 'removed'}"


def _share(form: LayerForm) -> str:
    return f"{100 * (1 - form.nonzero / form.parameters):.0f} %" if form.parameters else "–"


def _operations(form: LayerForm) -> str:
    return "–" if form.flops is None else words.quantity(form.flops, "FLOPs")


def _seconds(one: LayerSeconds | None) -> str:
    return "" if one is None else words.quantity(one.seconds, "s")
