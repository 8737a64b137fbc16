"""Readers of JSON by type, put together once for each type: what fits at once is taken, all else is left to `decode`.

A record has thousands of numbers, and looking at the type of each and naming its place takes most of the time of a
comparison. A reader only takes what surely fits, and hands over any other value, which may fit after a change.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

#: characters of a text, unless its field says otherwise; and of a key
LONGEST, LONGEST_KEY = 2000, 200
#: larger numbers are no measurements, smaller ones become zero: products and ratios stay finite
LARGEST, SMALLEST = 1e100, 1e-100
LARGEST_WHOLE = 2**53

Reader = Callable[[Any], Any]
#: (type, value, longest text) → what it means; any exception where it does not fit
Careful = Callable[[Any, Any, int], Any]


@cache
def fields_of(cls: type) -> tuple[tuple[str, Any, bool, int], ...]:
    """(name, type, whether it is required, maximum length of its texts) of each field."""
    hints = get_type_hints(cls)
    missing = dataclasses.MISSING
    return tuple(
        (
            f.name,
            hints[f.name],
            f.default is missing and f.default_factory is missing,
            f.metadata.get("longest", LONGEST),
        )
        for f in dataclasses.fields(cls)
    )


@cache
def form_of(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """The origin of a type and its arguments."""
    return get_origin(kind), get_args(kind)


@cache
def reader(kind: Any, longest: int, careful: Careful) -> Reader:
    """The reader of a type.

    Args:
        kind: as of `decode`.
        longest: characters of its texts.
        careful: reads what is handed over.
    """
    origin, inner = form_of(kind)
    if kind is str:
        return lambda v: v if type(v) is str and len(v) <= longest and v.isprintable() else careful(str, v, longest)
    if kind is float:
        return lambda v: (
            v if type(v) is float and SMALLEST <= (v if v > 0 else -v) <= LARGEST else careful(float, v, longest)
        )
    if kind is bool:
        return lambda v: v if type(v) is bool else careful(bool, v, longest)
    if kind is int:
        return lambda v: v if type(v) is int and -LARGEST_WHOLE <= v <= LARGEST_WHOLE else careful(int, v, longest)
    if origin is Literal:
        return lambda v: v if type(v) is str and v in inner else careful(kind, v, longest)
    if origin in (Union, types.UnionType):
        return _union(kind, inner, longest, careful)
    if origin is tuple:
        one = reader(inner[0], longest, careful)
        return lambda v: tuple(map(one, v)) if type(v) is list else careful(kind, v, longest)
    if origin is Mapping:
        return _mapping(kind, reader(inner[1], longest, careful), longest, careful)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, longest, careful)
    return lambda v: careful(kind, v, longest)


def _union(kind: Any, inner: tuple[Any, ...], longest: int, careful: Careful) -> Reader:
    """Of a value whose type is one of the alternatives, or of a list or object where only one takes it."""

    def otherwise(_: Any, value: Any, most: int) -> Any:
        return careful(kind, value, most)

    plain = {one: reader(one, longest, otherwise) for one in inner if one in (str, float, int, bool)}
    large = [one for one in inner if one not in (str, float, int, bool, types.NoneType)]
    (only,) = large if len(large) == 1 and large[0] is not Any else (None,)
    inside = reader(only, longest, careful) if only is not None else None
    nothing = types.NoneType in inner

    def read(value: Any) -> Any:
        if value is None and nothing:
            return None
        found = plain.get(type(value))
        if found is not None:
            return found(value)
        if inside is not None and type(value) in (list, dict):
            return inside(value)
        return careful(kind, value, longest)

    return read


def _mapping(kind: Any, one: Reader, longest: int, careful: Careful) -> Reader:
    def read(value: Any) -> Any:
        if type(value) is dict and all(type(k) is str and len(k) <= LONGEST_KEY and k.isprintable() for k in value):
            return {key: one(inner) for key, inner in value.items()}
        return careful(kind, value, longest)

    return read


def _dataclass(cls: Any, longest: int, careful: Careful) -> Reader:
    """Its fields are read when the first value of it is, since types may hold themselves."""
    readers: list[tuple[str, Reader, bool]] = []

    def read(value: Any) -> Any:
        if not readers:
            readers.extend((name, reader(of, most, careful), needed) for name, of, needed, most in fields_of(cls))
        if type(value) is not dict:
            return careful(cls, value, longest)
        found = {}
        for name, one, needed in readers:
            if name in value:
                found[name] = one(value[name])
            elif needed:
                return careful(cls, value, longest)
        return cls(**found)

    return read
