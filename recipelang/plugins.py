"""What installed packages add: entry points of the group `recipelang.methods`, named `KIND.NAME`.

A file of the project and an entry point are found in the same way: the name in the recipe is the name of the file, or
what follows the dot. An installed plug-in is trusted, a recipe is not. The library that reads entry points takes longer
to import than a recipe takes to check, and so is imported only where a look into the installed packages finds one.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipelang.errors import Refusal

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "recipelang.methods"
_STANDARD = ("_frozen_importlib_external", "importlib._bootstrap_external")


@cache
def declared() -> dict[tuple[str, str], EntryPoint]:
    """The entry points of all installed packages, by kind and name.

    Raises:
        Refusal: RCP0252: an entry point has no kind; RCP0253: two packages add the same name.
    """
    if not _any_declared():
        return {}
    from importlib.metadata import entry_points

    found: dict[tuple[str, str], EntryPoint] = {}
    for point in entry_points(group=GROUP):
        kind, _, name = point.name.partition(".")
        if not name.isidentifier() or not kind.isidentifier():
            message = f"the plug-in `{point.value}` is declared as `{point.name}`, which is not `kind.name`"
            raise Refusal("RCP0252", message, "its author writes, for example, `criterion.spread`")
        if (kind, name) in found and found[kind, name].value != point.value:
            raise twice(kind, name, f"`{found[kind, name].value}` and `{point.value}` both add it")
        found[kind, name] = point
    return found


def twice(kind: str, name: str, why: str) -> Refusal:
    """The refusal of a second one of the same name."""
    return Refusal("RCP0253", f"there are two of the {kind} `{name}`: {why}", "uninstall one of the packages")


def _any_declared() -> bool:
    """Whether an installed package declares a plug-in; also where only the library can tell (archives, own finders)."""
    if any(hasattr(finder, "find_distributions") and finder.__module__ not in _STANDARD for finder in sys.meta_path):
        return True
    for entry in dict.fromkeys(sys.path):
        place = Path(entry or os.curdir)
        if place.suffix == ".egg" or place.is_file():
            return True
        try:
            packages = [name for name in os.listdir(place) if name.endswith((".dist-info", ".egg-info"))]
        except OSError:  # not a folder
            continue
        for package in packages:
            try:
                if GROUP.encode() in (place / package / "entry_points.txt").read_bytes():
                    return True
            except OSError:  # it has none
                continue
    return False


def names(kind: str) -> set[str]:
    """The names that plug-ins add to a kind; imports none of them."""
    return {name for of, name in declared() if of == kind}


def load(kind: str, name: str) -> Any | None:
    """What an entry point names; None where there is none.

    Raises:
        Refusal: RCP0254: it cannot be imported.
    """
    point = declared().get((kind, name))
    if point is None:
        return None
    try:
        return point.load()
    except Exception as error:  # any exception of its package
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        message = f"the plug-in {kind} `{name}` (`{point.value}`) cannot be imported: {why}"
        raise Refusal("RCP0254", message, "install what it needs, or uninstall the package") from error


def raised_by_one(error: BaseException) -> Refusal | None:
    """The refusal of an exception that a plug-in's own code raised, in whatever it was asked; None for any other.

    Code of a plug-in that calls back into the project, and fails there, is not held responsible.
    """
    packages = {point.module.partition(".")[0] for point in declared().values()}
    frame = error.__traceback__
    culprit = None
    while frame is not None:
        package = str(frame.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in packages:
            culprit = frame
        elif package == __name__.partition(".")[0]:
            culprit = None
        frame = frame.tb_next
    if culprit is None:
        return None
    code, what = culprit.tb_frame.f_code, f"{type(error).__name__}: {error}".splitlines()[0]
    place = f"`{code.co_name}`, line {culprit.tb_lineno} of `{Path(code.co_filename).name}`"
    package = culprit.tb_frame.f_globals["__name__"]
    message = f"the plug-in `{package}` raises an exception in {place}: {what}"
    return Refusal("RCP0255", message, "tell its author, or uninstall the package")
