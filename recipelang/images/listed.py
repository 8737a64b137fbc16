"""Images that a CSV file lists become a data set."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from recipelang.errors import Refusal
from recipelang.images.dataset import ImageDataset
from recipelang.images.decode import SUFFIXES
from recipelang.images.files import Listed, gather, open_files, usual
from recipelang.images.listing import Listing, list_samples
from recipelang.images.making import many_objects
from recipelang.images.readers import FolderReader
from recipelang.images.scan import folder_at
from recipelang.images.table import lines_of, listed, read_table

CHUNK = 1024  # files that a thread looks for before it says which are missing
_PLAIN = re.compile(r"[^./\\:~](?:[^/\\:]|/(?![./]|$))*")
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")


@dataclass(frozen=True)
class Columns:
    """Which columns hold what; "" finds a column by its usual names (`listing.USUAL`)."""

    path: str = ""
    label: str | tuple[str, ...] = ""
    split_by: str = ""
    labels: str = "auto"
    suffix: str = ""
    separator: str = ""


@many_objects()
def open_listed(
    file: Path,
    root: Path | None,
    columns: Columns,
    *,
    size: tuple[int, int],
    batch: int,
    split: tuple[float, ...],
    seed: int,
    augment: bool,
    channels: int,
    bits: int | None,
    skip: bool,
) -> ImageDataset:
    """The data set of a CSV file; see the card of `methods/data/csv.py`.

    Args:
        root: where relative paths start; None is the folder of the file.

    Raises:
        Refusal: RCP0801 no such root; RCP0852 to RCP0855 the table is invalid; RCP0803 to RCP0808, RCP0810, RCP0820,
            RCP0870 its images, classes or labels are.
    """
    table = read_table(file)
    found = list_samples(
        table,
        "path",
        value=columns.path,
        label=columns.label,
        split_by=columns.split_by,
        names=columns.labels,
        separator=columns.separator,
    )
    start = folder_at(root, "csv") if root is not None else file.parent
    below, names = _placed(start, found, columns.suffix)
    images = gather(
        [Listed(FolderReader(below, table.file), names, found.labels, found.splits)],
        found.classes,
        split,
        seed,
        skip=skip,
        bits=bits,
        notes=found.notes,
    )
    return open_files("csv", images, preprocessing=usual(size, channels, bits), batch=batch, augment=augment)


def _placed(start: Path, found: Listing, suffix: str) -> tuple[Path, tuple[str, ...]]:
    """A folder that holds all files, and their paths below it, whichever way they are written.

    Raises:
        Refusal: RCP0855: files are missing.
    """
    if urls := [k for k, value in enumerate(found.values) if _URL.match(value)]:
        message = f"`{found.table.file}`, {lines_of([found.lines[k] for k in urls])}: {listed([found.values[urls[0]]])}"
        raise Refusal("RCP0855", f"{message} is an address; nothing is downloaded", "download the files first")
    written = [value + suffix for value in found.values]
    if os.sep == "/" and not any("/" in path for path in written):
        written = [path.replace("\\", "/") for path in written]  # from Windows
    inside = os.path.join(os.path.normpath(start), "")
    paths = [inside + path if _plain(path) else os.path.normpath(os.path.join(start, path)) for path in written]
    _require_files(start, paths, found)
    if not all(path.startswith(inside) for path in paths):
        inside = os.path.join(os.path.commonpath([os.path.dirname(path) for path in paths]), "")
    return Path(inside), tuple(path[len(inside) :] for path in paths)


def _plain(path: str) -> bool:
    """Whether a path is relative and already as `os.path.normpath` would write it."""
    return _PLAIN.fullmatch(path) is not None


def _require_files(start: Path, paths: Sequence[str], found: Listing) -> None:
    def some(first: int) -> list[int]:
        return [k for k in range(first, min(first + CHUNK, len(paths))) if not _is_file(paths[k])]

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        missing = [k for part in pool.map(some, range(0, len(paths), CHUNK)) for k in part]
    if not missing:
        return
    count = f"{len(missing)} of the {len(paths)} files" if len(missing) > 1 else "a file"
    where = lines_of([found.lines[k] for k in missing])
    message = f"{count} that `{found.table.file}` lists {'are' if len(missing) > 1 else 'is'} missing ({where}): "
    raise Refusal("RCP0855", message + listed([found.values[k] for k in missing]), _where(start, paths[missing[0]]))


def _is_file(path: str) -> bool:
    try:
        return os.path.isfile(path)
    except ValueError:  # no system has such a path
        return False


def _where(start: Path, path: str) -> str:
    """What may help to find a file that is missing."""
    for suffix in sorted(SUFFIXES):
        for ending in (suffix, suffix.upper()):
            if _is_file(path + ending):
                return f'`{os.path.basename(path)}{ending}` is there: write `suffix="{ending}"`'
    if os.path.isdir(path):
        return "it is a folder: list the images in it, or use `folder`"
    name = os.path.basename(path)
    try:
        inner = sorted(entry.name for entry in os.scandir(start) if entry.is_dir())
    except OSError:
        inner = []
    if near := next((folder for folder in inner if _is_file(os.path.join(start, folder, name))), None):
        return f'`{name}` is in the folder `{near}`: write `root="…/{near}"`'
    return f"paths start at `{start.name or start}`; write `root=` if they start elsewhere, or remove the lines"
