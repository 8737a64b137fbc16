"""The shards that a pattern names, as WebDataset writes patterns."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from recipelang.errors import Refusal
from recipelang.images.decode import shown
from recipelang.images.table import listed

MOST_SHARDS = 100_000
_ADDRESS = re.compile(r"\s*(?:[a-zA-Z][a-zA-Z0-9+.-]+:|-$)")
_BRACES = re.compile(r"\{(?:(?P<first>-?\d{1,18})\.\.(?P<last>-?\d{1,18})(?:\.\.-?\d+)?|[^{}]*)\}")


def shards_of(pattern: str, resolve: Callable[[str], Path]) -> tuple[Path, ...]:
    """The shards that a pattern names, in its order.

    Args:
        pattern: a path with braces (`train-{000..009}.tar`) or `*`, or a folder; several are separated by `::`.
        resolve: turns a path of the recipe into one on this machine.

    Raises:
        Refusal: RCP0862: some are missing, there are none, or the pattern is an address or not understood.
    """
    found: list[Path] = []
    for part in pattern.split("::"):
        found += _shards_of_part(part, resolve)
    if twice := next((path for path, count in Counter(found).items() if count > 1), None):
        raise _no_shards(pattern, f"it names `{shown(twice.name)}` twice", "name each shard once")
    if missing := [path for path in found if not path.is_file()]:
        count = f"{len(missing)} of the {len(found)} shards are" if len(found) > 1 else "the shard is"
        names = listed([path.name for path in missing])
        raise _no_shards(pattern, f"{count} missing: {names}", f"they were looked for in `{missing[0].parent}`")
    return tuple(found)


def _shards_of_part(part: str, resolve: Callable[[str], Path]) -> list[Path]:
    import braceexpand

    if _ADDRESS.match(part):
        help = "download the shards, and name them by a path"
        raise _no_shards(part, "it is an address or a command; nothing is downloaded, and no command is run", help)
    place = resolve(part)
    if place.is_dir():
        found = sorted(place.glob("*.tar"))
        if not found:
            raise _no_shards(part, "the folder holds no `.tar` file", "name the folder of the shards, or a pattern")
        return found
    if _most(str(place)) > MOST_SHARDS:  # the library makes all of them before it gives the first
        raise _no_shards(part, f"it names more than {MOST_SHARDS:,} shards", "write it as in `train-{000..009}.tar`")
    try:
        paths = list(braceexpand.braceexpand(str(place)))
    except ValueError as error:
        raise _no_shards(part, f"it is not a pattern: {error}", "write it as in `train-{000..009}.tar`") from error
    found = []
    for path in paths:
        several = sorted(map(Path, glob.glob(path))) if "*" in path and not os.path.exists(path) else [Path(path)]
        if not several:
            raise _no_shards(part, "no file is named like this", f"it was looked for in `{Path(path).parent}`")
        found += several
    return found


def _most(pattern: str) -> int:
    """How many paths a pattern with braces has at most."""
    most = 1
    while group := _BRACES.search(pattern):
        first, last = group["first"], group["last"]
        most *= abs(int(last) - int(first)) + 1 if first else group[0].count(",") + 1
        pattern = pattern[: group.start()] + pattern[group.end() :]
    return most


def _no_shards(pattern: str, why: str, help: str) -> Refusal:
    return Refusal("RCP0862", f"the shards `{shown(pattern)}`: {shown(why)}", help)
