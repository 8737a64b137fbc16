"""Class activation maps of several networks side by side: a row for each image, a column for each network.

As in figure 3 of the appendix of the MIS paper: the image, then healthy, recovered and surgical network.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from markupsafe import escape

from recipelang.report import words
from recipelang.report.chart import Chart, text_of
from recipelang.report.exhibits import Maps, size_of, tiles
from recipelang.report.svg import GONE, INK, MUTED, THEME
from recipelang.units import listed

MOST_NETWORKS, MOST_IMAGES = 6, 4
BESIDE = 3  # columns beside the image and healthy, so that words stay readable on a phone
WIDE, GAP, HEADING, SAID, SIZE, LETTER = 360.0, 6.0, 16.0, 28.0, 9.0, 5.2  # in the units of the SVG


@dataclass(frozen=True)
class Column:
    """A network in a chart.

    Attributes:
        name: of the network, `healthy` or `recovered`; "" above the images themselves.
        anchor: of the row that it stands for; "" for none.
        pictures: of the first images, WebP.
        answers: to all images; for the images themselves, their classes.
        alike: how alike its maps are to healthy's; empty for healthy, and where healthy has no maps.
        run: the name of its run among several; "" where there is one, and in the name of a row.
    """

    name: str
    anchor: str
    pictures: tuple[bytes, ...]
    answers: tuple[str, ...]
    alike: tuple[float | None, ...] = ()
    run: str = field(default="", compare=False)  # what looks the same in two runs is shown once


def maps(found: Sequence[Maps], runs: Sequence[str] = ("",)) -> list[Chart]:
    """The maps of the first networks, those that recipes end with before others; networks that were shown the same
    images stand side by side, those of several runs too.

    Args:
        found: maps of networks, in order of their rows.
        runs: the names of all runs, for those of `row.origin`.
    """
    groups: dict[Column, list[tuple[Maps, tuple[Column, ...]]]] = {}
    for one in _first(found):
        with suppress(ValueError):  # pixels that cannot be decoded, in a file whose checksums hold: it is counted below
            image, *networks = _columns(one, runs[one.row.origin] if len(runs) > 1 else "")
            groups.setdefault(image, []).append((one, tuple(networks)))
    shown = sum(map(len, groups.values()))
    left = f" Maps of {shown} of {len(found)} networks are shown." if shown < len(found) else ""
    charts: list[Chart] = []
    for image, group in groups.items():
        told = _undrawn([one for one, _ in group]) + left + _apart(found, group, runs)
        parts = _parted(columns for _, columns in group)
        charts += [_chart((image, *more), len(charts) + k, told) for k, more in enumerate(parts)]
    return charts


def _first(found: Sequence[Maps]) -> list[Maps]:
    """Those that are shown: of each run the first ones, run by run."""
    places: dict[int, int] = {}
    ranked = []
    for one in sorted(found, key=lambda one: not one.row.goes_on):
        places[one.row.origin] = places.get(one.row.origin, -1) + 1
        ranked.append((not one.row.goes_on, places[one.row.origin], one))
    kept = [one for *_, one in sorted(ranked, key=lambda each: each[:2])[:MOST_NETWORKS]]
    return sorted(kept, key=lambda one: one.row.origin)


def _undrawn(networks: Sequence[Maps]) -> str:
    """Which networks that others are compared with have no maps, and why."""
    found = (f" {name} of {one.row.name} is not drawn: {why}." for one in networks for name, why in one.without)
    return "".join(dict.fromkeys(found))


def _apart(found: Sequence[Maps], group: Sequence[tuple[Maps, Any]], runs: Sequence[str]) -> str:
    """Which of several runs are not in a chart, and why."""
    here, drawn = {one.row.origin for one, _ in group}, {one.row.origin for one in found}
    others = [runs[k] for k in sorted(drawn - here)]
    none = [run for k, run in enumerate(runs) if k not in drawn]
    told = f" Maps of {listed(others)} are of other images and stand apart." if others else ""
    return told + (f" {listed(none)}: no maps, which `export activation_maps` draws." if none else "")


def _columns(one: Maps, run: str) -> Iterator[Column]:
    """The image, perhaps healthy and recovered, and the network."""
    across = list(zip(*tiles(one.sheet, one.drawn, 1 + len(one.names)), strict=True))
    pictures = [column[:MOST_IMAGES] for column in across]
    yield Column("", "", pictures[0], tuple(image.label for image in one.images))
    for place, name in enumerate(one.names):
        last, compared = place == len(one.names) - 1, "healthy" in one.names and name != "healthy"
        yield Column(
            one.row.name if last else name,
            one.row.anchor if last else "",
            pictures[1 + place],
            tuple(image.answers[place] for image in one.images),
            tuple(image.alike[place] for image in one.images) if compared else (),
            "" if last else run,
        )


def _parted(networks: Iterable[tuple[Column, ...]]) -> list[list[Column]]:
    """Columns for each chart: a healthy or recovered network that is the same as one before is shown once."""
    parts: list[list[Column]] = [[]]
    for columns in networks:
        new = [column for column in columns if column not in parts[-1]]
        if len(parts[-1]) + len(new) > 1 + BESIDE:
            parts.append([])
            new = list(columns)
        parts[-1] += new
    return [part for part in parts if part]


def _headings(columns: Sequence[Column]) -> list[str]:
    """What stands above each column: a run is named where another network has the same name."""
    names = [column.name for column in columns]
    return [
        f"{column.run}: {column.name}" if column.run and names.count(column.name) > 1 else column.name or "image"
        for column in columns
    ]


def _chart(columns: Sequence[Column], index: int, left: str) -> Chart:
    image, *networks = columns
    headings = _headings(columns)
    names = listed([column.name for column in networks if column.anchor])
    count, drawn = len(image.answers), len(image.pictures)
    compared = [(column, heading) for column, heading in zip(columns, headings, strict=True) if column.alike]
    whose = "its own healthy's" if any(column.run for column in networks) else "healthy's"
    caption = "The image with its class, then what raises the score of that class in each network: its answer"
    caption += f", and how its map correlates with {whose}." if compared else "."
    means = [f"{heading} {_number(_mean(column.alike))}" for column, heading in compared]
    caption += f" Mean correlation over {count} images: {listed(means)}." if count > 1 and means else ""
    caption += f" {drawn} of {count} images; all are in the folder export." if drawn < count else ""
    rows = ((label, *(_said(column, row) for column in networks)) for row, label in enumerate(image.answers))
    header = tuple(heading + ", correlation" * bool(c.alike) for c, heading in zip(columns, headings, strict=True))
    beside = " beside those of healthy" if compared else ""
    alt = f"class activation maps of {names}{beside} for {drawn} images"
    svg = _drawn(columns, headings, alt)
    table = text_of(("class", *header[1:]), rows)
    return Chart(f"maps-{index}", words.shorten(names, 60), caption + left, svg, "maps", table)


def _said(column: Column, row: int) -> str:
    """What a network answered to an image, and how alike its map is to healthy's."""
    return column.answers[row] + (f", {_number(column.alike[row])}" if column.alike else "")


def _drawn(columns: Sequence[Column], headings: Sequence[str], alt: str) -> str:
    """A grid of pictures with words under them, in the page's colours."""
    width, height = size_of(columns[0].pictures[0])
    wide = min((WIDE - GAP * (len(columns) - 1)) / len(columns), WIDE / 4)
    high = wide * height / width
    body = []
    for place, (column, heading) in enumerate(zip(columns, headings, strict=True)):
        x = place * (wide + GAP)
        body.append(_text(x, SIZE, heading, wide, INK, "font-weight: 600"))
        for row, picture in enumerate(column.pictures):
            y = HEADING + row * (high + SAID)
            answer, label = column.answers[row], columns[0].answers[row]
            alike = _number(column.alike[row]) if column.alike else ""
            said = f"{heading}: {answer}" + (f", correlation {alike}" if alike else "")
            data = base64.b64encode(picture).decode("ascii")
            goes = f' data-row="{escape(column.anchor)}"' if column.anchor else ""
            body.append(
                f'<g data-tip="{escape(said)}"{goes}><image x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" '
                f'height="{high:.1f}" href="data:image/webp;base64,{data}" /></g>'
            )
            wrong = answer != label
            body.append(_text(x, y + high + 10, answer + " ✗" * wrong, wide, GONE if wrong else INK))
            if alike:
                body.append(_text(x, y + high + 20, alike, wide, MUTED))
    tall = HEADING + len(columns[0].pictures) * (high + SAID)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE:.0f} {tall:.0f}" role="img" '
        f'aria-label="{escape(alt)}" class="chart">{"".join(body)}</svg>'
    )


def _text(x: float, y: float, text: str, wide: float, colour: str, more: str = "") -> str:
    """One line of words as wide as a picture."""
    fill = f"var({THEME[colour][0]}, {colour})"
    style = f"font: {SIZE:g}px var(--sans, sans-serif); fill: {fill}; {more}".removesuffix("; ")
    return f'<text x="{x:.1f}" y="{y:.1f}" style="{style}">{escape(words.shorten(text, int(wide / LETTER)))}</text>'


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _number(value: float | None) -> str:
    return "–" if value is None else words.number(value, 2)
