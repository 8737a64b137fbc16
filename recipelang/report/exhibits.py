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
MOST_OF_ONE = 3  # networks in one file: healthy, recovered and the network
LONGEST = 200  # characters of a name in a file
QUALITY = 82  # of WebP


@dataclass(frozen=True)
class Mapped:
    """An image, and what networks made of it.

    Attributes:
        label: its class.
        answers: what each network answered.
        alike: how alike the map of each is to healthy's; None for healthy itself, without it, and where one is flat.
    """

    label: str
    answers: tuple[str, ...]
    alike: tuple[float | None, ...]


@dataclass(frozen=True)
class Maps:
    """Class activation maps of a network beside those of healthy.

    Attributes:
        row: the network, under its first seed.
        names: of the networks, `healthy`, perhaps `recovered`, and `network`; healthy may have no maps.
        without: networks that have no maps, each with the reason.
        images: of each.
        sheet: a PNG of equal pictures without space between them: a row for each of the first `drawn` images, with the
            image and the map of each of `names`.
        drawn: how many images the sheet has.
    """

    row: Row
    names: tuple[str, ...]
    without: tuple[tuple[str, str], ...]
    images: tuple[Mapped, ...]
    sheet: bytes
    drawn: int


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
    if "tiled" not in told:
        raise ValueError("an earlier version wrote it; another run draws it again")
    names = tuple(_name(name) for name in told["images"][0]["answers"])[:MOST_OF_ONE] if told["images"] else ()
    images = tuple(
        Mapped(
            _name(one["class"]),
            tuple(_name(one["answers"][name]) for name in names),
            tuple(_share(one["alike"][name], -1) if name in told["alike"] else None for name in names),
        )
        for one in told["images"]
    )
    without = tuple((_name(name), _name(why)) for name, why in dict(told.get("without", {})).items())[:MOST_OF_ONE]
    if not images or not names:
        raise ValueError("it names no image, or no network")
    sheet, drawn = _bytes(place.with_name("activation_map_tiles.png")), min(len(images), int(_sure(told["tiled"], 99)))
    with _opened(sheet) as image:
        if not drawn or image.width % (1 + len(names)) or image.height % drawn:
            raise ValueError("its pictures are not of one size")
        image.verify()
    return Maps(row, names, without, images, sheet, drawn)


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


def _share(value: Any, low: float, high: float = 1) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not low - 1e-6 <= value <= high + 1e-6:
        raise ValueError(f"{cut(visible(str(value)), 20)} is not a number between {low:g} and {high:g}")
    return float(value)


def _sure(value: Any, high: float = 1) -> float:
    found = _share(value, 0, high)
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


def tiles(sheet: bytes, rows: int, columns: int) -> list[list[bytes]]:
    """The pictures of a sheet, row by row, as WebP: a tenth of a PNG's bytes for such images.

    Raises:
        ValueError: it is not a PNG, or too large.
    """
    with _opened(sheet) as image:
        whole = image.convert("RGB")
    width, height = whole.width // columns, whole.height // rows

    def picture(row: int, column: int) -> bytes:
        place = column * width, row * height
        buffer = io.BytesIO()
        whole.crop((*place, place[0] + width, place[1] + height)).save(buffer, "WEBP", quality=QUALITY, method=4)
        return buffer.getvalue()

    return [[picture(row, column) for column in range(columns)] for row in range(rows)]


def size_of(picture: bytes) -> tuple[int, int]:
    """Width and height of a picture that `tiles` returned."""
    from PIL import Image

    with Image.open(io.BytesIO(picture), formats=["WEBP"]) as image:
        return image.size
