"""The catalogue: one method, one file, one card.

A method is a frozen dataclass under `@method(kind, name)` in `recipelang/methods/<folder>/<name>.py`:
its fields are its settings, its docstring is its card. The folder is the index, so `names` imports
nothing and `find` imports one file. Third parties add methods by entry points (`plugins.py`).
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from recipelang import plugins

#: kind → folder under recipelang/methods
FOLDERS: Mapping[str, str] = {
    "model": "models",
    "data": "data",
    "task": "tasks",
    "metric": "metrics",
    "criterion": "criteria",
    "unit": "units",
    "allocation": "allocations",
    "loss": "losses",
    "pattern": "patterns",
    "permutation": "permutations",
    "quantizer": "quantizers",
    "widths": "widths",
    "rounder": "rounders",
    "hardware": "hardware",
    "sharing": "sharings",
    "encoder": "encoders",
    "source": "sources",
    "optimizer": "optimizers",
    "companion": "companions",
    "schedule": "schedules",
    "ramp": "ramps",
    "kernel": "kernels",
    "runtime": "runtimes",
    "export": "exports",
    "report": "reports",
    "tracker": "trackers",
}
#: role → folder under recipelang, for what a file says by its kind: no card, no settings, one class per file
PARTS: Mapping[str, str] = {"edit": "surgery/edits", "restriction": "surgery/restrictions"}
T = TypeVar("T", bound=type)


@dataclass(frozen=True)
class Setting:
    """One setting of a method, as the checker and the card see it.

    Attributes:
        name: as written in a recipe.
        type: what a value must be: `number`, `integer`, `boolean`, `text` (quoted), `texts` (quoted, or a
            list of them), `word` (one of `choices`), `duration` (epochs or steps), `time`, `bytes`,
            `numbers` (a list), `size` (a whole number, or a list of two: height and width), `modules` (as
            after `in`, one or a list; the value is a tuple of `plan.Selector`), `state` (the name of one),
            `method` (of kind `kind`), `any`.
        default: used where a recipe leaves it out; `dataclasses.MISSING` where it is required.
        low, high: bounds, both inclusive; `low` is not with `open_low`.
        ramp: whether a ramp (`cosine(1e-3, to=0)`) may replace a number.
        positional: whether the one positional setting of a call goes here.
        several: whether it is a tuple: of a call every setting without a name goes here.
        dotted: whether the rest of a dotted name goes here (`torchvision.resnet18`).
        extra: whether all settings of other names go here, as a tuple of (name, value) pairs.
        help: one sentence.
    """

    name: str
    type: str
    default: Any
    low: float | None = None
    high: float | None = None
    open_low: bool = False
    choices: tuple[str, ...] = ()
    kind: str = ""
    ramp: bool = False
    positional: bool = False
    several: bool = False
    dotted: bool = False
    extra: bool = False
    help: str = ""


def setting(
    default: Any = dataclasses.MISSING, *, type: str, hashed: bool = True, later: bool = False, **details: Any
) -> Any:
    """A dataclass field that is a setting; see `Setting` for the details.

    `hashed=False` keeps the value out of keys: for paths, whose contents enter instead. `later=True` keeps the default
    out of them: for settings that a method did not always have, so that what was stored before is still found.
    """
    return dataclasses.field(
        default=default, metadata={"setting": {"type": type, **details}, "key": hashed, "later": later}
    )


def settings(method: type) -> tuple[Setting, ...]:
    """The settings of a method in the order of its fields, those that are written first before those it inherits."""
    found = [
        Setting(name=f.name, default=f.default, **f.metadata["setting"])
        for f in dataclasses.fields(method)
        if "setting" in f.metadata
    ]
    return tuple(sorted(found, key=lambda one: not (one.positional or one.dotted)))


def method(kind: str, name: str) -> Any:
    """Class decorator: enter a frozen dataclass into the catalogue as a method of this kind and name."""
    if kind not in FOLDERS:
        raise ValueError(f"{kind} is not a kind of method; the kinds are {', '.join(FOLDERS)}")

    def enter(cls: T) -> T:
        if not (dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen):  # type: ignore[attr-defined]
            raise TypeError(f"{cls.__name__} must be a frozen dataclass")
        if not inspect.cleandoc(cls.__doc__ or ""):
            raise TypeError(f"{cls.__name__} has no docstring, and the docstring is its card")
        cls.kind, cls.name = kind, name  # type: ignore[attr-defined]
        return cls

    return enter


def folder(kind: str) -> Path:
    """The folder with the files of a kind of methods, or of a role."""
    root = Path(__file__).parent
    return root / PARTS[kind] if kind in PARTS else root / "methods" / FOLDERS[kind]


@cache
def names(kind: str) -> tuple[str, ...]:
    """The names of all methods of a kind, or of all kinds that fill a role, sorted; imports none of them.

    Raises:
        Refusal: RCP0252, RCP0253: an entry point of a plug-in is wrong, or adds a method that is already here.
    """
    own, added = {p.stem for p in folder(kind).glob("*.py") if not p.stem.startswith("_")}, plugins.names(kind)
    if twice := own & added:
        raise plugins.twice(kind, min(twice), "a plug-in adds what recipelang has")
    return tuple(sorted(own | added))


def _is_own(kind: str, name: str) -> bool:
    # os.path: a name that is too long for a file is no file
    return name.isidentifier() and not name.startswith("_") and os.path.isfile(folder(kind) / f"{name}.py")


def _require(kind: str, name: str, found: Any) -> None:
    from recipelang import contracts  # only a plug-in needs it

    contracts.require(kind, name, found)


@cache
def find(kind: str, name: str) -> type | None:
    """The method of this kind and name, or None. Imports its file and no other.

    Raises:
        ImportError: the file is broken; this is never hidden.
        TypeError: the file does not define the method that its name promises.
        Refusal: RCP0252 to RCP0255: a plug-in is declared wrongly, cannot be imported, or breaks its contract.
    """
    cls: Any
    if _is_own(kind, name):
        module = importlib.import_module(f"recipelang.methods.{FOLDERS[kind]}.{name}")
        own = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__]
        cls = next((c for c in own if getattr(c, "name", None) == name), None)
    else:
        if name not in names(kind):
            return None
        cls = plugins.load(kind, name)
        _require(kind, name, cls)
    if cls is None or (cls.kind, cls.name) != (kind, name):
        raise TypeError(f"methods/{FOLDERS[kind]}/{name}.py does not define a {kind} `{name}`")
    return cls


@cache
def part(role: str, kind: str) -> Any:
    """The class of this kind that fills a role: `part("restriction", "mask")`; None if there is none.

    Raises:
        ImportError: the file is broken; this is never hidden.
        TypeError: the file does not define what its name promises.
    """
    if not _is_own(role, kind):
        if kind not in names(role):
            return None
        cls = plugins.load(role, kind)
        _require(role, kind, cls)
    else:
        module = importlib.import_module(f"recipelang.{PARTS[role].replace('/', '.')}.{kind}")
        own = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__]
        cls = next((c for c in own if getattr(c, "kind", None) == kind), None)
    if getattr(cls, "kind", None) != kind:
        raise TypeError(f"{PARTS[role]}/{kind}.py does not define a {role} `{kind}`")
    return cls


def added_parts(role: str) -> tuple[Any, ...]:
    """The classes that plug-ins add to a role.

    Raises:
        Refusal: RCP0252 to RCP0255: one is declared wrongly, cannot be imported, or breaks its contract.
    """
    return tuple(part(role, kind) for kind in sorted(plugins.names(role)))


def kinds_of(name: str) -> tuple[str, ...]:
    """Every kind that has a method of this name."""
    return tuple(kind for kind in FOLDERS if _is_own(kind, name) or name in names(kind))


def card(thing: type) -> str:
    """The card of a method or verb: its docstring, dedented."""
    return inspect.cleandoc(thing.__doc__ or "")


def summary(thing: type) -> str:
    """The first line of the card."""
    return card(thing).splitlines()[0]


def spell(value: Any) -> str:
    """A method, number or list as it is written in a recipe, with the settings that differ from their defaults.

    `latency(batch=64)`, `sgd(lr=cosine(0.001, to=0), momentum=0.9)`.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(spell(v) for v in value)}]"
    cls: Any = type(value)
    if not (dataclasses.is_dataclass(value) and hasattr(cls, "name")):
        return str(value)
    head, parts = cls.name, []
    for s in settings(cls):
        given = getattr(value, s.name)
        if given == s.default or given is None:
            continue
        text = f'"{given}"' if s.type == "text" and not s.dotted else spell(given)
        if s.dotted:
            head = f"{head}.{text}"
        elif s.several:
            parts += [spell(each) for each in given]
        elif s.extra:
            parts += [f"{name}={spell(v)}" for name, v in given]
        else:
            parts.append(text if s.positional else f"{s.name}={text}")
    return f"{head}({', '.join(parts)})" if parts else head
