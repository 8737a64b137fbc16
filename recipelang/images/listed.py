"""Images that a CSV file lists become a data set."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from recipelang.errors import Refusal
from recipelang.images.dataset import ImageDataset
from recipelang.images.decode import SUFFIXES
from recipelang.images.files import Listed, gather, open_files, usual
from recipelang.images.listing import Listing, list_samples
from recipelang.images.readers import FolderReader, Stamp, stamp_of
from recipelang.images.scan import folder_at
from recipelang.images.table import lines_of, listed, read_table
from recipelang.making import many_objects

CHUNK = 1024  # files that a thread looks for before it says which are missing
_BETWEEN = "\0"  # a table that holds one is refused
#: what no plain path holds: separators of Windows, drives, steps up, empty names, and a first `/`, `.` or `~`
_NOT_PLAIN = ("\\", ":", "//", "/.", "/\0", "\0/", "\0.", "\0~", "\0\0")
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
    below, names, stamps = _placed(start, found, columns.suffix)
    images = gather(
        [Listed(FolderReader(below, table.file), names, found.labels, found.splits, stamps)],
        found.classes,
        split,
        seed,
        skip=skip,
        bits=bits,
        notes=found.notes,
    )
    return open_files("csv", images, preprocessing=usual(size, channels, bits), batch=batch, augment=augment)


def _placed(start: Path, found: Listing, suffix: str) -> tuple[Path, tuple[str, ...], list[Stamp]]:
    """A folder that holds all files, their paths below it, whichever way they are written, and their stamps.

    Raises:
        Refusal: RCP0855: files are missing.
    """
    together = _BETWEEN.join(("", *found.values, ""))
    if "://" in together and (urls := [k for k, value in enumerate(found.values) if _URL.match(value)]):
        message = f"`{found.table.file}`, {lines_of([found.lines[k] for k in urls])}: {listed([found.values[urls[0]]])}"
        raise Refusal("RCP0855", f"{message} is an address; nothing is downloaded", "download the files first")
    written = [value + suffix for value in found.values]
    if os.sep == "/" and not any("/" in path for path in written):
        written = [path.replace("\\", "/") for path in written]  # from Windows
    inside = os.path.join(os.path.normpath(start), "")
    if _all_plain(written):
        paths = [inside + path for path in written]
    else:
        paths = [
            inside + path if _all_plain([path]) else os.path.normpath(os.path.join(start, path)) for path in written
        ]
    stamps = _require_files(start, paths, found)
    if not all(path.startswith(inside) for path in paths):
        inside = os.path.join(os.path.commonpath([os.path.dirname(path) for path in paths]), "")
    return Path(inside), tuple(path[len(inside) :] for path in paths), stamps


def _all_plain(paths: Sequence[str]) -> bool:
    """Whether all paths are relative and already as `os.path.normpath` would write them: looked for in one text."""
    together = _BETWEEN.join(("", *paths, ""))
    return not any(sign in together for sign in _NOT_PLAIN)


def _require_files(start: Path, paths: Sequence[str], found: Listing) -> list[Stamp]:
    """The stamp of each file; all of them are there."""

    def some(first: int) -> list[Stamp | None]:
        return [_stamp(path) for path in paths[first : first + CHUNK]]

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        stamps = [stamp for part in pool.map(some, range(0, len(paths), CHUNK)) for stamp in part]
    missing = [k for k, stamp in enumerate(stamps) if stamp is None]
    if not missing:
        return [stamp for stamp in stamps if stamp is not None]
    count = f"{len(missing)} of the {len(paths)} files" if len(missing) > 1 else "a file"
    where = lines_of([found.lines[k] for k in missing])
    message = f"{count} that `{found.table.file}` lists {'are' if len(missing) > 1 else 'is'} missing ({where}): "
    raise Refusal("RCP0855", message + listed([found.values[k] for k in missing]), _where(start, paths[missing[0]]))


def _stamp(path: str) -> Stamp | None:
    """None where there is no such file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # no system has a path of the latter
        return None
    return stamp_of(status) if stat.S_ISREG(status.st_mode) else None


def _is_file(path: str) -> bool:
    return _stamp(path) is not None


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
