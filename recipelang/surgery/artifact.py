"""A compressed network in a folder: constructor, edit log, masks and weights. Nothing in it is ever executed.

model.json            how to build the original: method, settings, classes, input size, preprocessing
surgery.json          what was removed, and the pattern of each mask
masks.safetensors     parameter name → bool
model.safetensors     the weights, zeros included; 2:4 weights in their packed form where requested
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.files import atomic
from recipelang.images.preprocessing import entries
from recipelang.surgery.chance import random_numbers
from recipelang.surgery.edits import replay
from recipelang.surgery.manifest import (
    FILES,
    FORMAT,
    MASKS,
    MODEL,
    SURGERY,
    WEIGHTS,
    damaged,
    read_interface,
    read_manifest,
    read_tensors,
)
from recipelang.surgery.masks import apply_masks, broken_masks
from recipelang.surgery.network import Mask, Network
from recipelang.surgery.packing import (
    pack_masks,
    pack_weights,
    packed_names,
    unpack_masks,
    unpack_weights,
)
from recipelang.surgery.probe import require_same, require_sound
from recipelang.surgery.source import rebuild
from recipelang.surgery.space import built_apart
from recipelang.surgery.tracing import example_input, outputs_of
from recipelang.surgery.weights import load_weights

__all__ = ["FILES", "another", "fresh", "interface", "load", "require_readable", "save", "tried"]

#: seed of the build that a network is compared with: one that no recipe would name
OTHER_SEED = 0x5EED_CAFE


def save(network: Network, folder: Path, *, packed: bool = False) -> tuple[Path, ...]:
    """Write the network into `folder`; equal networks give equal bytes.

    Each file is moved into place at once, so that a reader never sees half of one.

    Args:
        network: is not changed.
        folder: created where missing.
        packed: whether 2:4 masked weights are written in their packed form.

    Returns:
        the four files.

    Raises:
        Refusal: RCP0716: the network's state holds something that is not a tensor.
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


def require_readable(network: Network, folder: Path) -> None:
    """Load what `save` wrote into `folder`, and compare its state and its answer with the network's.

    Raises:
        Refusal: RCP0723: its answer differs, since the network computes with something that is not in its state;
            RCP0714, RCP0715: it cannot be read.
    """
    back = load(folder, trust=True)  # its code has already run in this process
    own, read = network.module.state_dict(), back.module.state_dict()
    different = [name for name, value in own.items() if name not in read or not _equal(value, read[name])]
    if different:
        raise damaged(folder, f"`{different[0]}` is not read as it was written")
    with random_numbers():
        require_same(network.module, back.module, example_input(network), "the network, saved and loaded again,")


def _equal(one: Tensor, two: Tensor) -> bool:
    """NaN equals NaN."""
    one = one.detach().cpu()
    same = one.shape == two.shape and one.dtype == two.dtype
    return same and bool(((one == two) | ((one != one) & (two != two))).all())


def load(folder: Path, *, trust: bool = False) -> Network:
    """The network that was saved in `folder`. Never downloads, never unpickles.

    Args:
        folder: as `save` wrote it.
        trust: whether the Python file of a `python("file.py:build")` network may run.

    Raises:
        Refusal: RCP0714: a file is missing, damaged, or does not fit the others; RCP0701, RCP0707: the edit log or the
            weights do not fit; RCP0711, RCP0715: code is needed and not trusted, missing or changed.
    """
    told = read_manifest(folder)
    module = rebuild(told.source, trust=trust, folder=folder)
    replay(module, told.edits)
    most = 8 * sum(tensor.numel() for tensor in module.state_dict().values() if isinstance(tensor, Tensor))
    try:
        weights = unpack_weights(read_tensors(folder / WEIGHTS, most), told.packed)
        masks = unpack_masks(read_tensors(folder / MASKS, most), told.packed)
    except KeyError as error:
        raise damaged(folder, f"{error} is missing, which is packed according to `{MODEL}`") from error
    load_weights(module, weights, f"the weights of `{folder.name}`")
    network = Network(
        module=module,
        source=told.source,
        input_shape=told.input_shape,
        edits=told.edits,
        masks=_masks(folder, told.patterns, masks),
        classes=told.classes,
        preprocessing=told.preprocessing,
        accelerated=told.accelerated,
    )
    if broken := broken_masks(network):
        raise damaged(folder, f"weights of `{broken[0]}` that its mask excludes are not zero")
    _require_answer(network, folder)
    return network


def _require_answer(network: Network, folder: Path) -> None:
    """Refuse an edit log, or a changed input size, after which the network does not give one score per class."""
    if not network.edits and list(network.input_shape) == network.source["input_shape"]:
        return  # tried when it was built
    try:
        outputs = outputs_of(network.module, example_input(network)).shape[1]
    except Refusal as error:
        raise damaged(folder, error.message) from error
    if outputs != len(network.classes):
        raise damaged(folder, f"it gives {outputs} scores and has {len(network.classes)} classes")


interface = read_interface


def tried(network: Network, folder: Path) -> Network:
    """A network that `load` returned, with the notes about it; a user's code is tried as when it was first used.

    Raises:
        Refusal: as `probe.require_sound`.
    """
    if "digest" not in network.source["settings"]:
        return network  # built by the catalogue
    example = example_input(network)
    first = outputs_of(network.module, example)
    again = partial(another, network.source, folder, network.edits)
    notes = require_sound(network.module, example, first, again)
    return replace(network, habits=replace(network.habits, notes=notes))


@contextmanager
def another(source: Mapping[str, Any], folder: Path = Path(), edits: tuple[Any, ...] = ()) -> Iterator[nn.Module]:
    """A second build from newly imported files with other random numbers, for the duration of the block."""
    with built_apart():
        module = rebuild(source, trust=True, folder=folder, seed=OTHER_SEED)
        replay(module, edits)
        yield module


def fresh(network: Network, seed: int) -> Network:
    """The same architecture and masks with new random weights.

    Raises:
        Refusal: RCP0715: the Python file that builds it is missing or has changed.
    """
    # Its code was trusted when this network was built, and is checked against its hash.
    module = rebuild(network.source, trust=True, folder=Path(), seed=seed)
    replay(module, network.edits)
    apply_masks(module, network.masks)
    return replace(network, module=module)


def _masks(folder: Path, patterns: Mapping[str, str], keep: Mapping[str, Tensor]) -> dict[str, Mask]:
    if set(keep) != set(patterns) or any(mask.dtype != torch.bool for mask in keep.values()):
        raise damaged(folder, f"`{MASKS}` does not hold the masks that `{SURGERY}` names")
    return {name: Mask(pattern, keep[name]) for name, pattern in patterns.items()}


def _plain(tensors: Mapping[str, Any]) -> dict[str, Tensor]:
    """Contiguous CPU tensors that share no memory, as safetensors requires."""
    plain: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise Refusal(
                "RCP0716",
                f"the network's state `{name}` is a {type(tensor).__name__}, not a tensor",
                "keep all state in parameters and buffers",
            )
        copy = tensor.detach().cpu().contiguous()
        plain[name] = copy.clone() if copy.untyped_storage().data_ptr() in seen else copy
        seen.add(copy.untyped_storage().data_ptr())
    return plain


def _json(value: Any) -> bytes:
    # ASCII, because a class name taken from a folder may hold what UTF-8 cannot encode.
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode("ascii")


def _write(path: Path, data: bytes) -> None:
    """Write the file whole or not at all; not by safetensors, whose error for a full disk is not an OSError."""
    with atomic(path) as file:
        file.write(data)
