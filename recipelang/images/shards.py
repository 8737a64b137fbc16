"""Shards of WebDataset: which samples a tar file holds, and where in it, found once and kept."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipelang.errors import Refusal
from recipelang.files import atomic, cache_folder, used
from recipelang.images.decode import SUFFIXES, shown
from recipelang.images.label_columns import holds
from recipelang.images.listing import USUAL
from recipelang.images.readers import file_stamp
from recipelang.images.shard_labels import TOGETHER, Fields, json_of, label_of, text_of
from recipelang.images.table import listed, plain
from recipelang.images.tar_files import damaged, grouped, incomplete, opened

FORMAT = 2  # of what is kept about a shard


@dataclass(frozen=True)
class Sample:
    """A sample of a shard.

    Attributes:
        key: its name there.
        offset, size: of its image, in bytes.
        label: as it is written; a list of labels, or what an object says of each, as JSON.
    """

    key: str
    offset: int
    size: int
    label: str


def samples_of(shard: Path, fields: Fields) -> tuple[Sample, ...]:
    """The samples of a shard; what was found once is kept as long as the file does not change.

    Raises:
        Refusal: RCP0863: the file is not a whole tar file; RCP0864: a sample has no image or no label, or there are
            two of one name.
    """
    try:
        stamp = [FORMAT, *file_stamp(shard)]
    except OSError as error:
        raise damaged(shard, f"cannot be read: {error.strerror or error}") from error
    key = repr((os.path.abspath(shard), *dataclasses.astuple(fields)))
    kept = cache_folder() / "shards" / f"{hashlib.sha256(os.fsencode(key)).hexdigest()}.json"
    with contextlib.suppress(OSError, ValueError, TypeError):
        known = json.loads(kept.read_text("utf-8"))
        if known[0] == stamp:
            used(kept)
            return tuple(Sample(str(name), int(at), int(size), str(label)) for name, at, size, label in known[1])
    found = _indexed(shard, fields)
    with contextlib.suppress(OSError), atomic(kept) as file:
        file.write(json.dumps([stamp, [[one.key, one.offset, one.size, one.label] for one in found]]).encode())
    return found


def _indexed(shard: Path, fields: Fields) -> tuple[Sample, ...]:
    found: dict[str, Sample] = {}
    with opened(shard) as file:
        for key, members in grouped(shard, file):
            offset, size = _image(shard, key, members, fields)
            if key in found:
                help = "name every sample of a shard differently"
                raise incomplete(shard, key, "is there twice", help)
            found[key] = Sample(key, offset, size, label_of(shard, key, members, fields, file))
    if not found:
        raise damaged(shard, "holds no sample", "a sample is files of one name: `0001.jpg`, `0001.cls`")
    return tuple(found.values())


def _image(shard: Path, key: str, members: Mapping[str, tuple[int, int]], fields: Fields) -> tuple[int, int]:
    wanted = [ext for ext in fields.image or filter(is_image, members) if ext in members]
    if len(wanted) == 1 or (wanted and fields.image):
        return members[wanted[0]]
    if wanted:
        raise incomplete(shard, key, f"has {len(wanted)} images: {listed(wanted)}", f'write `image="{wanted[0]}"`')
    there = f"it has {listed(sorted(members))}" if members else "it is empty"
    what = f"`{fields.image[0]}`" if fields.image else "image"
    raise incomplete(shard, key, f"has no {what}", f"{there}; {TOGETHER}")


def is_image(ext: str) -> bool:
    """Whether a member with this extension is an image."""
    return f".{ext.rpartition('.')[2]}" in SUFFIXES


def fields_of(shard: Path, image: str, label: str | tuple[str, ...], form: str = "class") -> Fields:
    """Which members are the image and the label, by the first sample of a shard.

    Args:
        image: extensions as WebDataset writes them, `jpg;png`; "" takes any of an image.
        label: an extension, or that of a JSON file and its field, `json.species`; "" takes `cls`, else the field of a
            JSON file that has a usual name, or, for a list of labels, a JSON file that says 0 or 1 in every field.
            Several are fields of one JSON file, `("json.cat", "json.dog")`.
        form: of the labels; see `Fields`.

    Raises:
        Refusal: RCP0853: there is no such member or field, or it is not clear which; RCP0863, RCP0864.
    """
    images = tuple(ext.strip().lower().lstrip(".") for ext in image.split(";") if ext.strip())
    with opened(shard) as file:
        key, members = next(grouped(shard, file), ("", {}))
        if not members:
            raise damaged(shard, "holds no sample", "a sample is files of one name: `0001.jpg`, `0001.cls`")
        if isinstance(label, tuple):
            return Fields(images, *_columns(shard, key, members, label))
        name = label.lower().lstrip(".")
        if name in members:
            return Fields(images, name, form=form)
        holder, _, field = label.lstrip(".").rpartition(".")
        if label and holder.lower() in members and holder.lower().endswith("json"):
            return Fields(images, holder.lower(), field, form)
        if label:
            help = f"its first sample, `{shown(key)}`, has {listed(sorted(members))}; a field of JSON is `json.FIELD`"
            raise Refusal("RCP0853", f"`{shown(shard.name)}` has no member `{shown(label)}`", help)
        if "cls" in members:
            return Fields(images, "cls", form=form)
        return Fields(images, *_usual(shard, key, members, file, form), form)


def _columns(
    shard: Path, key: str, members: Mapping[str, tuple[int, int]], label: tuple[str, ...]
) -> tuple[str, str, str, tuple[str, ...]]:
    """The JSON member of several labels, and their fields: as `Fields` has them."""
    parts = [one.lstrip(".").rpartition(".") for one in label]
    holders = list(dict.fromkeys(holder.lower() for holder, _, _ in parts))
    if len(holders) != 1 or holders[0].rpartition(".")[2] != "json" or not all(name for _, _, name in parts):
        message = f"several labels of `{shown(shard.name)}` are fields of one JSON member"
        raise Refusal("RCP0853", message, 'write `label=["json.cat", "json.dog"]`')
    if holders[0] not in members:
        help = f"its first sample, `{shown(key)}`, has {listed(sorted(members))}"
        raise Refusal("RCP0853", f"`{shown(shard.name)}` has no member `{shown(holders[0])}`", help)
    return holders[0], "", "list", tuple(name for _, _, name in parts)


def _usual(shard: Path, key: str, members: Mapping[str, tuple[int, int]], file: Any, form: str) -> tuple[str, str]:
    """The member and its field with a usual name of labels; "" is the whole member, an object of 0 and 1."""
    holders = [ext for ext in members if ext.rpartition(".")[2] == "json"]
    objects = {ext: json_of(shard, key, ext, text_of(shard, key, ext, members[ext], file)) for ext in holders}
    found = [(ext, field) for ext, fields in objects.items() for field in fields if plain(field) in USUAL["label"]]
    if not found and form == "list" and len(objects) == 1:
        ((ext, fields),) = objects.items()
        if sum(holds(value) is not None for value in fields.values()) > 1:  # `_listed` refuses it if others are odd
            return ext, ""
    if len(found) == 1:
        return found[0]
    if found:
        told = [f"{ext}.{field}" for ext, field in found]
        message = f"the samples of `{shown(shard.name)}` have {len(found)} fields that may be the label: {listed(told)}"
        raise Refusal("RCP0853", message, f'write which one: `label="{told[0]}"`')
    help = f'the first has {listed(sorted(members))}; write `label="EXTENSION"` or `label="json.FIELD"`'
    raise Refusal("RCP0853", f"the samples of `{shown(shard.name)}` have no `cls`, which holds a label", help)
