"""Preprocessing as JSON, and how that of a data set and that of a network are combined."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from recipelang.kinds import Preprocessing

INTERPOLATIONS, CROPS = ("bilinear", "bicubic"), ("exact", "rounded")
_LATER = ("interpolation", "crop", "via", "bits")  # entries that older artifacts and keys do not have


def entries(preprocessing: Preprocessing) -> dict[str, Any]:
    """The preprocessing as JSON values; newer entries are left out if they have their default."""
    found = dataclasses.asdict(preprocessing)
    defaults = {f.name: f.default for f in dataclasses.fields(Preprocessing)}
    return {name: value for name, value in found.items() if name not in _LATER or value != defaults[name]}


def from_entries(value: Mapping[str, Any]) -> Preprocessing:
    """`entries` read back.

    Raises:
        KeyError, TypeError, ValueError: an entry is missing or invalid.
    """
    bits, via = value.get("bits"), value.get("via")
    if bits is not None and (type(bits) is not int or not 9 <= bits <= 16):
        raise ValueError(f"`bits` of `preprocessing` is {bits!r}")
    return Preprocessing(
        _size(value["size"]),
        tuple(map(float, value["mean"])),
        tuple(map(float, value["std"])),
        None if value["resize"] is None else int(value["resize"]),
        _one_of(INTERPOLATIONS, value.get("interpolation", "bilinear")),
        _one_of(CROPS, value.get("crop", "exact")),
        None if via is None else _size(via),
        bits,
    )


def follow(own: Preprocessing, wanted: Preprocessing, crops: bool) -> Preprocessing:
    """The preprocessing of a data set's images for a network that has its own preprocessing.

    Args:
        own: of the data: its size, its channels and the depth of its files are kept.
        wanted: of the network: its normalisation is taken over.
        crops: whether the images can still be resized and cropped as the network wants.
    """
    if len(own.mean) != len(wanted.mean):
        return own
    if crops and own.size == wanted.size:
        return dataclasses.replace(wanted, bits=own.bits, via=own.via)
    return dataclasses.replace(own, mean=wanted.mean, std=wanted.std)


def _size(value: Any) -> tuple[int, int]:
    height, width = (int(n) for n in value)
    if min(height, width) < 1:
        raise ValueError(f"{value} is not the size of an image")
    return height, width


def _one_of(known: tuple[str, ...], value: Any) -> str:
    if value not in known:
        raise ValueError(f"{value!r} is not one of {', '.join(known)}")
    return str(value)
