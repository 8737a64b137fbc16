"""A compressed network in a folder: constructor, edit log, restrictions and weights. Nothing in it is ever executed.

model.json                 how to build the original: method, settings, classes, input size, preprocessing
surgery.json               what was removed, and what limits the numbers at which place
restrictions.safetensors   tensors of the restrictions: `layer1.0.conv1.weight@mask.keep`
model.safetensors          the weights, zeros included; 2:4 weights in their packed form where requested; weights of few
                           values as the bytes of an encoder where the recipe says `encode` (surgery/encoding.py)

Together they are `Network.described` and `Network.tensors`, and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.files import atomic
from recipelang.kinds import Restriction
from recipelang.surgery import encoding
from recipelang.surgery.chance import random_numbers
from recipelang.surgery.edits import replay
from recipelang.surgery.entries import Wrong, shown
from recipelang.surgery.files import FILES, MASKS, MODEL, RESTRICTIONS, SURGERY, WEIGHTS, files_in
from recipelang.surgery.libraries import named_version
from recipelang.surgery.manifest import (
    ENCODED_FORMAT,
    FORMAT,
    PLAIN_FORMAT,
    Manifest,
    damaged,
    read_interface,
    read_manifest,
    read_tensors,
)
from recipelang.surgery.network import Network, tensor_name
from recipelang.surgery.packing import (
    pack_masks,
    pack_weights,
    packed_names,
    unpack_masks,
    unpack_weights,
)
from recipelang.surgery.probe import require_same, require_sound
from recipelang.surgery.restricting import broken, hold, read
from recipelang.surgery.simulated import require_places
from recipelang.surgery.source import rebuild
from recipelang.surgery.space import built_apart
from recipelang.surgery.tasks import task_named
from recipelang.surgery.tracing import example_input, first_line, outputs_of
from recipelang.surgery.weights import load_weights

__all__ = ["FILES", "another", "files_in", "fresh", "interface", "load", "require_readable", "save", "tried"]

#: seed of the build that a network is compared with: one that no recipe would name
OTHER_SEED = 0x5EED_CAFE
#: what `surgery.json` holds of `Network.described`; `model.json` holds the rest
IN_SURGERY = ("edits", "restrictions")


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
    described = network.described()
    state, restricting = dict(network.module.state_dict()), network.restricting()
    if network.encoded:
        state, restricting, stored = encoding.packed(network)
        described["encoded"] = stored.json()
    plain = ENCODED_FORMAT if network.encoded else PLAIN_FORMAT
    form = {"format": FORMAT if network.inputs.whole else plain}
    surgery = form | {name: described.pop(name) for name in IN_SURGERY}
    found = packed_names(network) if packed else {}
    names = {name: shape for name, shape in found.items() if name in state}
    model = {**form, **described} | ({"packed": names} if names else {})
    _write(folder / MODEL, _json(model))
    _write(folder / SURGERY, _json(surgery))
    masks = [tensor_name(name, "mask", "keep") for name in names]
    _write(folder / RESTRICTIONS, to_bytes(_plain(pack_masks(restricting, masks))))
    _write(folder / WEIGHTS, to_bytes(_plain(pack_weights(state, list(names)))))
    return tuple(folder / name for name in FILES)


def require_readable(network: Network, folder: Path) -> None:
    """Load what `save` wrote into `folder`, and compare everything that it is, and its answer, with the network's.

    Raises:
        Refusal: RCP0723: its answer differs, since the network computes with something that is not in its state;
            RCP0714, RCP0715: it cannot be read.
    """
    back = load(folder, trust=True)  # its code has already run in this process
    described, own, read = back.described(), network.tensors(), back.tensors()
    different = [name for name, value in network.described().items() if _json(described.get(name)) != _json(value)]
    different += [name for name, value in own.items() if name not in read or not _equal(value, read[name])]
    if different := different or [name for name in read if name not in own]:
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
        Refusal: RCP0714: a file is missing, damaged, or does not fit the others; RCP0745: a later version wrote it;
            RCP0746: a restriction of an unknown kind; RCP0701, RCP0705, RCP0707: the edit log, a restriction or the
            weights do not fit; RCP0711, RCP0715: code is needed and not trusted, missing or changed; RCP0763: another
            version of the library that built it is installed, and builds another network.
    """
    told = read_manifest(folder)
    with named_version(told.source):
        module = rebuild(told.source, trust=trust, folder=folder)
        replay(module, told.edits)
    most = 8 * sum(tensor.numel() for tensor in module.state_dict().values() if isinstance(tensor, Tensor))
    try:
        weights = unpack_weights(read_tensors(folder / WEIGHTS, most), told.packed)
        restricting = read_tensors(folder / (MASKS if told.version == 1 else RESTRICTIONS), most)
        if told.encoded:
            weights, restricting = encoding.unpacked(module, told.encoded, told.restrictions, weights, restricting)
        restrictions = _restrictions(folder, told, restricting)
    except ValueError as error:
        raise damaged(folder, f"`{WEIGHTS}` is not encoded as `{MODEL}` says: {first_line(error)}") from error
    except KeyError as error:
        raise damaged(folder, f"{error} is missing, which is packed according to `{MODEL}`") from error
    with named_version(told.source):
        load_weights(module, weights, f"the weights of `{folder.name}`")
    network = Network(
        module=module,
        source=told.source,
        input_shape=told.input_shape,
        edits=told.edits,
        restrictions=restrictions,
        classes=told.classes,
        preprocessing=told.preprocessing,
        accelerated=told.accelerated,
        encoded=told.encoded.by if told.encoded else "",
        inputs=told.inputs,
    )
    if off := broken(network):
        kinds = " and ".join(one.kind for one in network.restrictions[off[0]])
        raise damaged(folder, f"the weights of `{off[0]}` are not as its {kinds} keeps them")
    with _buffers_kept(module):
        _require_answer(network, folder)
        require_places(network)
    return network


@contextmanager
def _buffers_kept(module: nn.Module) -> Iterator[None]:
    """After the block buffers are as they were: one may count the passes of a network, in evaluation mode too."""
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    try:
        yield
    finally:
        for name, buffer in module.named_buffers():
            if name in before and buffer.shape == before[name].shape:
                buffer.copy_(before[name])


def _require_answer(network: Network, folder: Path) -> None:
    """Refuse an edit log, or a changed input size, after which the network does not answer as its task wants."""
    same = (list(network.input_shape), network.inputs.ids) == (network.source["input_shape"], network.source.get("ids"))
    if not network.edits and same:
        return  # tried when it was built
    try:
        outputs = outputs_of(network.module, example_input(network), task_named(network.task)).shape[1]
    except Refusal as error:
        raise damaged(folder, error.message) from error
    if network.classes and outputs != len(network.classes):
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
    task = task_named(network.task)
    first = outputs_of(network.module, example, task)
    again = partial(another, network.source, folder, network.edits)
    notes = require_sound(network.module, example, first, again, task.target)
    return replace(network, habits=replace(network.habits, notes=notes))


@contextmanager
def another(source: Mapping[str, Any], folder: Path = Path(), edits: tuple[Any, ...] = ()) -> Iterator[nn.Module]:
    """A second build from newly imported files with other random numbers, for the duration of the block."""
    with built_apart():
        module = rebuild(source, trust=True, folder=folder, seed=OTHER_SEED)
        replay(module, edits)
        yield module


def fresh(network: Network, seed: int) -> Network:
    """The same architecture and restrictions with new random weights.

    Raises:
        Refusal: RCP0715: the Python file that builds it is missing or has changed.
    """
    # Its code was trusted when this network was built, and is checked against its hash.
    module = rebuild(network.source, trust=True, folder=Path(), seed=seed, redrawn=True)
    replay(module, network.edits)
    hold(module, network.restrictions)
    return replace(network, module=module)


def _restrictions(folder: Path, told: Manifest, tensors: dict[str, Tensor]) -> dict[str, tuple[Restriction, ...]]:
    """The restrictions of a folder, of any version, with their tensors, which are used up."""
    file = MASKS if told.version == 1 else RESTRICTIONS
    if told.version == 1:  # masks alone, by the names of their weights
        tensors = {tensor_name(name, "mask", "keep"): mask for name, mask in tensors.items()}
    tensors = unpack_masks(tensors, {tensor_name(name, "mask", "keep"): shape for name, shape in told.packed.items()})
    found = {}
    try:
        for place, each in told.restrictions.items():
            own = [_own(tensors, tensor_name(place, one["kind"], "")) for one in each]
            found[place] = tuple(read(place, one, named) for one, named in zip(each, own, strict=True))
            if sum(one.computes for one in found[place]) > 1:
                raise Wrong(f"two restrictions compute in place of {shown(place)}")
        if tensors:
            raise Wrong(f"`{SURGERY}` names nothing for {shown(next(iter(tensors)))}")
    except (TypeError, ValueError) as error:
        raise damaged(folder, f"`{file}` does not hold what `{SURGERY}` names: {first_line(error)}") from error
    return found


def _own(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin so, by the rest of their names; they are taken out."""
    return {name.removeprefix(prefix): tensors.pop(name) for name in list(tensors) if name.startswith(prefix)}


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
