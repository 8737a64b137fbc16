"""Shards of WebDataset become a data set of images, which are read in any order."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipelang.errors import Refusal
from recipelang.images.access import current
from recipelang.images.classes import alike, printable
from recipelang.images.dataset import ImageDataset
from recipelang.images.decode import LARGEST_BYTES, shown, unreadable_image, whole_image
from recipelang.images.files import Listed, gather, open_files, usual
from recipelang.images.label_columns import of_lists, of_names, of_objects
from recipelang.images.naming import classes_of, require_trained
from recipelang.images.readers import Stamp, file_stamp
from recipelang.images.shard_names import shards_of
from recipelang.images.shards import Fields, Sample, fields_of, samples_of
from recipelang.images.table import listed


@dataclass(frozen=True)
class ShardReader:
    """The images of shards, named by shard and key: `train-000.tar 0001`; see `readers.Reader`.

    Attributes:
        place, shown: see `Reader`.
        places: name → shard, and offset and size in it.
    """

    place: str
    shown: str
    places: Mapping[str, tuple[str, int, int]]

    def stamp(self, name: str) -> Stamp:
        """See `Reader`."""
        return file_stamp(self.places[name][0])

    def read(self, name: str) -> bytes:
        """See `Reader`."""
        path, offset, size = self.places[name]
        try:
            with open(path, "rb") as file:
                file.seek(offset)
                data = file.read(min(size, LARGEST_BYTES + 1))
        except OSError as error:
            raise unreadable_image(name, error.strerror or error) from error
        if len(data) < min(size, LARGEST_BYTES + 1):
            raise unreadable_image(name, "the shard is cut off", "copy or download the shard again")
        return whole_image(data, name)


@dataclass(frozen=True)
class _Found:
    """The samples of a split: its reader, the names of its samples, and their labels as `shards.Sample` has them."""

    reader: ShardReader
    names: Sequence[str]
    labels: Sequence[str]


def open_shards(
    patterns: Mapping[str, str],
    resolve: Callable[[str], Path],
    *,
    image: str,
    label: str | tuple[str, ...],
    labels: str,
    separator: str,
    size: tuple[int, int],
    batch: int,
    split: tuple[float, ...],
    seed: int,
    augment: bool,
    channels: int,
    bits: int | None,
    skip: bool,
) -> ImageDataset:
    """The data set of shards; see the card of `methods/data/webdataset.py`.

    Args:
        patterns: split → pattern of its shards; `train` at least.
        image, label: which members of a sample are what; see `shards.fields_of`.
        labels: `auto`: labels are all numbers, or all text; `text`: whatever they are, they are names; `list`: each
            sample has a list of them.
        separator: what is between the names of labels in a text, where a sample may have several; "" is none.

    Raises:
        Refusal: RCP0853, RCP0862 to RCP0864: shards or their samples are invalid; RCP0803 to RCP0808, RCP0810,
            RCP0820, RCP0854, RCP0870: their images or labels are.
    """
    shards = {part: shards_of(pattern, resolve) for part, pattern in patterns.items()}
    _require_apart(shards)
    form = "list" if labels == "list" or isinstance(label, tuple) else "text" if separator else "class"
    fields = fields_of(shards["train"][0], image, label, form)
    found = _counted(patterns, shards, fields)
    told = [name for some in found.values() for name in some.names]
    parts = [part for part, some in found.items() for _ in some.names]

    def refused(places: Sequence[int], message: str, help: str) -> Refusal:
        return Refusal("RCP0854", f"{listed([told[k] for k in places])}: {message}", help)

    written = [value for some in found.values() for value in some.labels]
    where = f"the label `{shown(fields.told)}`"
    notes = [] if label else [f"label from `{shown(fields.told)}`"]
    numbers: Sequence[Any]
    if form == "class":
        classes, numbers = classes_of(written, labels, where, refused)
        require_trained(classes, numbers, parts, lambda k: f"`{shown(told[k])}`")
    else:
        each = [json.loads(one) for one in written] if form == "list" else []
        if form == "text":
            classes, numbers, none = of_names(written, separator, where, refused)
        elif any(isinstance(one, dict) for one in each):
            classes, numbers, none = of_objects(each, where, refused)
        else:
            classes, numbers, none = of_lists(each, where, refused)
        notes += [f"{none} sample{'s' * (none != 1)} without any label"] if none else []
    notes += [
        f"the classes `{printable(a)}` and `{printable(b)}` look alike and are two classes" for a, b in alike(classes)
    ]
    lists, first = [], 0
    for part, some in found.items():
        count = len(some.names)
        lists.append(Listed(some.reader, some.names, numbers[first : first + count], (part,) * count))
        first += count
    images = gather(lists, classes, split, seed, skip=skip, bits=bits, notes=notes)
    return open_files("webdataset", images, preprocessing=usual(size, channels, bits), batch=batch, augment=augment)


def _require_apart(shards: Mapping[str, Sequence[Path]]) -> None:
    """No shard is in two splits."""
    seen: dict[str, str] = {}
    for part, paths in shards.items():
        for path in paths:
            if (before := seen.setdefault(os.path.realpath(path), part)) != part:
                message = f"the shard `{shown(path.name)}` is in `{before}` and in `{part}`"
                raise Refusal("RCP0862", message, "give each split shards of its own")


def _counted(patterns: Mapping[str, str], shards: Mapping[str, Sequence[Path]], fields: Fields) -> dict[str, _Found]:
    """The samples of all shards."""
    progress = current().progress
    if progress:
        progress.start(f"counting the samples of `{shown(patterns['train'])}`", sum(map(len, shards.values())))
    found: dict[str, list[tuple[Path, tuple[Sample, ...]]]] = {}
    try:
        for part, paths in shards.items():
            for path in paths:
                found.setdefault(part, []).append((path, samples_of(path, fields)))
                if progress:
                    progress.advance()
    finally:
        if progress:
            progress.stop()
    below = _below([path for paths in shards.values() for path in paths])
    return {part: _found(below, patterns[part], part, some) for part, some in found.items()}


def _below(paths: Sequence[Path]) -> str:
    """The folder that all shards are in, with a separator at its end."""
    return os.path.join(os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths]), "")


def _found(below: str, pattern: str, part: str, shards: Sequence[tuple[Path, tuple[Sample, ...]]]) -> _Found:
    places: dict[str, tuple[str, int, int]] = {}
    labels = []
    for path, samples in shards:
        whole = os.path.abspath(path)
        for one in samples:
            places[f"{whole[len(below) :]} {one.key}"] = (whole, one.offset, one.size)
            labels.append(one.label)
    reader = ShardReader(
        "\0".join(("webdataset", part, *(os.path.abspath(path) for path, _ in shards))), pattern, places
    )
    return _Found(reader, tuple(places), labels)
