"""Data sets of the library `datasets`: found on this machine and opened by it; nothing is downloaded, no code runs."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from recipelang.errors import Refusal
from recipelang.hub import cache_folder, is_id, offline, prepared_folder, snapshot
from recipelang.images.access import current
from recipelang.images.decode import shown

#: what the library may read: tables and folders of images. Others of its readers unpickle, or run what they read.
READERS = ("arrow", "parquet", "imagefolder", "csv", "json", "cache")
#: files that are a data set alone, and who reads them
FILES = {".parquet": "parquet", ".arrow": "arrow", ".csv": "csv", ".json": "json", ".jsonl": "json"}
_SAVED = ("dataset_dict.json", "state.json")  # of `save_to_disk`


@dataclass(frozen=True)
class HubSet:
    """A data set as the library opened it.

    Attributes:
        name: for messages: the id, or the name of the file or folder.
        splits: name of the split there → `datasets.Dataset`.
        named: whether the splits have names that somebody gave them; not where there is one table alone.
    """

    name: str
    splits: Mapping[str, Any]
    named: bool = True


def open_hub_set(where: str, resolve: Callable[[str], Path], subset: str = "", revision: str = "main") -> HubSet:
    """The data set that a recipe names by a file, a folder, or an id under which it was downloaded.

    Args:
        where: a path, relative to the recipe, or an id: `ylecun/mnist`.
        resolve: turns a path of the recipe into one on this machine.
        subset: which configuration of a data set that has several.
        revision: branch, tag or commit of an id.

    Raises:
        Refusal: RCP0858: it is not on this machine; RCP0859: it cannot be read; RCP0860: it is a script.
    """
    own = resolve(where)
    if own.is_file():
        return _of_file(where, own)
    if own.is_dir():
        return _of_folder(where, own, subset)
    if is_id(where):
        if revision == "main" and (found := _prepared(where, subset)):
            return found
        if (folder := snapshot(where, revision, "datasets")) is not None:
            return _of_folder(where, folder, subset)
    raise _not_here(where, own, revision)


def _of_file(where: str, file: Path) -> HubSet:
    if file.suffix == ".py":
        raise _script(where, file.name)
    if file.suffix.lower() not in FILES:
        help = f"name a folder, or a file of {', '.join(FILES)}; for images in a folder write `folder`"
        raise invalid(where, f"`{shown(file.name)}` is not a file of a kind that is read here", help)
    with _reading(where):
        return HubSet(shown(file.name), _prepare(where, FILES[file.suffix.lower()], data_files=str(file)), named=False)


def _of_folder(where: str, folder: Path, subset: str) -> HubSet:
    name = shown(where if folder.parent.name == "snapshots" else folder.name)
    if any((folder / file).is_file() for file in _SAVED):
        with _reading(where):
            import datasets

            found = datasets.load_from_disk(str(folder))
        if isinstance(found, datasets.DatasetDict):
            return HubSet(name, dict(found))
        return HubSet(name, {str(found.split or "train"): found}, named=False)
    _refuse_scripts(where, folder)
    _refuse_addresses(where, folder)
    with _reading(where):
        return HubSet(name, _prepare(where, str(folder), subset))


def _prepared(where: str, subset: str) -> HubSet | None:
    """What the library prepared when the user loaded this id; None where that never happened."""
    organisation, _, name = where.rpartition("/")
    snake = re.sub(r"([a-z\d])([A-Z])", r"\1_\2", re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)).lower()
    place = prepared_folder() / "___".join(filter(None, (organisation, snake)))
    if not any(place.glob("*/*/*/dataset_info.json")):
        return None
    with _reading(where):
        return HubSet(where, _prepare(where, where, subset))


def _prepare(where: str, path: str, subset: str = "", **how: Any) -> dict[str, Any]:
    """Split → data set, once the library has made its own copy of the files, which it keeps in its cache.

    Raises:
        Refusal: RCP0859: it has another reader than those of `READERS`.
    """
    import datasets

    builder = datasets.load_dataset_builder(path, subset or None, cache_dir=str(prepared_folder()), **how)
    package, _, reader = type(builder).__module__.rpartition(".")
    if not package.startswith("datasets.packaged_modules") or reader not in READERS:
        help = "write `data webdataset`" if reader == "webdataset" else "save it as Parquet, or with `save_to_disk`"
        raise invalid(where, f"its files are those of `{shown(reader)}`, which are not read here", help)
    progress = None if os.path.isdir(str(builder.cache_dir)) else current().progress
    if progress:
        progress.start(f"preparing `{shown(where)}` in the cache of datasets")
    try:
        builder.download_and_prepare()
    finally:
        if progress:
            progress.stop()
    return dict(builder.as_dataset())


@contextmanager
def _reading(where: str) -> Iterator[None]:
    """Inside, the library reads quietly and without a network; what it raises is refused (RCP0859)."""
    import datasets
    from datasets.utils import logging

    level, bars, online = logging.get_verbosity(), datasets.are_progress_bars_disabled(), datasets.config.HF_HUB_OFFLINE
    logging.set_verbosity(logging.CRITICAL)
    datasets.disable_progress_bars()
    datasets.config.HF_HUB_OFFLINE = True
    try:
        with warnings.catch_warnings(), offline():
            warnings.simplefilter("ignore")
            yield
    except (Refusal, KeyboardInterrupt):
        raise
    except Exception as error:  # files of others may make their reader raise anything
        raise _refused(where, error) from error
    finally:
        datasets.config.HF_HUB_OFFLINE = online
        if not bars:
            datasets.enable_progress_bars()
        logging.set_verbosity(level)


def _refused(where: str, error: Exception) -> Refusal:
    """The refusal for what the library raised."""
    cause = error.__cause__ if type(error).__name__ == "DatasetGenerationError" and error.__cause__ else error
    lines = str(cause).strip().splitlines() or [type(cause).__name__]
    choices = re.search(r"(?:available configs?|one among[^:]*): (\[.*?\])", str(cause).replace("\n", " "), re.I)
    if choices or "BuilderConfig" in lines[0]:
        some = f": {choices.group(1)}" if choices else ""
        return invalid(where, f"it has several subsets{some}"[:300], 'say which one: `subset="…"`')
    return invalid(where, f"the library `datasets` says: {' '.join(lines[0].split())[:200]}")


def invalid(where: str, why: str, help: str = "") -> Refusal:
    """The refusal for a data set that cannot be read."""
    usual = "name a folder that `save_to_disk` wrote, Parquet files, or a folder with a folder of images per class"
    return Refusal("RCP0859", f"`{shown(where)}` cannot be read as a data set: {shown(why)}", help or usual)


def _refuse_scripts(where: str, folder: Path) -> None:
    """Refuse a data set that is a Python script: by its name, or as it has no other files."""
    scripts = sorted(file.name for file in folder.glob("*.py"))
    own = {f"{folder.name}.py", f"{Path(where).name}.py"}
    with suppress(OSError):
        if scripts and (own & set(scripts) or not any(_data_files(folder))):
            raise _script(where, next((name for name in scripts if name in own), scripts[0]))


def _data_files(folder: Path) -> Iterator[str]:
    for _, _, files in os.walk(folder):
        yield from (name for name in files if not name.startswith(".") and not name.endswith((".py", ".md")))


def _script(where: str, script: str) -> Refusal:
    return Refusal(
        "RCP0860",
        f"`{shown(where)}` brings its own code (`{shown(script)}`), which is not run",
        "use a data set of Parquet files or images; what you trust can be read by a file of your own: "
        '`data python("FILE.py:build")`',
    )


def _refuse_addresses(where: str, folder: Path) -> None:
    """Refuse a folder whose card says that its files are elsewhere.

    Raises:
        Refusal: RCP0859.
    """
    card = folder / "README.md"
    try:
        parts = card.read_text(encoding="utf-8", errors="replace").split("---", 2) if card.is_file() else []
        front = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0].strip() else None
    except (OSError, yaml.YAMLError) as error:
        raise invalid(where, f"its `README.md` cannot be read: {error}", "fix it, or remove it") from error
    configs = front.get("configs") if isinstance(front, Mapping) else None
    if "://" in str(configs or ""):
        message = "its `README.md` names files at an address, and nothing is downloaded"
        raise invalid(where, message, "download the files, and name them there")


def _not_here(where: str, own: Path, revision: str) -> Refusal:
    if not is_id(where):
        return Refusal("RCP0858", f"there is no data set `{shown(where)}`", f"it was looked for at `{own}`")
    of = f" --revision {revision}" if revision != "main" else ""
    known = f"the revision `{revision}` of `{where}`" if of else f"`{where}`"
    return Refusal(
        "RCP0858",
        f"{known} is not on this machine, and a recipe downloads nothing",
        f"`hf download --repo-type dataset {where}{of}` downloads it once; it was looked for as `{own}`, in "
        f"`{cache_folder()}` and in `{prepared_folder()}`, which `HF_HOME` moves",
    )
