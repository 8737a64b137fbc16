"""Rows of a data set of the library `datasets` become images or texts with classes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from recipelang.errors import Refusal
from recipelang.images.classes import alike, printable
from recipelang.images.dataset import ImageDataset
from recipelang.images.decode import read_bytes, shown, unreadable_image, whole_image
from recipelang.images.files import Listed, gather, open_files, usual
from recipelang.images.hub_columns import Chosen, kind_of
from recipelang.images.hub_labels import own_names, several_labels
from recipelang.images.hub_sets import HubSet
from recipelang.images.naming import classes_of, require_trained
from recipelang.images.readers import FolderReader, Reader, Stamp, file_stamp
from recipelang.images.splits import SPLITS
from recipelang.images.table import MENTIONED

CHUNK = 1000  # rows that are looked through at a time


@dataclass(frozen=True)
class Rows:
    """The rows of a data set with their classes; see `texts.Labelled`.

    Attributes:
        name: of the data set.
        chosen: its splits and columns.
        sizes: split → how many rows it has; only those that are used, in the order of `SPLITS`.
        labels: class number of each row, or a 0 or 1 for each label, split after split.
        classes: their names.
        notes: what the user is told.
        values: the texts, where the rows are texts.
    """

    name: str
    chosen: Chosen
    sizes: Mapping[str, int]
    labels: Sequence[Any]
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    values: Sequence[str] = ()

    @property
    def splits(self) -> list[str]:
        """The split of each row."""
        return [split for split, count in self.sizes.items() for _ in range(count)]

    def at(self, chosen: Sequence[int]) -> str:
        """Where these rows are, for messages: `photos`, train[3], test[0]."""
        return _at(self.name, self.chosen, self.sizes, chosen)


def read_rows(data: HubSet, chosen: Chosen, names: str, required: Sequence[str], separator: str = "") -> Rows:
    """The classes, or the labels, of all rows.

    Names of classes are those of the column's type `ClassLabel`; of other columns, what is there, sorted.

    Args:
        names: `auto`: labels are all numbers, or all text; `text`: whatever they are, they are names; `list`: each row
            has a list of them.
        required: splits that the recipe names. One of the others without any label is not used.
        separator: what is between the names of labels in their column; "" where they are not written so.

    Raises:
        Refusal: RCP0804: there is one class; RCP0810: one is never trained; RCP0854: a label is missing, numbers and
            text are mixed, or there are no rows.
    """
    found, notes = _labels(data, chosen, required)
    sizes = {split: len(some) for split, some in found.items()}
    values = [value for some in found.values() for value in some]

    def refused(rows: Sequence[int], message: str, help: str) -> Refusal:
        return Refusal("RCP0854", f"{_at(data.name, chosen, sizes, rows)}: {message}", help)

    if len(chosen.labels) > 1 or separator or names == "list":
        classes, several, told = several_labels(data, chosen, values, separator, refused)
        return Rows(data.name, chosen, sizes, several, classes, (*chosen.notes, *notes, *told))
    if empty := [k for k, value in enumerate(values) if value in (None, "")]:
        help = "give these rows a label, or leave them out: `dataset.filter(…)`"
        raise refused(empty, f"no `{shown(chosen.label)}`", help)
    feature = data.splits[chosen.splits["train"]].features[chosen.label]
    if kind_of(feature) == "class":
        classes, labels = own_names(data, feature.names), values
        if unused := len(classes) - len(set(labels)):
            notes.append(f"{unused} of the {len(classes)} classes of `{data.name}` have no sample")
    else:
        column = f"the column `{shown(chosen.label)}` of `{data.name}`"
        classes, labels = classes_of([str(value) for value in values], names, column, refused)
    splits = [split for split, count in sizes.items() for _ in range(count)]
    require_trained(classes, labels, splits, lambda row: _at(data.name, chosen, sizes, [row]))
    notes += [
        f"the classes `{printable(a)}` and `{printable(b)}` look alike and are two classes" for a, b in alike(classes)
    ]
    return Rows(data.name, chosen, sizes, labels, classes, (*chosen.notes, *notes))


def _labels(data: HubSet, chosen: Chosen, required: Sequence[str]) -> tuple[dict[str, list[Any]], list[str]]:
    """Split → labels of its rows, None where there is none; and what the user is told."""
    found: dict[str, list[Any]] = {}
    notes = []
    for split, name in chosen.splits.items():
        rows = data.splits[name]
        values = _values(rows, chosen.labels)
        if kind_of(rows.features[chosen.label]) == "class":
            values = [None if value == -1 else value for value in values]  # as published test splits have it
        if split != "train" and split not in required and all(_is_nothing(value) for value in values):
            why = "has no labels" if values else "is empty"
            notes.append(f"not used: the split `{shown(name)}`, which {why}; `{split}` is cut from `train`")
            continue
        if not values:
            raise Refusal("RCP0854", f"the split `{shown(name)}` of `{data.name}` is empty", "name another split")
        found[split] = values
    return found, notes


def _values(rows: Any, columns: Sequence[str]) -> list[Any]:
    """What a column holds in each row; tuples where there are several columns."""
    read = [[value for table in _tables(rows, column) for value in table.column(0).to_pylist()] for column in columns]
    return read[0] if len(read) == 1 else list(zip(*read, strict=True))


def _is_nothing(value: Any) -> bool:
    return all(one is None for one in value) if isinstance(value, tuple) else value is None


def _tables(rows: Any, column: str) -> Iterator[Any]:
    """One column of some rows after another, as tables of pyarrow."""
    yield from rows.select_columns([column]).with_format("arrow").iter(CHUNK)


def _at(name: str, chosen: Chosen, sizes: Mapping[str, int], rows: Sequence[int]) -> str:
    told, first = [], 0
    for split, count in sizes.items():
        told += [f"{shown(chosen.splits[split])}[{row - first}]" for row in rows if first <= row < first + count]
        first += count
    more = f" and {len(told) - MENTIONED} more" if len(told) > MENTIONED else ""
    return f"`{name}`, {', '.join(told[:MENTIONED])}{more}"


def with_texts(data: HubSet, rows: Rows) -> Rows:
    """The rows with their texts.

    Raises:
        Refusal: RCP0854: a text is missing.
    """
    values = [
        value
        for split in rows.sizes
        for table in _tables(data.splits[rows.chosen.splits[split]], rows.chosen.value)
        for value in table.column(0).to_pylist()
    ]
    if empty := [k for k, value in enumerate(values) if not value or not value.strip()]:
        message = f"{rows.at(empty)}: no `{shown(rows.chosen.value)}`"
        raise Refusal("RCP0854", message, "leave these rows out: `dataset.filter(…)`")
    return replace(rows, values=tuple(values))


@dataclass(frozen=True)
class RowReader:
    """The images of a split, named `train[3]`; see `readers.Reader`.

    Attributes:
        place, shown: see `Reader`.
        rows: the data set as tables of pyarrow, with the column of images alone.
        stamped: three numbers that change with its files.
        outside: row → file of an image that is not in the data set itself.
    """

    place: str
    shown: str
    rows: Any
    stamped: tuple[int, int, int]
    outside: Mapping[int, str] = field(default_factory=dict)

    def stamp(self, name: str) -> Stamp:
        """See `Reader`."""
        path = self.outside.get(_row(name))
        return list(self.stamped) if path is None else file_stamp(path)

    def read(self, name: str) -> bytes:
        """See `Reader`."""
        if (path := self.outside.get(_row(name))) is not None:
            return read_bytes(Path(path), name)
        try:
            value = self.rows[_row(name)].column(0)[0].as_py()
        except Exception as error:  # of pyarrow, where a file is damaged
            raise unreadable_image(name, str(error) or type(error).__name__) from error
        return whole_image(value.get("bytes") if isinstance(value, Mapping) else value, name)


def _row(name: str) -> int:
    return int(name.rpartition("[")[2][:-1])


def open_images(
    data: HubSet,
    rows: Rows,
    *,
    size: tuple[int, int],
    batch: int,
    split: tuple[float, ...],
    seed: int,
    augment: bool,
    channels: int,
    bits: int | None,
    skip: bool,
) -> ImageDataset:
    """The data set of images; see the card of `methods/data/huggingface.py`.

    Raises:
        Refusal: RCP0803, RCP0805, RCP0806, RCP0808, RCP0820: its images cannot be used.
    """
    found, first = [], 0
    for part in (part for part in SPLITS if part in rows.sizes):
        count = rows.sizes[part]
        reader, names = _images(data, rows.chosen.splits[part], rows.chosen.value)
        found.append(Listed(reader, names, rows.labels[first : first + count], (part,) * count))
        first += count
    images = gather(found, rows.classes, split, seed, skip=skip, bits=bits, notes=rows.notes)
    return open_files("huggingface", images, preprocessing=usual(size, channels, bits), batch=batch, augment=augment)


def _images(data: HubSet, split: str, column: str) -> tuple[Reader, Sequence[str]]:
    """Where the images of a split are, and their names: files, where all are files of their own."""
    rows = data.splits[split]
    outside: dict[int, str] = {}
    first = 0
    for table in _tables(rows, column):
        for chunk in table.column(0).chunks:
            outside |= {first + k: path for k, path in _paths(chunk)}
            first += len(chunk)
    if len(outside) == len(rows):
        paths = [os.path.abspath(outside[k]) for k in range(len(rows))]
        below = os.path.join(os.path.commonpath([os.path.dirname(path) for path in paths]), "")
        if len(set(paths)) == len(paths):
            return FolderReader(Path(below), f"{data.name} {split}"), [path[len(below) :] for path in paths]
    files = sorted(file["filename"] for file in rows.cache_files)
    digest = hashlib.sha256(repr([file_stamp(file) for file in files]).encode()).digest()
    stamped = (len(rows), int.from_bytes(digest[:6], "big"), int.from_bytes(digest[6:12], "big"))
    place = "\0".join(("huggingface", split, column, *files))
    reader = RowReader(
        place, f"{data.name} {split}", rows.select_columns([column]).with_format("arrow"), stamped, outside
    )
    return reader, [f"{shown(split)}[{k}]" for k in range(len(rows))]


def _paths(chunk: Any) -> Iterator[tuple[int, str]]:
    """(place, path) of the images of an array of pyarrow that are files outside of it."""
    import pyarrow

    if pyarrow.types.is_struct(chunk.type) and chunk.type.get_field_index("path") >= 0:
        held = chunk.field("bytes").is_valid().to_pylist()
        if not all(held):
            paths = chunk.field("path").to_pylist()
            yield from ((k, path) for k, (here, path) in enumerate(zip(held, paths, strict=True)) if not here and path)
