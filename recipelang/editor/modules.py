"""The modules of networks by name, for editors: remembered when a network is built, since building one takes torch.

`recipe plan`, `recipe run` and `recipe layers` build it, and leave the names in the user's cache folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recipelang.catalogue import find, spell
from recipelang.editor.expected import verb_of
from recipelang.editor.outline import outline
from recipelang.errors import RecipeError, Refusal
from recipelang.files import cache_folder, used, write_text
from recipelang.meaning import tasks
from recipelang.meaning.diagnostics import Notes
from recipelang.meaning.flow import Flow
from recipelang.meaning.reader import Reader
from recipelang.meaning.sources import alias
from recipelang.plan import Built
from recipelang.syntax import nodes
from recipelang.syntax.parse import read

FORMAT = "recipelang.modules/1"
#: of a larger network, these are remembered, and of a file, this much is read
MOST_MODULES, MOST_CHARACTERS = 5_000, 2_000_000
Modules = tuple[tuple[str, str], ...]  # (path, class) of each


def remember(method: Any, folder: Path, module: Any) -> None:
    """Keep the modules of a network under the way in which a recipe writes it; where that fails, nothing is lost.

    Args:
        method: the model method that built it.
        folder: of the recipe, where relative paths start.
        module: the network's torch module.
    """
    named = ((path, type(part).__name__) for path, part in module.named_modules())
    found = [[path, kind] for path, kind in named if path][:MOST_MODULES]
    told = json.dumps({"format": FORMAT, "model": spell(method), "modules": found})
    place = _place(method, folder)
    with contextlib.suppress(OSError, UnicodeError):
        if not place.is_file() or place.read_text(encoding="utf-8") != told:
            write_text(place, told)
        used(place)


def known(method: Any, folder: Path) -> Modules:
    """The modules of the network that a model method builds; none where it was never built here."""
    try:
        place = _place(method, folder)
        with place.open(encoding="utf-8") as file:
            told = json.loads(file.read(MOST_CHARACTERS))
        used(place)
        assert told["format"] == FORMAT
        return tuple((str(path), str(kind)) for path, kind in told["modules"])
    except (OSError, ValueError, TypeError, KeyError, AssertionError, RecursionError):
        return ()


def _place(method: Any, folder: Path) -> Path:
    text = spell(method)
    if '"' in text:  # it may be a path, which starts at the recipe
        text += f"\n{folder}"
    return cache_folder() / "modules" / f"{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}.json"


def model_of(text: str, aliases: Mapping[str, str]) -> Any | None:
    """The model method of a recipe, finished or not; the embedded one where it names none."""
    lines = [item for item in outline(text) if (verb := item.verb) and verb.provides == "model"]
    own = next((item for item in lines if all(word.type != "AS" for word in item.words)), None)
    if own is None:
        task: Any = tasks.default()
        found = find("model", task.stand_in[1])
        return found() if found else None
    statement = next(iter(read(text[own.start : own.end])[0].body.items), None)
    verb = verb_of(own.words[0].text)
    if not isinstance(statement, nodes.Statement) or verb is None:
        return None
    notes = Notes()
    try:
        operation = verb.read(Reader(alias(statement, aliases, notes.refuse), Flow(), notes, aliases))
    except (RecipeError, Refusal):  # a plug-in
        return None
    writes = operation.needs().writes if operation is not None else None
    return writes.method if isinstance(writes, Built) else None
