"""JSON ↔ frozen dataclasses: one declaration gives the reader, its messages and the published schema.

Understood as field types: str, int, float, bool, `X | None` and other unions, Literal, Mapping[str, X],
tuple[X, ...], Any, and dataclasses of these. Fields with a default may be left out; unknown fields are ignored, so
that an older reader takes a file with additions.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import unicodedata
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from recipelang.errors import Refusal

T = TypeVar("T")
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")
_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", types.NoneType: "null"}


class _Misfit(Exception):
    """A value is not what its type says; carries where and what was expected."""

    def __init__(self, where: str, expected: str, value: object) -> None:
        self.where, self.expected, self.value = where, expected, value
        super().__init__(where)


def decode(cls: type[T], value: Any) -> T:
    """The dataclass that a JSON value stands for.

    Text is made safe to show anywhere: control characters become visible (`␛`), and what would turn the writing
    direction round or cannot be encoded becomes `�`. Numbers that are not finite become null where null is allowed.

    Raises:
        Refusal: RCP1101, naming the first place that does not fit.
    """
    try:
        found: T = _decode(cls, value, "")
        return found
    except _Misfit as misfit:
        shown = repr(misfit.value)
        shown = shown if len(shown) <= 60 else f"{shown[:57]}…"
        raise Refusal(
            "RCP1101",
            f"the report's `{visible(misfit.where) or 'content'}` must be {misfit.expected}, and is `{visible(shown)}`",
            "write the report anew with `recipe run`; the form is described by reports/report.schema.json",
        ) from None


def visible(text: str) -> str:
    """The text with nothing in it that a terminal, a browser or a file could not show as it is."""
    return "".join(c if c in "\n\t" or c.isprintable() else _stand_in(c) for c in text)


def _stand_in(char: str) -> str:
    if ord(char) < 32:
        return chr(0x2400 + ord(char))
    hidden = char in _BIDI or unicodedata.category(char) in ("Cc", "Cs", "Cn", "Co")
    return "\ufffd" if hidden else " " if char.isspace() else char


@cache
def _fields(cls: type) -> tuple[tuple[str, Any, bool], ...]:
    """(name, type, whether it must be there) of each field."""
    hints = get_type_hints(cls)
    missing = dataclasses.MISSING
    return tuple(
        (f.name, hints[f.name], f.default is missing and f.default_factory is missing) for f in dataclasses.fields(cls)
    )


def _decode(kind: Any, value: Any, where: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _union(get_args(kind), value, where)
    if origin is Literal:
        if not isinstance(value, str) or value not in get_args(kind):
            raise _Misfit(where, " or ".join(f'"{choice}"' for choice in get_args(kind)), value)
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise _Misfit(where, "a list", value)
        return tuple(_decode(get_args(kind)[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise _Misfit(where, "an object", value)
        inner = get_args(kind)[1]
        return {visible(str(k)): _decode(inner, v, f"{where}[{str(k)!r}]") for k, v in value.items()}
    if kind is Any:
        return _anything(value)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, where)  # type: ignore[arg-type]
    return _plain(kind, value, where)


def _anything(value: Any) -> Any:
    """A JSON value of no stated type, its text made safe to show."""
    if isinstance(value, Mapping):
        return {visible(str(k)): _anything(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_anything(v) for v in value)
    return visible(value) if isinstance(value, str) else value


def _dataclass(cls: type, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise _Misfit(where, "an object", value)
    found = {}
    for name, kind, required in _fields(cls):
        place = f"{where}.{name}" if where else name
        if name in value:
            found[name] = _decode(kind, value[name], place)
        elif required:
            raise _Misfit(place, "there", "missing")
    return cls(**found)


def _union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if isinstance(value, float) and not math.isfinite(value) and types.NoneType in kinds:
        return None
    deepest: _Misfit | None = None
    for kind in kinds:
        try:
            return _decode(kind, value, where)
        except _Misfit as misfit:
            # A misfit further inside belongs to the alternative that was meant.
            if len(misfit.where) > len(where):
                deepest = misfit
    raise deepest or _Misfit(where, " or ".join(_WORDS.get(k, "an object") for k in kinds), value)


def _plain(kind: Any, value: Any, where: str) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind is str and isinstance(value, str):
        return visible(value)
    if kind is float and number:
        return float(value)
    if kind is int and number and value == int(value):
        return int(value)
    if kind in (bool, types.NoneType) and isinstance(value, kind):
        return value
    raise _Misfit(where, _WORDS[kind], value)


def schema(cls: type, title: str, address: str) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a dataclass; accepts exactly what `decode` accepts.

    Args:
        cls: the outermost dataclass.
        title: one line for the reader.
        address: the schema's `$id`.
    """
    definitions: dict[str, Any] = {}
    _describe(cls, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": address,
        "title": title,
        "$ref": f"#/$defs/{cls.__name__}",
        "$defs": dict(sorted(definitions.items())),
    }


def _describe(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a type; dataclasses are entered into `definitions` and referred to."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_describe(k, definitions) for k in inner]}
    if origin is Literal:
        return {"enum": list(inner)}
    if origin is tuple:
        return {"type": "array", "items": _describe(inner[0], definitions)}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _describe(inner[1], definitions)}
    if kind is Any:
        return {}
    if not dataclasses.is_dataclass(kind):
        names = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null"}
        return {"type": names[kind]}
    name = kind.__name__  # type: ignore[union-attr]
    if name not in definitions:
        definitions[name] = {}
        said = re.findall(r"^ {4}(\w+(?:, \w+)*): (.+?)(?=^ {4}\w|\Z)", _attributes(kind), re.M | re.S)
        words = {field: " ".join(text.split()) for names, text in said for field in names.split(", ")}
        definitions[name] = {
            "type": "object",
            "description": (kind.__doc__ or "").strip().splitlines()[0],
            "properties": {
                field: {**_describe(type_, definitions), **({"description": words[field]} if field in words else {})}
                for field, type_, _ in _fields(kind)  # type: ignore[arg-type]
            },
            "required": [field for field, _, required in _fields(kind) if required],  # type: ignore[arg-type]
        }
    return {"$ref": f"#/$defs/{name}"}


def _attributes(kind: Any) -> str:
    """The `Attributes:` part of a docstring, fields indented by four."""
    part = (kind.__doc__ or "").partition("Attributes:\n")[2]
    return "".join(line.removeprefix("    ") for line in part.splitlines(keepends=True))
