"""Weights files in the forms found in practice, read without running any code of theirs.

safetensors, also in shards with an index; torch files of any name that hold plain tensors, alone or inside the
dictionary that a training script saved.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import pickle
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.kinds import ModelRequest
from recipelang.surgery.parts import lightning_needs_code, refuse_distributed, refuse_parts
from recipelang.surgery.tracing import first_line

#: names under which training scripts put averaged weights, used where there are no others
EMA_WRAPPERS = ("state_dict_ema", "model_ema", "ema_model", "ema_state_dict", "ema")
#: names under which training scripts put a state dict inside their checkpoint, in order of preference
WRAPPERS = (
    *("state_dict", "model_state_dict", "model", "net", "network", "model_state", "module", "weights", "params"),
    *EMA_WRAPPERS,
)
#: keys under which the tensors are not weights
NO_WEIGHTS = ("optim", "sched", "scaler", "criterion", "loss", "metric", "rng", "callbacks")
DEPTH, SHOWN = 4, 5
MOST_INDEX_BYTES = 2**24
#: files mistaken for weights, by their first bytes
NOT_WEIGHTS = {
    b"version https://git-lfs": "it is a Git LFS pointer: the weights themselves were not downloaded",
    b"\x89HDF": "it is an HDF5 file, as Keras writes",
    b"\x1f\x8b": "it is a gzip archive; unpack it",
    b"<!DOCTYPE": "it is a web page: the download failed",
    b"<html": "it is a web page: the download failed",
}
#: plain containers that checkpoints hold besides tensors; building one runs no code of the file
PLAIN: list[Any] = [argparse.Namespace, pathlib.PosixPath, pathlib.WindowsPath]


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a file, by name, and a note on how they were chosen ("" for none)."""

    tensors: dict[str, Tensor]
    note: str = ""


def weights_for(request: ModelRequest, weights: str, at: str) -> Checkpoint | None:
    """The weights of a model's settings; None where they name no file or are not wanted. See `read_weights`."""
    return read_weights(request.resolve(weights), at) if weights and request.weights else None


def read_weights(path: Path, at: str = "") -> Checkpoint:
    """The state dict of a file.

    A single state dict in a checkpoint, however deep, is used. Of several, the first of `WRAPPERS` is used and the
    others are named in the note.

    Args:
        path: safetensors, its index of shards, or a torch file, which is read with `weights_only=True`.
        at: which one to use: keys joined by dots, or a prefix of the names, which is removed.

    Raises:
        Refusal: RCP0706: the file is missing, corrupt, or needs code to run; RCP0742: it holds several state dicts and
            none under a usual name; RCP0743: it has nothing under `at`.
    """
    loaded, shown = _opened(path), path.name
    rest = at
    while rest and isinstance(loaded, Mapping):
        key = next((k for k in sorted(map(str, loaded), key=len, reverse=True) if f"{rest}.".startswith(f"{k}.")), None)
        if key is None or not isinstance(loaded.get(key), Mapping):
            break
        loaded, rest = loaded[key], rest[len(key) + 1 :]
    chosen = _chosen(loaded, shown, at.removesuffix(rest).rstrip("."))
    if not rest:
        return chosen
    inside = {name[len(rest) + 1 :]: t for name, t in chosen.tensors.items() if name.startswith(f"{rest}.")}
    if not inside:
        raise Refusal("RCP0743", f"the weights file `{shown}` has nothing under `{at}`", _offer(loaded, chosen.tensors))
    return replace(chosen, tensors=inside)


def files_of(path: Path) -> tuple[Path, ...]:
    """The files that hold the weights: the file itself, and the shards where it is an index of them."""
    if not path.name.endswith(".index.json") or not path.is_file():
        return (path,)
    try:
        return (path, *(path.with_name(shard) for shard in _shard_names(path)))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, Refusal):
        return (path,)  # reading it reports what is wrong


def _opened(path: Path) -> Any:
    """What the file holds: tensors by name, or the plain containers of a torch file."""
    try:
        if not path.is_file():
            refuse_parts(path)
            there = "is a folder, not a weights file" if path.is_dir() else "is not a file" if path.exists() else ""
            raise _unreadable(
                f"`{path.name}` {there}" if there else f"there is no weights file `{path.name}`",
                "write the path relative to the recipe, or give it in `recipe.yaml`",
            )
        if path.name.endswith(".index.json"):
            return _shards(path)
        refuse_parts(path)
        with path.open("rb") as file:
            start = file.read(32)
        for magic, why in NOT_WEIGHTS.items():
            if start.startswith(magic):
                raise _broken(path, why)
        plain = start[4:9] == b"\0\0\0\0{"  # the length of a header, and the header
        if plain or (path.suffix == ".safetensors" and not start.startswith((b"PK\x03\x04", b"\x80"))):
            return load_file(path)
        return _load_pickled(path)
    except Refusal:
        raise
    except pickle.UnpicklingError as error:
        raise _needs_code(path) from error
    except Exception as error:  # a hostile file may make its reader raise anything
        raise _broken(path, f"{type(error).__name__}: {first_line(error)}") from error


def _load_pickled(path: Path) -> Any:
    """weights_only: torch builds tensors and plain containers and rejects every other global."""
    with warnings.catch_warnings(), torch.serialization.safe_globals(PLAIN), path.open("rb") as file:
        warnings.simplefilter("ignore")  # torch's own, about a file that it then rejects
        return torch.load(
            file, map_location="cpu", weights_only=True
        )  # an open file, because torch reads paths by suffix


def _shards(path: Path) -> dict[str, Tensor]:
    """The tensors of all shards that an index names; they are in the same folder."""
    shards = _shard_names(path)
    found: dict[str, Tensor] = {}
    for shard in shards:
        found |= read_weights(path.with_name(shard)).tensors
    if missing := sorted(set(_index(path)) - set(found)):
        raise _broken(path, f"no shard holds `{missing[0]}`")
    return found


def _shard_names(path: Path) -> list[str]:
    shards = sorted(set(_index(path).values()))
    if any(Path(shard).name != shard or shard.endswith(".json") for shard in shards):
        raise _broken(path, "it names a shard outside its own folder")
    return shards


def _index(path: Path) -> dict[str, str]:
    """Name of a tensor → file name of its shard."""
    with path.open("rb") as file:
        found: dict[str, str] = json.loads(file.read(MOST_INDEX_BYTES))["weight_map"]
    return found


def _chosen(loaded: Any, shown: str, at: str) -> Checkpoint:
    """The state dict to use."""
    found = dict(_state_dicts(loaded))
    if not found:
        raise Refusal(
            "RCP0706",
            f"the weights file `{shown}` holds no state dict{f' under `{at}`' if at else ''}",
            "save only `model.state_dict()`",
        )
    usual = [path for path in found if all(part in WRAPPERS for part in path)]
    usual.sort(key=lambda path: [WRAPPERS.index(part) for part in path])
    if len(found) > 1 and not usual:
        names = _named(found, at)
        raise Refusal(
            "RCP0742", f"the weights file `{shown}` holds several state dicts: {names}", 'choose one with `at="NAME"`'
        )
    path = (usual or list(found))[0]
    refuse_distributed(found[path], shown)
    others = {other: tensors for other, tensors in found.items() if other != path}
    own = ".".join(path)
    note = f"the weights are `{own}` of `{shown}`; `at` takes {_named(others, at)}" if others else ""
    return Checkpoint({str(name): tensor.detach() for name, tensor in found[path].items()}, note)


def _state_dicts(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    """Every state dict inside plain dictionaries, by its path of keys."""
    if not isinstance(value, Mapping) or len(path) > DEPTH or not all(isinstance(key, str) for key in value):
        return
    tensors = {key: item for key, item in value.items() if isinstance(item, Tensor)}
    others = [item for key, item in value.items() if key not in tensors]
    if any(t.ndim for t in tensors.values()) and not any(isinstance(o, Mapping | list | tuple) for o in others):
        yield path, tensors
        return
    for key, item in value.items():
        if not any(word in key.lower() for word in NO_WEIGHTS):
            yield from _state_dicts(item, (*path, key))


def _named(found: Mapping[tuple[str, ...], Any], at: str) -> str:
    names = [".".join([*([at] if at else []), *path]) for path in found]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(f"`{name}`" for name in names[:SHOWN]) + more


def _offer(loaded: Any, tensors: Mapping[str, Tensor]) -> str:
    """What `at` could have been."""
    paths = [path for path, _ in _state_dicts(loaded) if path]
    firsts = dict.fromkeys((name.partition(".")[0],) for name in tensors if "." in name)
    return f"it has {_named(dict.fromkeys([*paths, *firsts]), '')}"


def _needs_code(path: Path) -> Refusal:
    try:
        names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
        names = [name for name in names if name not in {f"{cls.__module__}.{cls.__name__}" for cls in PLAIN}]
    except Exception:  # an old or damaged file cannot be searched
        names = []
    what = f": {', '.join(f'`{name[:80]}`' for name in names[:SHOWN])}" if names else ""
    if refusal := lightning_needs_code(path, what):
        return refusal
    return _unreadable(
        f"the weights file `{path.name}` cannot be read: it holds objects that are not plain tensors{what}",
        f'if you trust it, save only its weights: `net = torch.load("{path.name}", weights_only=False)`, then '
        '`torch.save(net.state_dict(), "plain.pt")`; of a dictionary, save the state dict in it',
    )


def _broken(path: Path, why: str) -> Refusal:
    return _unreadable(
        f"the weights file `{path.name}` cannot be read: {why}",
        "use a safetensors file or a plain state dict saved with `torch.save(model.state_dict(), …)`",
    )


def _unreadable(message: str, help: str) -> Refusal:
    return Refusal("RCP0706", message, help)
