"""The preprocessing that an image processor of transformers does, as the data does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recipelang.errors import Refusal
from recipelang.kinds import Preprocessing
from recipelang.surgery.hub import HubFolder, unfit
from recipelang.surgery.pretrained import quietly, why

FILE = "preprocessor_config.json"
_FILTERS = {2: "bilinear", 3: "bicubic"}
_OTHER_FILTERS = {0: "nearest", 1: "lanczos", 4: "box", 5: "hamming"}


@dataclass(frozen=True)
class Processed:
    """What an image processor does.

    Attributes:
        preprocessing: as the data can do it; None where the folder has no processor.
        bgr: whether the network is given its channels as blue, green, red.
        notes: for the user: what the data does in another way.
    """

    preprocessing: Preprocessing | None
    bgr: bool = False
    notes: tuple[str, ...] = ()


def processed(folder: HubFolder, size: tuple[int, int] | None, channels: int) -> Processed:
    """Read the image processor of a folder.

    Args:
        folder: of the network.
        size: (height, width) of the data's images; None: the processor's own.
        channels: that the network takes.

    Raises:
        Refusal: RCP0761: it brings its own code; RCP0762: it is damaged, or does what no data can do.
    """
    told = folder.read(FILE)
    if told is None:
        note = f"`{folder.where}` has no `{FILE}`, so the data keeps its own size and normalisation"
        return Processed(None, notes=(note,))
    if told.get("auto_map"):
        message = f"the image processor of `{folder.where}` is its own code (`auto_map`), which is not run"
        raise Refusal("RCP0761", message, f"remove `{FILE}`: the data then keeps its own normalisation")
    try:
        with quietly():
            return _of(_processor(folder), size, channels)
    except Refusal:
        raise
    except Exception as error:  # validated by transformers, in its own ways
        raise unfit(folder.where, f"its `{FILE}` is invalid: {why(error)}") from error


def _processor(folder: HubFolder) -> Any:
    from transformers import AutoImageProcessor

    return AutoImageProcessor.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)


def _of(processor: Any, size: tuple[int, int] | None, channels: int) -> Processed:
    notes = []
    own, resize, note = _sizes(processor)
    notes += [note] if note else []
    shown = size or own
    if size and resize is not None and own != size:
        resize = round(resize * min(size) / min(own))
    number = getattr(processor, "resample", None)
    number = 2 if number is None else int(number)
    interpolation = _FILTERS.get(number, "bicubic" if number == 1 else "bilinear")
    if number in _OTHER_FILTERS:
        notes.append(f"its image processor resizes with `{_OTHER_FILTERS[number]}`, the data with `{interpolation}`")
    mean, std = _normalisation(processor, channels)
    found = Preprocessing(shown, mean, std, resize, interpolation=interpolation, crop="rounded")
    return Processed(found, bool(getattr(processor, "do_flip_channel_order", False)), tuple(notes))


def _sizes(processor: Any) -> tuple[tuple[int, int], int | None, str]:
    """(height, width) of what the network is given, the shorter side before the crop, and a note."""
    size = _sides(getattr(processor, "size", None))
    crop = _sides(getattr(processor, "crop_size", None)) if getattr(processor, "do_center_crop", False) else {}
    kind, shorter = type(processor).__name__, size.get("shortest_edge")
    if shorter and kind.startswith("ConvNext"):
        whole = shorter >= 384
        return (shorter, shorter), None if whole else int(shorter / processor.crop_pct), ""
    if shorter and kind.startswith("Levit"):
        shorter = int(256 / 224 * shorter)
    if shorter and kind.startswith("PoolFormer") and getattr(processor, "crop_pct", None):
        shorter = int(shorter / processor.crop_pct)
    direct = (size["height"], size["width"]) if "height" in size and "width" in size else None
    into = (crop["height"], crop["width"]) if crop else direct or ((shorter, shorter) if shorter else None)
    if into is None:
        raise ValueError("it says neither `size` nor `crop_size`")
    if shorter:
        return into, shorter, ""
    if direct and crop and direct != into:
        note = f"its image processor stretches images to {direct[0]}×{direct[1]}; the data keeps their proportions"
        return into, min(direct), note
    return into, None, ""


def _sides(value: Any) -> dict[str, int]:
    """The sides that a size names; transformers has sizes of several kinds."""
    if value is None:
        return {}
    if isinstance(value, int):
        return {"height": value, "width": value}
    names = ("height", "width", "shortest_edge")
    sides: Mapping[str, Any] = value if isinstance(value, Mapping) else {n: getattr(value, n, None) for n in names}
    return {name: int(sides[name]) for name in names if sides.get(name)}


def _normalisation(processor: Any, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of an image of 0…1, which may be scaled to another range before it is normalised."""
    scale = 255 * float(getattr(processor, "rescale_factor", None) or 1 / 255)
    scale = scale if getattr(processor, "do_rescale", True) else 255.0
    offset = 1.0 if getattr(processor, "rescale_offset", False) else 0.0
    mean, std = [0.0] * channels, [1.0] * channels
    if getattr(processor, "do_normalize", False):
        mean, std = _each(processor.image_mean, channels), _each(processor.image_std, channels)
    if getattr(processor, "include_top", False) and type(processor).__name__.startswith("EfficientNet"):
        twice = _each(processor.image_std, channels)  # its classifier was trained on what is divided once more
        std = [one * two for one, two in zip(std, twice, strict=True)]
    # (scale·x − offset − mean) / std, as (x − m) / s
    return tuple((m + offset) / scale for m in mean), tuple(s / scale for s in std)


def _each(value: Any, channels: int) -> list[float]:
    found = [float(v) for v in value] if isinstance(value, list | tuple) else [float(value)]
    if len(found) == channels:
        return found
    if len(set(found)) == 1:
        return found[:1] * channels
    raise ValueError(f"it normalises {len(found)} channels, and the network takes {channels}")
