"""Plan values taken apart: every dataclass in them, and the JSON from which keys are made."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import PurePath
from typing import Any

from recipelang.errors import Span


def parts_of(value: Any) -> Iterator[Any]:
    """Every dataclass anywhere in a plan value, itself included: methods, conditions, readings, subjects, …"""
    if isinstance(value, tuple):
        for inner in value:
            yield from parts_of(inner)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type | Span):
        yield value
        kind: Any = type(value)
        for name in _field_names(kind):
            inner = getattr(value, name)
            if not isinstance(inner, Span | str | float | int | None):
                yield from parts_of(inner)


@cache
def _field_names(kind: type) -> tuple[str, ...]:
    return tuple(part.name for part in dataclasses.fields(kind))


def canonical(value: Any) -> Any:
    """A plan value as JSON for hashing: methods by kind, name, version and settings; spans and texts left out.

    Raises:
        TypeError: a value of another type, which would make keys depend on its address.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [canonical(v) for v in value]
    if isinstance(value, dict):
        return {str(k): canonical(v) for k, v in sorted(value.items())}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        cls: Any = type(value)
        name = f"{cls.kind}.{cls.name}" if hasattr(cls, "kind") and hasattr(cls, "name") else cls.__name__
        return {"is": name, **_version(cls), **{f.name: canonical(getattr(value, f.name)) for f in _keyed(value)}}
    raise TypeError(f"{type(value).__name__} cannot enter a key")


def _version(cls: Any) -> dict[str, int]:
    """The `version` of a method that says one, since its results have changed; those of metrics enter where they are
    read (`run/keys.py`)."""
    number = getattr(cls, "version", 1) if getattr(cls, "kind", "metric") != "metric" else 1
    return {"version": number} if number != 1 else {}


def _keyed(value: Any) -> Iterator[dataclasses.Field[Any]]:
    """The fields of a plan value that enter a key."""
    for one in dataclasses.fields(value):
        old = one.metadata.get("later", False) and getattr(value, one.name) == one.default
        if one.metadata.get("key", True) and not old:
            yield one


def whole(value: Any) -> Any:
    """A value of dataclasses as JSON, with all that is in it: unlike `canonical`, also texts, spans and names. Two
    values with the same JSON are equal.

    Raises:
        TypeError: a value of another type, which two processes could not compare.
    """
    if isinstance(value, float):
        return {"is": "float", "value": value.hex()}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, tuple | list):
        return [whole(inner) for inner in value]
    if isinstance(value, Mapping):
        return {"is": "mapping", "items": [[whole(key), whole(inner)] for key, inner in value.items()]}
    if isinstance(value, bytes):
        return {"is": "bytes", "sha256": hashlib.sha256(value).hexdigest()}
    if isinstance(value, PurePath):
        return {"is": "path", "value": str(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind: Any = type(value)
        fields = {field.name: whole(getattr(value, field.name)) for field in dataclasses.fields(kind)}
        return {"is": f"{kind.__module__}.{kind.__qualname__}", "fields": fields}
    raise TypeError(f"{type(value).__name__} cannot be compared")
