"""Class activation maps of several networks side by side: a row for each image, a column for each network.

As in figure 3 of the appendix of the MIS paper: the image, then healthy, recovered and surgical network.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

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
        heading: its name, or `recovered`; "" above the images themselves.
        anchor: of the row that it stands for; "" for none.
        pictures: of the first images, WebP.
        answers: to all images; for the images themselves, their classes.
        alike: how alike its maps are to healthy's; empty for healthy.
    """

    heading: str
    anchor: str
    pictures: tuple[bytes, ...]
    answers: tuple[str, ...]
    alike: tuple[float | None, ...] = ()


def maps(found: Sequence[Maps]) -> list[Chart]:
    """The maps of the first networks, those that recipes end with before others; networks that were shown the same
    images beside the same healthy network stand side by side."""
    groups: dict[tuple[Column, Column], list[tuple[Column, ...]]] = {}
    shown = 0
    for one in sorted(found, key=lambda one: not one.row.goes_on)[:MOST_NETWORKS]:
        with suppress(ValueError):  # pixels that cannot be decoded, in a file whose checksums hold: it is counted below
            image, healthy, *others = _columns(one)
            groups.setdefault((image, healthy), []).append(tuple(others))
            shown += 1
    left = f" Maps of {shown} of {len(found)} networks are shown." if shown < len(found) else ""
    charts: list[Chart] = []
    for first, networks in groups.items():
        charts += [_chart((*first, *more), len(charts) + k, left) for k, more in enumerate(_parted(networks))]
    return charts


def _columns(one: Maps) -> Iterator[Column]:
    """The image, healthy, perhaps recovered, and the network."""
    across = list(zip(*tiles(one.sheet, one.drawn, 1 + len(one.names)), strict=True))
    pictures = [column[:MOST_IMAGES] for column in across]
    yield Column("", "", pictures[0], tuple(image.label for image in one.images))
    for place, name in enumerate(one.names):
        last = place == len(one.names) - 1
        yield Column(
            one.row.name if last else name,
            one.row.anchor if last else "",
            pictures[1 + place],
            tuple(image.answers[place] for image in one.images),
            tuple(image.alike[place - 1] for image in one.images) if place else (),
        )


def _parted(networks: Iterable[tuple[Column, ...]]) -> list[list[Column]]:
    """Columns for each chart: a recovered network that is the same as the one before is shown once."""
    parts: list[list[Column]] = [[]]
    for columns in networks:
        new = [column for column in columns if column not in parts[-1]]
        if len(parts[-1]) + len(new) > BESIDE:
            parts.append([])
            new = list(columns)
        parts[-1] += new
    return [part for part in parts if part]


def _chart(columns: Sequence[Column], index: int, left: str) -> Chart:
    image, healthy, *others = columns
    names = listed([column.heading for column in others if column.anchor])
    count, drawn = len(image.answers), len(image.pictures)
    caption = (
        "The image with its class, then what raises the score of that class in each network: its answer, and how its "
        "map correlates with healthy's."
    )
    means = [f"{column.heading} {_number(_mean(column.alike))}" for column in others]
    caption += f" Mean correlation over {count} images: {listed(means)}." if count > 1 else ""
    caption += f" {drawn} of {count} images; all are in the folder export." if drawn < count else ""
    rows = (
        (label, answer, *(f"{column.answers[row]}, {_number(column.alike[row])}" for column in others))
        for row, (label, answer) in enumerate(zip(image.answers, healthy.answers, strict=True))
    )
    header = ("class", "healthy", *(f"{column.heading}, correlation" for column in others))
    alt = f"class activation maps of {names} beside those of healthy for {drawn} images"
    svg = _drawn(columns, alt)
    return Chart(f"maps-{index}", words.shorten(names, 60), caption + left, svg, "maps", text_of(header, rows))


def _drawn(columns: Sequence[Column], alt: str) -> str:
    """A grid of pictures with words under them, in the page's colours."""
    width, height = size_of(columns[0].pictures[0])
    wide = min((WIDE - GAP * (len(columns) - 1)) / len(columns), WIDE / 4)
    high = wide * height / width
    body = []
    for place, column in enumerate(columns):
        x = place * (wide + GAP)
        body.append(_text(x, SIZE, column.heading or "image", wide, INK, "font-weight: 600"))
        for row, picture in enumerate(column.pictures):
            y = HEADING + row * (high + SAID)
            answer, label = column.answers[row], columns[0].answers[row]
            alike = _number(column.alike[row]) if column.alike else ""
            said = f"{column.heading or 'image'}: {answer}" + (f", correlation {alike}" if alike else "")
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
