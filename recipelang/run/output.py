"""The output folder: which one a run takes, and what a recipe may write there."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from recipelang.errors import Refusal
from recipelang.run.store import Store, write_text

RECIPE, REPORT = "recipe.rcp", "report.json"


@contextmanager
def output_folder(asked: Path | None, name: str, text: str, store: Store) -> Iterator[Path]:
    """The folder to write into, created, with the recipe in it, and held for this run alone.

    Args:
        asked: the folder; None takes `runs/<name>-<n>`: the one that an interrupted run of this very recipe left,
            else the next free one.
        name, text: of the recipe.
        store: whose locks tell runs apart.

    Raises:
        Refusal: RCP0902: the folder holds something that no run wrote; RCP0917: another run is writing into it.
    """
    with ExitStack() as held:
        folder = _own(Path(asked), held, store) if asked is not None else _next(name, text, held, store)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / RECIPE, text)
        yield folder


def _own(folder: Path, held: ExitStack, store: Store) -> Path:
    """The folder that was asked for."""
    held.enter_context(_held(folder, store))
    if folder.exists() and not folder.is_dir():
        raise Refusal("RCP0902", f"`{folder}` is a file, and a run writes a folder", "name another `--out`")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / RECIPE).is_file():
        raise Refusal("RCP0902", f"`{folder}` is not empty, and no run wrote it", "name another `--out`")
    return folder


def _next(name: str, text: str, held: ExitStack, store: Store) -> Path:
    """The first of `runs/<name>-1` and so on that is free, or was left unfinished by a run of the same recipe."""
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
        raise _Busy("RCP0917", f"another run is writing into `{folder}`", "wait for it, or name another `--out`")

    place = hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogateescape")).hexdigest()
    with store.hold(f"output-{place}", refuse):
        yield


def inside(out: Path, path: str, outside: bool) -> Path:
    """A path that a recipe names for output, below the output folder.

    Raises:
        Refusal: RCP0912: it would leave the output folder, and the command line does not allow that.
    """
    target = (out / path).resolve()
    if not outside and not target.is_relative_to(out.resolve()):
        raise Refusal(
            "RCP0912", f"`{path}` lies outside the output folder", "name a folder within it, or run with `--outside`"
        )
    return target
