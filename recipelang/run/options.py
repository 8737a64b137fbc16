"""Where and how a plan is carried out: what the command line and the profile decide, and a recipe does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Options:
    """Settings of a run.

    Attributes:
        out: output folder; None takes the next free `runs/<recipe>-<n>`.
        store: the store's folder; None takes `.recipe` in the current folder.
        device: `cpu` or `cuda`, for training.
        threads: CPU threads for training, fixed for the whole run; None takes `OMP_NUM_THREADS`, else all cores
            granted to this process.
        fresh: measure and compute again what the store holds.
        smoke: a few batches per stage, to see whether a recipe runs to its end; stored separately.
        trust: whether Python code that the recipe names (`python("file.py:build")`) may run.
        resolve: turns a path or alias of the recipe into a path on this machine.
        recipe_dir: the folder of the recipe.
        command: the command line, for the report.
        follow_links: whether links in folders of images are followed, to folders and out of the data.
        outside: whether `export … to` and `report … to` may leave the output folder.
        tracking: trackers that are told of the run, methods of kind `tracker`.
    """

    out: Path | None = None
    store: Path | None = None
    device: str = "cpu"
    threads: int | None = None
    fresh: bool = False
    smoke: bool = False
    trust: bool = False
    resolve: Callable[[str], Path] = Path
    recipe_dir: Path = Path(".")
    command: str = ""
    follow_links: bool = False
    outside: bool = False
    tracking: tuple[Any, ...] = ()
