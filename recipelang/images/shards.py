"""Shards of WebDataset: which samples a tar file holds, and where in it, found once and kept."""

from __future__ import annotations

import contextlib
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
from recipelang.images.listing import USUAL
from recipelang.images.readers import file_stamp
from recipelang.images.table import listed, plain
from recipelang.images.tar_files import damaged, grouped, incomplete, opened

LONGEST_LABEL = 2**20  # bytes of a member that holds a label
FORMAT = 2  # of what is kept about a shard


@dataclass(frozen=True)
class Fields:
    """Which members of a sample are the image and the label.

    Attributes:
        image: extensions, of which a sample has one; () takes any that is one of an image.
        label: extension of the label.
        field: of a JSON file, the field with the label; "" for a member that is the label.
        form: `class`, a `list` of labels, or a `text` with names of labels, either of which may be empty.
    """

    image: tuple[str, ...]
    label: str
    field: str = ""
    form: str = "class"

    @property
    def told(self) -> str:
        """Of the label, for messages."""
        return f"{self.label}.{self.field}" if self.field else self.label


@dataclass(frozen=True)
class Sample:
    """A sample of a shard.

    Attributes:
        key: its name there.
        offset, size: of its image, in bytes.
        label: as it is written; a list of labels as JSON.
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
    key = repr((os.path.abspath(shard), fields.image, fields.label, fields.field, fields.form))
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
            found[key] = Sample(key, offset, size, _label(shard, key, members, fields, file))
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
    raise incomplete(shard, key, f"has no {what}", f"{there}; {_TOGETHER}")


_TOGETHER = "the files of one sample have one name and follow each other, as `tar --sort=name` writes them"


def is_image(ext: str) -> bool:
    """Whether a member with this extension is an image."""
    return f".{ext.rpartition('.')[2]}" in SUFFIXES


def _label(shard: Path, key: str, members: Mapping[str, tuple[int, int]], fields: Fields, file: Any) -> str:
    """The label of a sample, as text."""
    if fields.label not in members:
        there = f"it has {listed(sorted(members))}"
        other = next((ext for ext in members if ext.rpartition(".")[2] in ("cls", "json")), None)
        how = f"the label of every sample is in `{fields.label}`, not of some in `{other}`" if other else _TOGETHER
        raise incomplete(shard, key, f"has no label `{shown(fields.label)}`", f"{there}; {how}")
    text = text_of(shard, key, fields.label, members[fields.label], file)
    is_json = fields.label.rpartition(".")[2] == "json"
    if fields.form == "list":
        found: Any = text.splitlines()
        if is_json and fields.field:
            found = json_of(shard, key, fields.label, text).get(fields.field)
        elif is_json:
            found = _parsed(shard, key, fields.label, text)
        return _listed(shard, key, found, fields)
    if not fields.field:
        return text.strip() if fields.form == "text" else _checked(shard, key, text.strip(), fields)
    value = json_of(shard, key, fields.label, text).get(fields.field)
    if isinstance(value, str) and fields.form == "text":
        return value.strip()
    if isinstance(value, bool | int | float | str):
        return _checked(shard, key, str(value).strip(), fields)
    why = (
        f"has no `{shown(fields.told)}`" if value is None else f"has a {type(value).__name__} as `{shown(fields.told)}`"
    )
    more = "; for lists write `task multilabel` and `labels=list`" if isinstance(value, list) else ""
    raise incomplete(shard, key, why, f"a label is one class: a whole number or a name{more}")


def _listed(shard: Path, key: str, found: Any, fields: Fields) -> str:
    """A list of labels, as JSON."""
    help = 'write a list of names or whole numbers, `["cat", "dog"]`, an empty one where no label holds'
    if not isinstance(found, list):
        what = "no" if found is None else f"a {type(found).__name__} as"
        raise incomplete(shard, key, f"has {what} `{shown(fields.told)}`", help)
    if any(isinstance(one, bool) or not isinstance(one, int | str) for one in found):
        raise incomplete(shard, key, f"has a list `{shown(fields.told)}` of something else than labels", help)
    return json.dumps([name for one in found if (name := str(one).strip())])


def _checked(shard: Path, key: str, label: str, fields: Fields) -> str:
    if not label:
        raise incomplete(shard, key, f"has an empty label `{shown(fields.told)}`", "write a whole number or a name")
    return label


def text_of(shard: Path, key: str, ext: str, place: tuple[int, int], file: Any) -> str:
    """A member that is a text.

    Raises:
        Refusal: RCP0864.
    """
    offset, size = place
    if size > LONGEST_LABEL:
        raise incomplete(
            shard, key, f"has {size:,} bytes in `{shown(ext)}`, too many for a label", "name another: `label=`"
        )
    file.seek(offset)
    data = file.read(size)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        help = "write the class as text: `3` or `cat`"
        raise incomplete(shard, key, f"has a label `{shown(ext)}` that is not text", help) from error


def _parsed(shard: Path, key: str, ext: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        why = f"has a `{shown(ext)}` that is not JSON: {error}"
        raise incomplete(shard, key, why, "write it with `json.dumps`") from error


def json_of(shard: Path, key: str, ext: str, text: str) -> Mapping[str, Any]:
    """A member that is a JSON object.

    Raises:
        Refusal: RCP0864.
    """
    found = _parsed(shard, key, ext, text)
    if not isinstance(found, dict):
        help = 'write an object, as in `{"label": 3}`'
        raise incomplete(shard, key, f"has a `{shown(ext)}` that is not a JSON object", help)
    return found


def fields_of(shard: Path, image: str, label: str, form: str = "class") -> Fields:
    """Which members are the image and the label, by the first sample of a shard.

    Args:
        image: extensions as WebDataset writes them, `jpg;png`; "" takes any of an image.
        label: an extension, or that of a JSON file and its field, `json.species`; "" takes `cls`, else the field of a
            JSON file that has a usual name.
        form: of the labels; see `Fields`.

    Raises:
        Refusal: RCP0853: there is no such member or field, or it is not clear which; RCP0863, RCP0864.
    """
    images = tuple(ext.strip().lower().lstrip(".") for ext in image.split(";") if ext.strip())
    with opened(shard) as file:
        key, members = next(grouped(shard, file), ("", {}))
        if not members:
            raise damaged(shard, "holds no sample", "a sample is files of one name: `0001.jpg`, `0001.cls`")
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
        return Fields(images, *_usual(shard, key, members, file), form)


def _usual(shard: Path, key: str, members: Mapping[str, tuple[int, int]], file: Any) -> tuple[str, str]:
    """The member and its field with a usual name of labels."""
    holders = [ext for ext in members if ext.rpartition(".")[2] == "json"]
    found = [
        (ext, field)
        for ext in holders
        for field in json_of(shard, key, ext, text_of(shard, key, ext, members[ext], file))
        if plain(field) in USUAL["label"]
    ]
    if len(found) == 1:
        return found[0]
    if found:
        told = [f"{ext}.{field}" for ext, field in found]
        message = f"the samples of `{shown(shard.name)}` have {len(found)} fields that may be the label: {listed(told)}"
        raise Refusal("RCP0853", message, f'write which one: `label="{told[0]}"`')
    help = f'the first has {listed(sorted(members))}; write `label="EXTENSION"` or `label="json.FIELD"`'
    raise Refusal("RCP0853", f"the samples of `{shown(shard.name)}` have no `cls`, which holds a label", help)
