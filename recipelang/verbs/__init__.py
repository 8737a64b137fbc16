"""The verbs of the language: one file, one verb. The folder is the index."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recipelang.meaning.verb import Verb


@cache
def names() -> tuple[str, ...]:
    """The names of all verbs, sorted; imports none of them."""
    return tuple(sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_")))


@cache
def find(name: str) -> Verb | None:
    """The verb of this name, or None. Imports its file and no other."""
    if name not in names():
        return None
    verb: Verb = importlib.import_module(f"recipelang.verbs.{name}").VERB
    return verb
