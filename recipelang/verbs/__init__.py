"""The verbs of the language: one file, one verb. The folder is the index; plug-ins add to it (`plugins.py`)."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from recipelang import plugins

if TYPE_CHECKING:
    from recipelang.meaning.verb import Verb

HERE = Path(__file__).parent


@cache
def names() -> tuple[str, ...]:
    """The names of all verbs, sorted; imports none of them.

    Raises:
        ValueError: a plug-in adds a verb that is already here.
    """
    own, added = {p.stem for p in HERE.glob("*.py") if not p.stem.startswith("_")}, plugins.names("verb")
    if twice := own & added:
        raise ValueError(f"a plugin adds a verb `{min(twice)}`, and there is already one")
    return tuple(sorted(own | added))


@cache
def find(name: str) -> Verb | None:
    """The verb of this name, or None. Imports its file and no other."""
    if name.isidentifier() and not name.startswith("_") and (HERE / f"{name}.py").is_file():
        verb: Verb = importlib.import_module(f"recipelang.verbs.{name}").VERB
        return verb
    return plugins.load("verb", name) if name in names() else None
