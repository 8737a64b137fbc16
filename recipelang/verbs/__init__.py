"""The verbs of the language: one file, one verb. The folder is the index; plug-ins add to it (`plugins.py`)."""

from __future__ import annotations

import importlib
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipelang import plugins
from recipelang.errors import Refusal

if TYPE_CHECKING:
    from recipelang.meaning.verb import Verb

HERE = Path(__file__).parent


@cache
def names() -> tuple[str, ...]:
    """The names of all verbs, sorted; imports none of them.

    Raises:
        Refusal: RCP0252, RCP0253: an entry point of a plug-in is wrong, or adds a verb that is already here.
    """
    own, added = {p.stem for p in HERE.glob("*.py") if not p.stem.startswith("_")}, plugins.names("verb")
    if twice := own & added:
        raise plugins.twice("verb", min(twice), "a plug-in adds what recipelang has")
    return tuple(sorted(own | added))


@cache
def find(name: str) -> Verb | None:
    """The verb of this name, or None. Imports its file and no other.

    Raises:
        Refusal: RCP0252 to RCP0255: a plug-in is declared wrongly, cannot be imported, or breaks its contract.
    """
    # os.path: a name that is too long for a file is no file
    if name.isidentifier() and not name.startswith("_") and os.path.isfile(HERE / f"{name}.py"):
        verb: Verb = importlib.import_module(f"recipelang.verbs.{name}").VERB
        return verb
    if name not in names():
        return None
    from recipelang.verbs import _contract  # only a plug-in needs it

    added: Any = plugins.load("verb", name)
    _contract.require(name, added, name in plugins.names("stage"))
    return added


def why_not(name: str) -> Refusal | None:
    """What is wrong with the verb of a plug-in; None where nothing is, or where there is no such verb."""
    try:
        find(name)
    except Refusal as refusal:
        return refusal
    return None
