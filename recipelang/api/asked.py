"""What a caller from Python asks for: the arguments of `check`, `plan` and `run`, understood."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipelang.api.values import literal
from recipelang.commands.sources import Request, Source, source
from recipelang.errors import Refusal
from recipelang.files import expanded
from recipelang.profile import DEVICE

if TYPE_CHECKING:
    from recipelang.given import Given

#: as what messages name a recipe that is a text
TEXT = "<recipe>"
MOST_THREADS = 1024


@dataclass(frozen=True)
class Asked:
    """The arguments of a call, as the command line has them.

    Attributes:
        recipe: its text and where it is.
        request: what is added to it; a network or data of the program is there as `given("Net", content="…")`.
        objects: the networks and data of the program, by content.
        settings: the options of the engine, by the names of the command line's.
    """

    recipe: Source
    request: Request
    objects: Mapping[str, Given] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def asked(recipe: str | Path, given: Mapping[str, Any]) -> Asked:
    """The arguments of a call.

    Args:
        recipe: text, or the path of a file.
        given: keyword arguments of `run`, of which a caller may leave out any.

    Raises:
        Refusal: RCP0921: an argument is wrong; RCP0712, RCP0722, RCP0844: of `model` or `data`.
        RecipeError: RCP1201, RCP1202: the file cannot be read.
    """
    objects: dict[str, Given] = {}
    request = Request(
        profile=_path_text(given.get("profile")),
        model=_model(given.get("model"), objects),
        data=_data(given.get("data"), objects),
        sets=_sets(given.get("sets")),
        control=_flag(given, "control"),
        seeds=_seeds(given.get("seeds")),
    )
    settings = {
        **{name: _path(given.get(name), name) for name in ("out", "store")},
        "device": _device(given.get("device")),
        "threads": _threads(given.get("threads")),
        **{name: _flag(given, name) for name in ("fresh", "smoke", "trust", "outside")},
    }
    return Asked(_source(recipe), request, objects, settings)


def _source(recipe: Any) -> Source:
    if isinstance(recipe, os.PathLike):
        return source(str(expanded(os.fspath(recipe))))
    if not isinstance(recipe, str):
        raise _wrong("recipe", recipe, "give the text of a recipe, or the `pathlib.Path` of a file")
    if "\n" not in recipe and recipe.strip().endswith(".rcp"):
        name = recipe.strip()
        raise Refusal("RCP0921", f"the recipe is the text `{name}`", f'for the file write `Path("{name}")`')
    return Source(recipe, TEXT, Path.cwd())


def _model(value: Any, objects: dict[str, Given]) -> str | None:
    """Text of a network as after `--model`; an object of the program is entered."""
    if value is None or isinstance(value, str):
        return value
    return network_text(value, "", objects)


def network_text(value: Any, name: str, objects: dict[str, Given]) -> str:
    """How a recipe names a network of the program, which is entered among the objects."""
    from recipelang.surgery.given_network import given_network

    content, given = given_network(value, name)
    objects[content] = given
    return f'given("{_plain(given.name)}", content="{content}")'


def _data(value: Any, objects: dict[str, Given]) -> str | None:
    """Text of data as after `--data`; an object of the program is entered."""
    if value is None or isinstance(value, str):
        return value
    return data_text(value, "", objects)


def data_text(value: Any, name: str, objects: dict[str, Given]) -> str:
    """How a recipe names data of the program, which is entered among the objects."""
    from recipelang.images.given_data import given_data

    content, given = given_data(value, name)
    objects[content] = given
    batch = f", batch={given.value.batch}" if given.value.batch else ""
    return f'given("{_plain(given.name)}", content="{content}"{batch})'


def _plain(name: str) -> str:
    """A name as a text of a recipe holds it."""
    return "".join(c for c in name if c.isprintable() and c != '"') or "object"


def _sets(value: Any) -> dict[str, str]:
    """Name of a `let` → recipe text."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise _wrong("sets", value, 'give a dictionary: `sets={"lr": 0.1}`')
    return {name: one if isinstance(one, str) else literal(name, one) for name, one in value.items()}


def _seeds(value: Any) -> tuple[int, ...] | None:
    if value is None:
        return None
    right = "give different whole numbers from 0: `seeds=[0, 1, 2]` or `seeds=range(3)`"
    if isinstance(value, str | bytes | int) or not isinstance(value, Iterable):
        raise _wrong("seeds", value, right)
    seeds = tuple(value)
    if not seeds or len(set(seeds)) != len(seeds) or not all(_whole(seed, 0, 999_999_999) for seed in seeds):
        raise _wrong("seeds", value, right)
    return seeds


def _device(value: Any) -> str | None:
    if value is not None and not DEVICE.fullmatch(str(value)):
        raise _wrong("device", value, 'give `"cpu"`, `"cuda"` or `"cuda:0"`')
    return None if value is None else str(value)


def _threads(value: Any) -> int | None:
    if value is not None and not _whole(value, 1, MOST_THREADS):
        raise _wrong("threads", value, f"give a whole number from 1 to {MOST_THREADS}")
    return value


def _flag(given: Mapping[str, Any], name: str) -> bool:
    value = given.get(name, False)
    if not isinstance(value, bool):
        raise _wrong(name, value, "give True or False")
    return value


def _path(value: Any, name: str) -> Path | None:
    if value is None:
        return None
    if not isinstance(value, str | os.PathLike) or not str(value):
        raise _wrong(name, value, "give the path of a folder")
    return expanded(os.fspath(value))


def _path_text(value: Any) -> str | None:
    path = _path(value, "profile")
    return None if path is None else str(path)


def _whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _wrong(name: str, value: Any, help: str) -> Refusal:
    return Refusal("RCP0921", f"the argument `{name}` is {value!r:.60}", help)
