"""The output folder: which one a run takes, and what a recipe may write there."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from recipelang.errors import Refusal
from recipelang.files import below, expanded, keep_inside, sweep, write_text
from recipelang.run.store import Store, remove
from recipelang.surgery.files import FILES

RECIPE, REPORT, PARTIAL = "recipe.rcp", "report.json", "partial"


@contextmanager
def output_folder(asked: Path | None, name: str, text: str, store: Store) -> Iterator[Path]:
    """The folder to write to, created, with the recipe in it, and held exclusively for this run.

    Args:
        asked: the folder; None takes `runs/<name>-<n>`: the one that an interrupted run of this same recipe left,
            else the next free one.
        name, text: of the recipe.
        store: its locks keep runs apart.

    Raises:
        Refusal: RCP0902: the folder holds something that no run wrote; RCP0917: another run is writing into it;
            RCP0918: a link in it leads out of it.
    """
    with ExitStack() as held:
        folder = _own(Path(asked), held, store) if asked is not None else _next(name, text, held, store)
        folder.mkdir(parents=True, exist_ok=True)
        keep_inside(folder)
        for place in (folder, folder / "figures"):
            sweep(place)
        write_text(folder / RECIPE, text)
        try:
            yield folder
        finally:
            with suppress(OSError):  # a full disk must not hide how the run ended
                if not (folder / RECIPE).exists():  # removed meanwhile; without it the folder would not be a run's
                    write_text(folder / RECIPE, text)


def _own(folder: Path, held: ExitStack, store: Store) -> Path:
    """The folder that was asked for."""
    held.enter_context(_held(folder, store))
    if folder.exists() and not folder.is_dir():
        raise Refusal("RCP0902", f"`{folder}` is a file, and a run writes a folder", "choose another `--out`")
    if folder.is_dir() and not (folder / RECIPE).is_file() and any(map(_foreign, folder.iterdir())):
        raise Refusal("RCP0902", f"`{folder}` is not empty, and no run wrote it", "choose another `--out`")
    return folder


def _foreign(path: Path) -> bool:
    """False for what a run leaves that was killed while it wrote its very first file."""
    return not (path.name.startswith(f".{RECIPE}.") and path.name.endswith(".part"))


def _next(name: str, text: str, held: ExitStack, store: Store) -> Path:
    """The first of `runs/<name>-1` and so on that is free or was left unfinished by a run of the same recipe."""
    for folder in (Path("runs") / f"{name}-{n}" for n in itertools.count(1)):
        with suppress(_Busy):
            held.enter_context(_held(folder, store))
            recipe = folder / RECIPE
            left = recipe.is_file() and not (folder / REPORT).exists() and recipe.read_bytes() == text.encode()
            if left or not folder.exists():
                return folder
            held.close()
    raise AssertionError  # numbers do not end


class _Busy(Refusal):
    """Another run is writing into the folder."""


@contextmanager
def _held(folder: Path, store: Store) -> Iterator[None]:
    def refuse() -> None:
        raise _Busy("RCP0917", f"another run is writing into `{folder}`", "wait for it, or choose another `--out`")

    place = hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogateescape")).hexdigest()
    with store.hold(f"output-{place}", refuse):
        yield


def without_partial(out: Path) -> None:
    """Remove what an earlier run left in the folder for results of budgets that are out of reach.

    Raises:
        Refusal: RCP0902: something else is there.
    """
    _refuse_foreign(out / PARTIAL)
    remove(out / PARTIAL)


def _refuse_foreign(folder: Path) -> None:
    """Refuse to replace anything that is not a network of a run or beside one."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    networks = {path.parent for path in files if path.name == FILES[0]}
    if folder.is_file() or not all(networks.intersection(path.parents) for path in files):
        raise Refusal("RCP0902", f"`{folder}` is in the way, and no run wrote it", "move it, or choose another `--out`")


@contextmanager
def whole(out: Path, name: str) -> Iterator[Path]:
    """A folder to fill, which replaces `name` below `out` when it is complete; until then the old one stays.

    Raises:
        Refusal: RCP0902: what is there is not a network that a run wrote; RCP0918: a link leads out of `out`.
    """
    target = below(out, name)
    _refuse_foreign(target)
    beside = target.with_name(f".{target.name}.part")
    remove(beside)
    beside.mkdir(parents=True)
    try:
        yield beside
        remove(target)
        os.replace(beside, target)
    finally:
        remove(beside)


def leaves(path: str) -> bool:
    """Whether a path that starts at the output folder leads out of it.

    Raises:
        Refusal: RCP1214: the path is invalid on every system.
    """
    place = os.path.normpath(expanded(path))
    return os.path.isabs(place) or place.split(os.sep)[0] == os.pardir


def inside(out: Path, path: str, outside: bool) -> Path:
    """A path that a recipe names for output, below the output folder.

    Raises:
        Refusal: RCP0912: it would leave the output folder, and the command line does not allow that; RCP0918: it would
            leave it through a link.
    """
    if not leaves(path):
        return below(out, path)
    if not outside:
        raise Refusal(
            "RCP0912", f"`{path}` is outside the output folder", "choose a folder within it, or run with `--outside`"
        )
    return out / expanded(path)
