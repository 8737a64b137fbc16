"""Values from an untrusted file: each is as it should be, or `Wrong` says what it is."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

MOST_TENSORS = 2**15
LONGEST_TEXT = 1_000  # characters


class Wrong(ValueError):
    """An entry that is not as `save` writes it: what it is and where."""


def entry(value: Mapping[str, Any], name: str) -> Any:
    """The value under a name."""
    if name not in value:
        raise Wrong(f"`{name}` is missing")
    return value[name]


def mapping(value: Any, name: str) -> dict[str, Any]:
    """A mapping with string keys, as in all JSON, of at most `MOST_TENSORS` entries."""
    if not isinstance(value, dict) or len(value) > MOST_TENSORS:
        raise Wrong(f"{name} is {shown(value)}, not a mapping of at most {MOST_TENSORS:,} entries")
    return value


def sequence(value: Any, name: str, most: int) -> list[Any]:
    """A list of at most `most` values."""
    if not isinstance(value, list) or len(value) > most:
        raise Wrong(f"{name} is {shown(value)}, not a list of at most {most:,}")
    return value


def text(value: Any, name: str) -> str:
    """A string of at most `LONGEST_TEXT` characters."""
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise Wrong(f"{name} is {shown(value)}, not a string of at most {LONGEST_TEXT:,} characters")
    return value


def whole(value: Any, name: str, most: int) -> int:
    """A whole number from 1 to `most`; `10.0` and `true` do not count."""
    if type(value) is not int or not 1 <= value <= most:
        raise Wrong(f"{name} holds {shown(value)}, not a whole number from 1 to {most:,}")
    return value


def numbers(value: Any, name: str, count: int) -> list[float]:
    """This many finite numbers."""
    values = sequence(value, name, count)
    if len(values) != count or not all(type(n) in (int, float) and abs(n) < 1e9 for n in values):
        raise Wrong(f"{name} is {shown(value)}, not {count} finite number{'s' * (count > 1)}, one for each channel")
    return [float(n) for n in values]


def shown(value: Any) -> str:
    """A value in a few characters; malicious ones may be huge."""
    if isinstance(value, dict | list) and len(value) > 4:
        return f"a {'list' if isinstance(value, list) else 'mapping'} of {len(value):,}"
    if isinstance(value, int) and value.bit_length() > 64:
        return "a huge number"
    plain = not isinstance(value, dict | list) and str(value)[:60].isprintable()
    return f"`{str(value)[:60] if plain else reprlib.repr(value)}`"
