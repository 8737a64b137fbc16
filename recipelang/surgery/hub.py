"""Folders in the form of the Hugging Face hub: where they are on this machine, and what they hold.

A recipe never downloads one and never runs code of one. Reading them here needs neither torch nor their library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipelang.errors import Refusal
from recipelang.hub import cache_folder, is_id, snapshot
from recipelang.surgery.entries import Wrong
from recipelang.surgery.untrusted import json_of

CONFIG = "config.json"
#: files of weights, the preferred first; `.bin` is a pickle, of which only plain tensors are read
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
#: weights of other frameworks, for the message
FOREIGN = {
    "tf_model.h5": "TensorFlow",
    "flax_model.msgpack": "Flax",
    "model.onnx": "ONNX",
    "adapter_model.safetensors": "an adapter (PEFT), which needs its base network",
}


@dataclass(frozen=True)
class HubFolder:
    """A folder with a `config.json`.

    Attributes:
        where: as the recipe names it: a path or an id.
        path: the folder on this machine.
        config: what `config.json` says.
    """

    where: str
    path: Path
    config: Mapping[str, Any]

    def weights(self) -> Path:
        """The file of weights, or the index of its shards.

        Raises:
            Refusal: RCP0762: there is none, or a shard is missing.
        """
        for name in WEIGHTS:
            if (self.path / name).is_file():
                return self._whole(self.path / name)
        for name, what in FOREIGN.items():
            if (self.path / name).is_file():
                raise unfit(self.where, f"its weights are those of {what}", f"save it with torch: {_SAVE}")
        raise unfit(self.where, f"it has no weights (`{WEIGHTS[0]}`)", self._fetch() or f"save it whole: {_SAVE}")

    def _whole(self, file: Path) -> Path:
        if not file.name.endswith(".index.json"):
            return file
        try:
            shards = set(json_of(file)["weight_map"].values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise unfit(self.where, f"`{file.name}` is not an index of shards", self._fetch()) from error
        gone = sorted(str(shard) for shard in shards if not (self.path / str(shard)).is_file())
        if gone:
            named = ", ".join(f"`{shard}`" for shard in gone[:3]) + (f" and {len(gone) - 3} more" if gone[3:] else "")
            raise unfit(
                self.where,
                f"{len(gone)} of {len(shards)} shards named by `{file.name}` are missing: {named}",
                self._fetch() or "copy the whole folder",
            )
        return file

    def read(self, name: str) -> dict[str, Any] | None:
        """The content of another JSON file of the folder; None where there is none.

        Raises:
            Refusal: RCP0762: it is not a JSON object.
        """
        return _json(self.path / name, self.where)

    def files(self, *more: str) -> tuple[Path, ...]:
        """The files that decide what is built: the configuration, the weights, and those of `more` that exist."""
        from recipelang.surgery.checkpoints import files_of

        others = (self.path / name for name in (CONFIG, *more))
        return (*(file for file in others if file.is_file()), *files_of(self.weights()))

    def _fetch(self) -> str:
        """The command that downloads an id again; "" where it is a folder of the user's."""
        return f"the download is incomplete; {_command(self.where)} completes it" if _cached(self.path) else ""


_SAVE = "`model.save_pretrained(FOLDER)` and `processor.save_pretrained(FOLDER)`"


def open_folder(where: str, resolve: Callable[[str], Path], revision: str = "main") -> HubFolder:
    """The folder that a recipe names by its path, or by the id under which it was downloaded.

    Args:
        where: a path, relative to the recipe, or an id: `microsoft/resnet-18`.
        resolve: turns a path of the recipe into one on this machine.
        revision: branch, tag or commit of an id.

    Raises:
        Refusal: RCP0760: it is neither here nor in the cache; RCP0762: it is not such a folder.
    """
    if not where.strip():
        help = 'name a folder of `save_pretrained`, or an id that was downloaded: `"microsoft/resnet-18"`'
        raise Refusal("RCP0760", "the name of the network is empty", help)
    own = resolve(where)
    if own.is_file():
        raise unfit(where, "it is a file, not a folder", f"name the folder that has the `{CONFIG}`")
    path = own if own.is_dir() else snapshot(where, revision)
    if path is None:
        raise _not_here(where, own, revision)
    config = _json(path / CONFIG, where)
    if config is None:
        help = "save it with `save_pretrained`, which writes one"
        raise unfit(where, f"it has no `{CONFIG}`", _command(where) if _cached(path) else help)
    return HubFolder(where, path, config)


def refuse_code(folder: HubFolder) -> None:
    """Refuse a folder that brings its own Python code, and settings that would fetch some.

    Raises:
        Refusal: RCP0761.
    """
    mapped = folder.config.get("auto_map")
    if mapped:
        first = str(next(iter(mapped.values() if isinstance(mapped, Mapping) else [mapped]), ""))[:80]
        raise Refusal(
            "RCP0761",
            f"`{folder.where}` brings its own code (`auto_map`: `{first}`), which is not run",
            "if you trust it, load it in a Python file and use that: "
            '`model python("FILE.py:build")`; a network of a type that transformers has needs no `auto_map`',
        )


def unfit(where: str, why: str, help: str = "") -> Refusal:
    """The refusal for a folder that cannot be used as a network."""
    return Refusal("RCP0762", f"`{where}` cannot be used as a network: {why}", help or "download or copy it again")


def _not_here(where: str, own: Path, revision: str) -> Refusal:
    if not is_id(where):
        return Refusal("RCP0760", f"there is no folder `{where}`", f"it was looked for at `{own}`")
    known = f"the revision `{revision}` of `{where}`" if revision != "main" else f"`{where}`"
    return Refusal(
        "RCP0760",
        f"{known} is not on this machine, and a recipe downloads nothing",
        f"{_command(where, revision)} downloads it once; it was looked for as the folder `{own}` and in "
        f"`{cache_folder()}`, which `HF_HOME` moves",
    )


def _command(where: str, revision: str = "main") -> str:
    return f"`hf download {where}{f' --revision {revision}' if revision != 'main' else ''}`"


def _cached(path: Path) -> bool:
    return path.parent.name == "snapshots" and path.parent.parent.name.startswith("models--")


def _json(path: Path, where: str) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        found = json_of(path)
    except (OSError, ValueError, RecursionError, Wrong) as error:
        raise unfit(where, f"`{path.name}` is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise unfit(where, f"`{path.name}` is not a JSON object")
    return found
