"""What exports left beside a record for readers: class activation maps, and what can be told apart after each layer.

Files may have been moved, or written by anyone: what is not there is not shown, what cannot be read is named.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipelang.report.decode import cut, visible
from recipelang.report.rows import Row
from recipelang.report.runs import RecordedRun

MOST_BYTES, MOST_PIXELS, MOST_SHOWN = 40_000_000, 60_000_000, 60
LONGEST = 200  # characters of a name in a file


@dataclass(frozen=True)
class Maps:
    """Class activation maps of a network beside those of healthy.

    Attributes:
        row: the network, under its first seed.
        alike: the mean correlation of the two maps; None if there is none.
        images: (class, what healthy answered, what the network answered, how alike the maps are) of each.
        png: the image, a row of equal height for each of `images`.
    """

    row: Row
    alike: float | None
    images: tuple[tuple[str, str, str, float | None], ...]
    png: bytes


@dataclass(frozen=True)
class Depths:
    """The accuracy of a classifier that is imprinted after each layer of a network.

    Attributes:
        row: the network, under its first seed.
        whole: the accuracy of the network, 0 … 1.
        layers: (name, accuracy before, after), in the order of the network.
    """

    row: Row
    whole: float
    layers: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True)
class Exhibits:
    """What was found; `unread` says in words which files could not be read, and why."""

    maps: tuple[Maps, ...] = ()
    depths: tuple[Depths, ...] = ()
    unread: tuple[str, ...] = ()


def exhibits(rows: Sequence[Row], sources: Sequence[RecordedRun]) -> Exhibits:
    """What the exports of these networks left, of at most `MOST_SHOWN` networks."""
    found: dict[type, list[Any]] = {Maps: [], Depths: []}
    unread: list[str] = []
    for row in rows:
        folder = sources[row.origin].folder
        if folder is None or not row.variant.runs:
            continue
        run = row.variant.runs[0]
        told = " ".join(step.text for step in run.steps if step.verb == "export")
        for word, kind, read in (("activation_maps", Maps, _maps), ("layer_accuracy", Depths, _depths)):
            if word not in told or len(found[kind]) >= MOST_SHOWN:
                continue
            place = folder / run.folder / "export"
            try:
                if (place / f"{word}.json").is_file() and place.resolve().is_relative_to(folder.resolve()):
                    found[kind].append(read(row, place / word))
            except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
                why = cut(visible(str(error)), 120)
                unread.append(f"what `export {word}` left for `{row.name}` is not shown: {why}")
    return Exhibits(tuple(found[Maps]), tuple(found[Depths]), tuple(unread))


def _maps(row: Row, place: Path) -> Maps:
    told = json.loads(_bytes(place.with_suffix(".json")))
    images = tuple(
        (_name(one["class"]), _name(one["healthy"]), _name(one["network"]), _share(one["alike"], -1))
        for one in told["images"]
    )
    if not images:
        raise ValueError("it names no image")
    png = _bytes(place.with_suffix(".png"))
    with _opened(png) as image:
        image.verify()
    return Maps(row, _share(told["alike"], -1), images, png)


def _depths(row: Row, place: Path) -> Depths:
    told = json.loads(_bytes(place.with_suffix(".json")))
    layers = tuple((_name(one["layer"]), _sure(one["before"]), _sure(one["after"])) for one in told["layers"])
    if not layers:
        raise ValueError("it names no layer")
    return Depths(row, _sure(told["network"]), layers)


def _bytes(file: Path) -> bytes:
    if not file.is_file():
        raise ValueError(f"`{file.name}` is not a file")
    if file.stat().st_size > MOST_BYTES:
        raise ValueError(f"`{file.name}` is too large")
    return file.read_bytes()


def _name(text: Any) -> str:
    if not isinstance(text, str):
        raise TypeError("a name is not a text")
    return cut(visible(text), LONGEST)


def _share(value: Any, low: float) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not low - 1e-6 <= value <= 1 + 1e-6:
        raise ValueError(f"{cut(visible(str(value)), 20)} is not a number between {low:g} and 1")
    return float(value)


def _sure(value: Any) -> float:
    found = _share(value, 0)
    if found is None:
        raise ValueError("a number is missing")
    return found


@contextmanager
def _opened(png: bytes) -> Iterator[Any]:
    """The image, while errors of reading it are ValueErrors."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError("the image is too large")
            yield image
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("the image is not a PNG that can be read") from error


def smaller(png: bytes, rows: int, shown: int, width: int, most: int) -> tuple[bytes, tuple[int, int], int]:
    """The first rows of an image of equal rows, in fewer pixels, as WebP: a tenth of a PNG's bytes for such images.

    Args:
        png: the image.
        rows: how many rows it has.
        shown: how many of them are wanted.
        width: in pixels at most.
        most: bytes; fewer rows are kept if these need more, but at least one.

    Returns:
        the WebP, (width, height), and how many rows it shows.

    Raises:
        ValueError: it is not a PNG, or too large.
    """
    from PIL import Image

    with _opened(png) as image:
        whole = image.convert("RGB")
    shown = min(rows, shown)
    while True:
        part = whole.crop((0, 0, whole.width, max(1, whole.height * shown // rows)))
        if part.width > width:
            part = part.resize((width, max(1, part.height * width // part.width)), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        part.save(buffer, "WEBP", quality=82, method=4)
        if len(buffer.getvalue()) <= most or shown == 1:
            return buffer.getvalue(), part.size, shown
        shown -= 1
