"""The metadata files of a saved network, used only after they have been checked.

Such a folder may come from anyone. Every number has bounds, every list a maximum length; only regular files no larger
than a network of its kind can be are read, and what is wrong is named in one refusal, RCP0714.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.images.preprocessing import from_entries
from recipelang.kinds import DEFAULT_TASK, FLOATING, Inputs, Preprocessing
from recipelang.kinds.inputs import MOST_IDS
from recipelang.surgery.edits import Edit, from_json
from recipelang.surgery.encoding import Stored
from recipelang.surgery.entries import Wrong, entry, mapping, numbers, sequence, shown, text, whole
from recipelang.surgery.files import MODEL, SURGERY
from recipelang.surgery.network import Accelerated
from recipelang.surgery.packing import weight_shape
from recipelang.surgery.tracing import first_line
from recipelang.surgery.untrusted import check_header, json_of, require_regular

NAME, VERSION = "recipelang.model", 4
#: what a network whose inputs are whole numbers is written as, which earlier versions would call with other numbers
FORMAT = f"{NAME}/{VERSION}"
#: what a network with encoded weights is written as
ENCODED_FORMAT = f"{NAME}/3"
#: what a network without encoded weights is written as, which earlier versions read
PLAIN_FORMAT = f"{NAME}/2"

LARGEST_SIDE, LARGEST_INPUT = 4096, 2**24  # pixels; numbers in one image
MOST_CLASSES, MOST_EDITS, MOST_AT_A_PLACE, MOST_AXES = 2**16, 10_000, 16, 6
FARTHEST = 1e6  # largest distance of a normalised value of 0…1 from its mean, in deviations
_HEX = re.compile(r"[0-9a-f]{64}")
_FORMAT = re.compile(rf"{re.escape(NAME)}/([1-9][0-9]*)", re.ASCII)
_PREPROCESSING = {field.name for field in fields(Preprocessing)}


@dataclass(frozen=True)
class Manifest:
    """`model.json` and `surgery.json`, checked; the fields are those of `Network`.

    Attributes:
        version: of the format.
        restrictions: place → the kind and the JSON of each restriction there; their own entries are not checked yet.
        packed: parameter name → shape of each weight in packed form.
        encoded: how weights are encoded; None where none is.
    """

    version: int
    source: dict[str, Any]
    input_shape: tuple[int, ...]
    inputs: Inputs
    classes: tuple[str, ...]
    preprocessing: Preprocessing | None
    accelerated: Accelerated | None
    edits: tuple[Edit, ...]
    restrictions: dict[str, list[dict[str, Any]]]
    packed: dict[str, list[int]]
    encoded: Stored | None


def read_manifest(folder: Path) -> Manifest:
    """The content of `model.json` and `surgery.json` of a folder.

    Raises:
        Refusal: RCP0714: one is missing, damaged, or does not fit the other; RCP0745: a later version wrote them.
    """
    model, surgery = _read_json(folder / MODEL), _read_json(folder / SURGERY)
    version = _version(model)
    try:
        if _version(surgery) != version:
            raise Wrong("the two are of different formats")
        source = mapping(entry(model, "source"), "`source`")
        classes = class_names(entry(model, "classes"), source)
        shape = input_shape(entry(model, "input_shape"), "`input_shape`")
        return Manifest(
            version=version,
            source=_source(source, len(classes)),
            input_shape=shape,
            inputs=whole_numbers(model),
            classes=classes,
            preprocessing=read_preprocessing(entry(model, "preprocessing"), shape[0]),
            accelerated=Accelerated.read(entry(model, "accelerated")),
            edits=tuple(map(from_json, sequence(entry(surgery, "edits"), "`edits`", MOST_EDITS))),
            restrictions=_restrictions(surgery, version),
            packed={name: weight_shape(shape) for name, shape in mapping(model.get("packed", {}), "`packed`").items()},
            encoded=Stored.read(model.get("encoded")),
        )
    except (TypeError, ValueError) as error:  # `weight_shape` and `from_entries` raise them
        raise damaged(folder, f"`{MODEL}` or `{SURGERY}` has a wrong entry: {first_line(error)}") from error


def read_interface(folder: Path) -> tuple[tuple[str, ...], Preprocessing | None]:
    """Class names and preprocessing of the network in a folder.

    Raises:
        Refusal: RCP0714.
    """
    model = _read_json(folder / MODEL)
    try:
        channels = input_shape(entry(model, "input_shape"), "`input_shape`")[0]
        source = mapping(entry(model, "source"), "`source`")
        return class_names(entry(model, "classes"), source), read_preprocessing(entry(model, "preprocessing"), channels)
    except (TypeError, ValueError) as error:
        raise damaged(folder, f"`{MODEL}` has a wrong entry: {first_line(error)}") from error


def read_tensors(path: Path, most: int) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Args:
        path: the file.
        most: maximum number of bytes of the network's tensors.

    Raises:
        Refusal: RCP0714: it is missing, damaged or larger, or holds what no network may have.
    """
    try:
        require_regular(path)
        check_header(path, most)
        return load_file(path)
    except FileNotFoundError as error:
        raise damaged(path.parent, f"there is no `{path.name}`") from error
    except Exception as error:  # a malicious file may make its reader raise anything
        raise damaged(path.parent, f"`{path.name}` cannot be read: {first_line(error)}") from error


def damaged(folder: Path, why: str, help: str = "") -> Refusal:
    """The refusal for a folder that is not as `save` wrote it."""
    return Refusal(
        "RCP0714",
        f"`{folder.name[-80:] or folder}` does not hold an intact network: {why}",
        help or "use a folder unchanged since a run or `export safetensors` wrote it",
    )


# entries --------------------------------------------------------------------------------------


def image_shape(value: Any, name: str) -> tuple[int, int, int]:
    """(channels, height, width).

    Raises:
        Wrong: it is not the shape of an image, or the image is too large to be tried.
    """
    numbers = [whole(n, name, LARGEST_SIDE) for n in sequence(value, name, 3)]
    if len(numbers) != 3 or math.prod(numbers) > LARGEST_INPUT:
        raise Wrong(
            f"{name} is {shown(value)}, which is not the shape of an image of at most {LARGEST_INPUT:,} numbers"
        )
    return numbers[0], numbers[1], numbers[2]


def input_shape(value: Any, name: str) -> tuple[int, ...]:
    """The shape of one input: (channels, height, width) for images.

    Raises:
        Wrong: it is not a shape, or the input is too large to be tried.
    """
    axes = sequence(value, name, MOST_AXES)
    lengths = tuple(whole(n, name, LARGEST_SIDE if len(axes) == 3 else LARGEST_INPUT) for n in axes)
    if not lengths or math.prod(lengths) > LARGEST_INPUT:
        raise Wrong(
            f"{name} is {shown(value)}, which is not the shape of an input of at most {LARGEST_INPUT:,} numbers"
        )
    return lengths


def whole_numbers(told: Mapping[str, Any]) -> Inputs:
    """What the numbers of inputs are, by the entries of `Inputs.json`.

    Raises:
        Wrong: they are not such numbers.
    """
    ids, padding = told.get("ids"), told.get("padding")
    if ids is None:
        return FLOATING
    count = whole(ids, "`ids`", MOST_IDS)
    if padding is not None and not (type(padding) is int and 0 <= padding < count):
        raise Wrong(f"`padding` is {shown(padding)}, not one of {count:,} ids")
    return Inputs(count, padding)


def class_names(value: Any, source: Mapping[str, Any] = MappingProxyType({})) -> tuple[str, ...]:
    """The names of all outputs, each once; none where the source is of another task than classification, without
    classes.

    Raises:
        Wrong: they are not distinct strings, or there are none.
    """
    names = [text(name, "a class name") for name in sequence(value, "`classes`", MOST_CLASSES)]
    if len(set(names)) != len(names):
        raise Wrong(f"the class {shown(Counter(names).most_common(1)[0][0])} appears twice")
    if not names and text(source.get("task", DEFAULT_TASK), "`task`") == DEFAULT_TASK:
        raise Wrong("`classes` is empty")
    return tuple(names)


def read_preprocessing(value: Any, channels: int) -> Preprocessing | None:
    """How an image becomes an input, by the entries that `images.preprocessing.entries` makes; None for none.

    Args:
        value: the entries.
        channels: of an image.

    Raises:
        Wrong: they cannot be followed; TypeError, ValueError: likewise.
    """
    if value is None:
        return None
    entries = mapping(value, "`preprocessing`")
    if unknown := sorted(set(entries) - _PREPROCESSING):
        raise Wrong(f"`preprocessing` has an unknown entry {shown(unknown[0])}; it may come from a newer version")
    for name in ("size", "via"):
        if entries.get(name) is not None:
            size = sequence(entries[name], f"`{name}`", 2)
            image_shape([channels, *size], f"`{name}` of `preprocessing`")
    if entry(entries, "resize") is not None:
        image_shape([1, 1, entries["resize"]], "`resize`")
    mean, std = (numbers(entry(entries, name), f"`{name}`", channels) for name in ("mean", "std"))
    for centre, spread in zip(mean, std, strict=True):
        if not spread > 0 or max(abs(centre), abs(1 - centre)) / spread > FARTHEST:
            raise Wrong(f"`mean` {centre:g} and `std` {spread:g} cannot normalise an image")
    entry(entries, "size")
    return from_entries(entries)


def _source(source: Mapping[str, Any], classes: int) -> dict[str, Any]:
    """`Network.source`: its shape is checked here, the settings of its method by `source.rebuild`."""
    text(entry(source, "model"), "`model`")
    settings = mapping(entry(source, "settings"), "`settings`")
    input_shape(entry(source, "input_shape"), "`input_shape` of `source`")
    whole_numbers(source)
    if len(class_names(entry(source, "classes"), source)) != classes:
        raise Wrong("`classes` and the classes of `source` differ in number")
    if classes and whole(settings.get("classes"), "`classes` of `settings`", MOST_CLASSES) != classes:
        raise Wrong("the number of classes differs from the number of their names")
    for name in ("library", "version"):
        text(mapping(source.get("built", {}), "`built`").get(name, ""), f"`{name}` of `built`")
    for path, digest in mapping(source.get("files", {}), "`files`").items():
        if not isinstance(digest, str) or not _HEX.fullmatch(digest) or Path(path).is_absolute() or ".." in path:
            raise Wrong(f"`files` has an invalid entry {shown(path)}")
    return dict(source)


def _restrictions(surgery: dict[str, Any], version: int) -> dict[str, list[dict[str, Any]]]:
    """Place → the entry of each restriction; version 1 had masks alone, as their patterns."""
    if version == 1:
        masks = mapping(entry(surgery, "masks"), "`masks`")
        return {name: [{"kind": "mask", "pattern": text(pattern, "a pattern")}] for name, pattern in masks.items()}
    found = {}
    for place, each in mapping(entry(surgery, "restrictions"), "`restrictions`").items():
        found[place] = [mapping(told, "a restriction") for told in sequence(each, f"`{place}`", MOST_AT_A_PLACE)]
        kinds = [text(entry(told, "kind"), "`kind`") for told in found[place]]
        if len(set(kinds)) != len(kinds) or not kinds:
            raise Wrong(f"`restrictions` has none, or two of a kind, at {shown(place)}")
    return found


# files ----------------------------------------------------------------------------------------


def _read_json(path: Path) -> dict[str, Any]:
    folder = path.parent
    try:
        value = json_of(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise damaged(folder, f"there is no `{path.name}`", _nearby(folder)) from error
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise damaged(folder, f"`{path.name}` cannot be read: {first_line(error)}") from error
    found = _FORMAT.fullmatch(value["format"]) if isinstance(value, dict) and _is_text(value.get("format")) else None
    if found is None:
        raise damaged(folder, f"`{path.name}` is not of the format `{FORMAT}`")
    if int(found[1]) > VERSION:
        raise Refusal(
            "RCP0745",
            f"`{folder.name[-80:] or folder}` was written by a later version of recipelang: its format is "
            f"`{found[0]}`, and this version reads up to `{FORMAT}`",
            "install the version that wrote it, or a later one",
        )
    return dict(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) < len(NAME) + 10


def _version(value: dict[str, Any]) -> int:
    return int(value["format"].rpartition("/")[2])


def _nearby(folder: Path) -> str:
    """The help on where a network looked for in `folder` is: in `main` of a run, or in the folder of a file."""
    try:
        if folder.is_file() and (folder.parent / MODEL).is_file():
            return f"name its folder: `{folder.parent}`"
        found = sorted(file.parent for pattern in (f"*/{MODEL}", f"*/seed-*/{MODEL}") for file in folder.glob(pattern))
    except (OSError, ValueError):
        return ""
    if not found:
        return ""
    main = folder / "main" if folder / "main" in found else found[0]
    others = (
        f"; it also has {', '.join(f'`{f.relative_to(folder)}`' for f in found[:4] if f != main)}"
        if len(found) > 1
        else ""
    )
    return f"this is the folder of a run; use its network `{main}`{others}"
