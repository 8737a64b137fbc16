"""Where the time of a network is: its layers beside those of healthy, as a chart and in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from recipelang.kinds.layer_times import JOINED
from recipelang.report import words
from recipelang.report.axes import FARTHEST
from recipelang.report.chart import MOST_LINES, WIDTH, Chart, Text
from recipelang.report.layered import LayerSeconds, LayerTime, Profile
from recipelang.report.rows import Row
from recipelang.report.svg import ACCENT, MUTED, REFERENCE, drawing, marked, to_svg
from recipelang.units import counted

MOST_LAYERS = 40  # of a chart, those that take longest


@dataclass(frozen=True)
class Profiled:
    """A profile of one network of the comparison.

    Attributes:
        row: the network. profile: of it.
    """

    row: Row
    profile: Profile


def profiled(rows: Sequence[Row]) -> tuple[Profiled, ...]:
    """The profiles of the networks; those of healthy are beside the others, and alone where there are no others."""
    found = [Profiled(row, profile) for row in rows for profile in row.variant.profiles if profile.layers]
    return tuple(one for one in found if one.row.kind != "healthy") or tuple(found)


def profile_chart(shown: Profiled, index: int) -> Chart:
    """The layers that take longest, in the order in which they are computed: the network, and healthy behind it."""
    profile, beside = shown.profile, any(layer.healthy for layer in shown.profile.layers)
    layers, rest = longest(profile.layers, MOST_LAYERS)
    unit, factor = _unit([_taken(one) for layer in layers for one in (layer.healthy, layer.own)])
    with drawing(WIDTH, 0.85 + 0.19 * max(4, len(layers))) as figure:
        axes = figure.subplots()
        places = range(len(layers))
        if beside:
            before = axes.barh(
                places, [factor * _taken(one.healthy) for one in layers], height=0.8, color=(REFERENCE, 0.25),
                edgecolor=REFERENCE, linewidth=0.8, label="healthy",
            )  # fmt: skip
            _tips(before, layers, "healthy")
        own = axes.barh(
            places, [factor * _taken(one.own) for one in layers], height=0.44, color=ACCENT, label="this network"
        )
        _tips(own, layers, "own")
        axes.set_yticks(places, [words.shorten(name_of(layer), 30) for layer in layers])
        for label in axes.get_yticklabels():
            label.set(family="DejaVu Sans Mono", fontsize=8, color=MUTED)
        axes.set_ylim(max(4, len(layers)) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"{unit} of a call")
        if beside:
            figure.legend(loc="outside lower center", ncols=2)
        name = f"profile-{index}"
        svg = to_svg(figure, name, f"time of each layer of {shown.row.name}")
    caption = f"{shown.row.name}, on {profile.on}. {_summed(profile)}"
    caption += f" The {len(layers)} layers that take longest are drawn; {rest}." if rest else ""
    caption += f" Times are taken {profile.how}." if profile.how else ""
    return Chart(name, f"Where the time is: {profile.name}", caption, svg, "layers", _text(profile, beside))


def name_of(layer: LayerTime) -> str:
    """The path of a layer; of the network itself, its class."""
    return layer.layer or (f"({layer.kind} itself)" if layer.kind else "(the network itself)")


def longest(layers: Sequence[LayerTime], most: int) -> tuple[list[LayerTime], str]:
    """The layers that take longest in either network, in order, and what the others take together."""
    order = sorted(range(len(layers)), key=lambda i: -max(_taken(layers[i].healthy), _taken(layers[i].own)))
    kept = sorted(order[:most])
    others = [layers[i] for i in order[most:]]
    if not others:
        return [layers[i] for i in kept], ""
    together = words.quantity(sum(_taken(one.own) for one in others), "s")
    return [layers[i] for i in kept], f"{counted(len(others), 'other')} take {together} together"


def _taken(one: LayerSeconds | None) -> float:
    return one.seconds if one is not None and 0 <= one.seconds <= FARTHEST else 0.0


def _unit(seconds: Sequence[float]) -> tuple[str, float]:
    """The unit in which the longest has few digits, and how many of it a second has."""
    units = (("s", 1.0, 1.0), ("ms", 1e3, 1e-3), ("µs", 1e6, 0.0))
    return next((name, factor) for name, factor, least in units if max(seconds, default=0.0) >= least)


def _tips(bars: Any, layers: Sequence[LayerTime], side: str) -> None:
    for bar, layer in zip(bars, layers, strict=True):
        one: LayerSeconds | None = getattr(layer, side)
        whose = "healthy" if side == "healthy" else "this network"
        marked(bar, (f"{name_of(layer)}, {whose}: {_told(one)}", ""))


def _told(one: LayerSeconds | None) -> str:
    if one is None:
        return "–"
    calls = f" in {one.calls} calls" if one.calls > 1 else ""
    return f"{words.quantity(one.seconds, 's')}{calls}"


def _summed(profile: Profile) -> str:
    """What all layers take together, and how much watching them disturbs."""
    own = sum(_taken(layer.own) for layer in profile.layers)
    before = sum(_taken(layer.healthy) for layer in profile.layers)
    said = f"All layers take {words.quantity(own, 's')} together"
    said += f", those of healthy {words.quantity(before, 's')} ({own / before:.2f}×)" if before > 0 else ""
    whole = f"; a call that nothing watches takes {words.quantity(profile.own, 's')}" if profile.own else ""
    return f"{said}{whole}."


def _text(profile: Profile, beside: bool) -> Text:
    """The layers that take longest, in order, and the sum of the others."""
    layers, _ = longest(profile.layers, MOST_LINES - 1)
    whole = sum(_taken(layer.own) for layer in profile.layers)
    kept = frozenset(part for layer in profile.layers if layer.own for part in layer.layer.split(JOINED))
    lines = [_line(layer, whole, beside, kept) for layer in layers]
    told = {layer.layer for layer in layers}
    others = [layer for layer in profile.layers if layer.layer not in told]
    if others:
        sums = [LayerSeconds(sum(_taken(getattr(one, side)) for one in others)) for side in ("healthy", "own")]
        lines.append(_line(LayerTime(f"{counted(len(others), 'other')}", "", *sums), whole, beside, kept))
    header = (
        "layer",
        "kind",
        *(("healthy",) if beside else ()),
        "time",
        *(("× of healthy",) if beside else ()),
        "share",
    )
    return Text(header, tuple(lines))


def _line(layer: LayerTime, whole: float, beside: bool, kept: frozenset[str]) -> tuple[str, ...]:
    """A line of the table; `kept` are the layers of the network, also those that it computes together with others."""
    share = f"{100 * _taken(layer.own) / whole:.1f} %" if layer.own and whole else "–"
    before, own = _taken(layer.healthy), _taken(layer.own)
    gone = layer.healthy and not layer.own and not kept.intersection(layer.layer.split(JOINED))
    change = f"{own / before:.2f}" if layer.own and before else "removed" if gone else "–"
    first, second = ((_told(layer.healthy),), (change,)) if beside else ((), ())
    return (name_of(layer), layer.kind, *first, _told(layer.own), *second, share)
