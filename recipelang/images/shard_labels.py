"""The label of a sample in a shard: which members say it, and what they say, as text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipelang.images.decode import shown
from recipelang.images.label_columns import holds
from recipelang.images.table import listed
from recipelang.images.tar_files import incomplete

LONGEST_LABEL = 2**20  # bytes of a member that holds a label

TOGETHER = "the files of one sample have one name and follow each other, as `tar --sort=name` writes them"


@dataclass(frozen=True)
class Fields:
    """Which members of a sample are the image and the label.

    Attributes:
        image: extensions, of which a sample has one; () takes any that is one of an image.
        label: extension of the label.
        field: of a JSON file, the field with the label; "" for a member that is the label.
        columns: of a JSON file, the fields that say 0 or 1 of one label each; () where there are none of their own.
        form: `class`, a `list` of labels, or a `text` with names of labels, either of which may be empty.
    """

    image: tuple[str, ...]
    label: str
    field: str = ""
    form: str = "class"
    columns: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """Of the label, for messages."""
        if self.columns:
            return ", ".join(f"{self.label}.{name}" for name in self.columns)
        return f"{self.label}.{self.field}" if self.field else self.label


def label_of(shard: Path, key: str, members: Mapping[str, tuple[int, int]], fields: Fields, file: Any) -> str:
    """The label of a sample, as text."""
    if fields.label not in members:
        there = f"it has {listed(sorted(members))}"
        other = next((ext for ext in members if ext.rpartition(".")[2] in ("cls", "json")), None)
        how = f"the label of every sample is in `{fields.label}`, not of some in `{other}`" if other else TOGETHER
        raise incomplete(shard, key, f"has no label `{shown(fields.label)}`", f"{there}; {how}")
    text = text_of(shard, key, fields.label, members[fields.label], file)
    is_json = fields.label.rpartition(".")[2] == "json"
    if fields.form == "list":
        found: Any = text.splitlines()
        if is_json and fields.columns:
            whole = json_of(shard, key, fields.label, text)
            if missing := [name for name in fields.columns if name not in whole]:
                help = "every sample says 0 or 1 of each label"
                raise incomplete(shard, key, f"has no `{shown(f'{fields.label}.{missing[0]}')}`", help)
            found = {name: whole[name] for name in fields.columns}
        elif is_json and fields.field:
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
    """A list of labels, or an object that says 0 or 1 of each, as JSON."""
    if isinstance(found, dict):
        said = {str(name): holds(value) for name, value in found.items()}
        if odd := next((name for name, value in said.items() if value is None), None):
            label = fields.told if fields.field else fields.label
            known = [f'"{label}.{name}"' for name, value in said.items() if value is not None][:3]
            beside = not fields.columns and not fields.field and len(known) > 1
            more = f"; of several fields name the labels: `label=[{', '.join(known)}]`" if beside else ""
            why = f"has `{shown(str(found[odd]))}` as `{shown(f'{label}.{odd}')}`, which is neither 0 nor 1"
            raise incomplete(shard, key, why, f"an object of labels says 0 or 1 of each{more}")
        return json.dumps(said)
    help = 'write a list of names or whole numbers, `["cat", "dog"]`, or `{"cat": 1, "dog": 0}`'
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
