"""A compressed network in a folder: constructor, edit log, masks and weights. Nothing in it is ever executed.

model.json            how to build the original: method, settings, classes, input size, preprocessing
surgery.json          what was cut out, and which pattern each mask has
masks.safetensors     parameter name → bool
model.safetensors     the weights, zeros included; 2:4 weights in their packed form where that was asked for
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.images.preprocessing import entries, from_entries
from recipelang.kinds import Preprocessing
from recipelang.surgery.edits import from_json, replay
from recipelang.surgery.masks import apply_masks, broken_masks
from recipelang.surgery.network import Mask, Network
from recipelang.surgery.packing import (
    pack_masks,
    pack_weights,
    packed_names,
    unpack_masks,
    unpack_weights,
    weight_shape,
)
from recipelang.surgery.source import rebuild
from recipelang.surgery.tracing import first_line
from recipelang.surgery.weights import load_weights
from recipelang.verbs.accelerate import GOALS

FORMAT = "recipelang.model/1"
MODEL, SURGERY, MASKS, WEIGHTS = FILES = ("model.json", "surgery.json", "masks.safetensors", "model.safetensors")


def save(network: Network, folder: Path, *, packed: bool = False) -> tuple[Path, ...]:
    """Write the network into `folder`; equal networks give equal bytes.

    Each file takes its place in one move, so that a reader never meets half of one.

    Args:
        network: stands as it is.
        folder: made where it is missing.
        packed: whether masked weights that are 2:4 are written in their packed form.

    Returns:
        the four files.

    Raises:
        Refusal: RCP0716: the network's state is not only tensors.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = {
        "format": FORMAT,
        "source": network.source,
        "input_shape": list(network.input_shape),
        "classes": list(network.classes),
        "preprocessing": entries(network.preprocessing) if network.preprocessing else None,
        "accelerated": network.accelerated,
    }
    names = packed_names(network) if packed else {}
    if names:
        model["packed"] = names
    surgery = {
        "format": FORMAT,
        "edits": [edit.json() for edit in network.edits],
        "masks": {name: mask.pattern for name, mask in network.masks.items()},
    }
    _write(folder / MODEL, _json(model))
    _write(folder / SURGERY, _json(surgery))
    masks = {name: mask.keep for name, mask in network.masks.items()}
    _write(folder / MASKS, to_bytes(_plain(pack_masks(masks, list(names)))))
    _write(folder / WEIGHTS, to_bytes(_plain(pack_weights(network.module.state_dict(), list(names)))))
    return tuple(folder / name for name in FILES)


def load(folder: Path, *, trust: bool = False) -> Network:
    """The network that was saved in `folder`. Never downloads, never unpickles.

    Args:
        folder: as `save` wrote it.
        trust: whether the Python file of a `python("file.py:build")` network may run.

    Raises:
        Refusal: RCP0714: a file is missing, damaged, or does not fit the others; RCP0701, RCP0707: the edit log or the
            weights do not fit; RCP0711, RCP0715: code is needed and not trusted, missing or changed.
    """
    model, surgery = _read_json(folder / MODEL), _read_json(folder / SURGERY)
    try:
        network = Network(
            module=nn.Identity(),
            source=dict(model["source"]),
            input_shape=_shape(model["input_shape"]),
            edits=tuple(from_json(entry) for entry in surgery["edits"]),
            classes=tuple(str(name) for name in model["classes"]),
            preprocessing=_preprocessing(model["preprocessing"]),
            accelerated=_accelerated(model["accelerated"]),
        )
        patterns = {str(name): str(pattern) for name, pattern in surgery["masks"].items()}
        packed = {str(name): weight_shape(shape) for name, shape in model.get("packed", {}).items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(
            folder, f"`{MODEL}` or `{SURGERY}` has a wrong entry: {type(error).__name__}: {first_line(error)}"
        ) from error
    module = rebuild(network.source, trust=trust, folder=folder)
    replay(module, network.edits)
    try:
        weights = unpack_weights(_read_tensors(folder / WEIGHTS), packed)
        masks = unpack_masks(_read_tensors(folder / MASKS), packed)
    except KeyError as error:
        raise damaged(folder, f"{error} is missing, which `{MODEL}` says is packed") from error
    load_weights(module, weights, f"the weights of `{folder.name}`")
    network = replace(network, module=module, masks=_masks(folder, patterns, masks))
    if broken := broken_masks(network):
        raise damaged(folder, f"weights of `{broken[0]}` that its mask excludes are not zero")
    return network


def interface(folder: Path) -> tuple[tuple[str, ...], Preprocessing | None]:
    """Class names and preprocessing of the network that was saved in `folder`.

    Raises:
        Refusal: RCP0714.
    """
    model = _read_json(folder / MODEL)
    try:
        return tuple(str(name) for name in model["classes"]), _preprocessing(model["preprocessing"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(folder, f"`{MODEL}` has a wrong entry: {type(error).__name__}: {first_line(error)}") from error


def fresh(network: Network, seed: int) -> Network:
    """The same architecture and masks with new random weights.

    Raises:
        Refusal: RCP0715: the Python file that builds it is gone or has changed.
    """
    # Its code was trusted when this network was built, and is held against its hash.
    module = rebuild(network.source, trust=True, folder=Path(), seed=seed)
    replay(module, network.edits)
    apply_masks(module, network.masks)
    return replace(network, module=module)


def damaged(folder: Path, why: str) -> Refusal:
    """The refusal for a folder that is not as `save` wrote it."""
    return Refusal(
        "RCP0714",
        f"`{folder.name}` holds no intact network: {why}",
        "use a folder as a run or `export safetensors` wrote it",
    )


def _masks(folder: Path, patterns: Mapping[str, str], keep: Mapping[str, Tensor]) -> dict[str, Mask]:
    if set(keep) != set(patterns) or any(mask.dtype != torch.bool for mask in keep.values()):
        raise damaged(folder, f"`{MASKS}` does not hold the masks that `{SURGERY}` names")
    return {name: Mask(pattern, keep[name]) for name, pattern in patterns.items()}


def _plain(tensors: Mapping[str, Any]) -> dict[str, Tensor]:
    """Contiguous CPU tensors that share no memory, which is what safetensors takes."""
    plain: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise Refusal(
                "RCP0716",
                f"the network's state `{name}` is no tensor but {type(tensor).__name__}",
                "keep all state in parameters and buffers",
            )
        copy = tensor.detach().cpu().contiguous()
        plain[name] = copy.clone() if copy.untyped_storage().data_ptr() in seen else copy
        seen.add(copy.untyped_storage().data_ptr())
    return plain


def _json(value: Any) -> bytes:
    # ASCII, because a class name that was a folder name may hold what UTF-8 cannot.
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode("ascii")


def _write(path: Path, data: bytes) -> None:
    """Write under another name, then move: never half a file, and never through a link that lies in the way."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    try:
        part.write_bytes(data)  # not by safetensors, whose error for a full disk is none of the system's
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise damaged(path.parent, f"there is no `{path.name}`") from error
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path.parent, f"`{path.name}` cannot be read: {first_line(error)}") from error
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise damaged(path.parent, f"`{path.name}` is not of the format `{FORMAT}`")
    return value


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except Exception as error:  # a hostile file may make its reader raise anything
        what = (
            f"there is no `{path.name}`" if not path.is_file() else f"`{path.name}` cannot be read: {first_line(error)}"
        )
        raise damaged(path.parent, what) from error


def _shape(value: Any) -> tuple[int, int, int]:
    channels, height, width = (int(n) for n in value)
    if min(channels, height, width) < 1:
        raise ValueError(f"{value} is no size of an image")
    return channels, height, width


def _accelerated(value: Any) -> dict[str, Any] | None:
    """The settings of `accelerate` as its stage notes them."""
    if value is None:
        return None
    names = {key: value[key] for key in ("layers", "kernels")}
    if any(not isinstance(each, list) or not all(isinstance(name, str) for name in each) for each in names.values()):
        raise ValueError("`layers` and `kernels` of `accelerated` are lists of names")
    if value["goal"] not in GOALS or not isinstance(value["int8"], bool):
        raise ValueError("`goal` or `int8` of `accelerated` is none")
    return {**names, "goal": value["goal"], "int8": value["int8"]}


def _preprocessing(value: Any) -> Preprocessing | None:
    return None if value is None else from_entries(value)
