"""JSON ↔ frozen dataclasses: one declaration gives the reader, its messages and the published schema.

The content of a file is bounded here, so that later code need not check it: texts are cut in their middle (a field's
metadata `longest`, else `LONGEST` characters), numbers beyond any measurement are treated as not finite.

Supported field types: str, int, float, bool, `X | None` and other unions, Literal, Mapping[str, X],
tuple[X, ...], Any, and dataclasses of these. Fields with a default may be left out; unknown fields are ignored, so
that an older reader accepts a file with additions.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import unicodedata
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from recipelang.errors import Refusal
from recipelang.report.readers import (
    LARGEST,
    LARGEST_WHOLE,
    LONGEST,
    LONGEST_KEY,
    SMALLEST,
    fields_of,
    form_of,
    reader,
)

T = TypeVar("T")
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")
NAME = {"longest": LONGEST_KEY}  # metadata of a field that holds a name
DEEPEST = 20  # levels of a value without a stated type
_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", types.NoneType: "null"}


class _Misfit(Exception):
    """A value does not fit its type; carries the place and what was expected."""

    def __init__(self, where: str, expected: str, value: object) -> None:
        self.where, self.expected, self.value = where, expected, value
        super().__init__(where)


def decode(cls: type[T], value: Any) -> T:
    """The dataclass that a JSON value represents.

    Text is made safe to show anywhere: control characters become visible (`␛`), and characters that
    reverse the writing direction or cannot be encoded become `�`. Numbers that are not finite, or beyond 1e100,
    become null if null is allowed.

    Raises:
        Refusal: RCP1101, naming the first place that does not fit.
    """
    try:
        kind: Any = cls
        found: T = reader(kind, LONGEST, _careful)(value)
        return found
    except _Misfit:
        pass  # once more, to name the place
    try:
        found = _decode(cls, value, "", LONGEST)
        return found
    except _Misfit as misfit:
        place, shown = cut(visible(misfit.where), 120) or "content", visible(_shown(misfit.value))
        raise Refusal(
            "RCP1101",
            f"the report's `{place}` must be {misfit.expected}, and is `{shown}`",
            "write the report again with `recipe run`; the form is described by reports/report.schema.json",
        ) from None


def _careful(kind: Any, value: Any, longest: int) -> Any:
    return _decode(kind, value, "", longest)


def _shown(value: object) -> str:
    """A value in at most 60 characters, without writing out a large one first."""
    if isinstance(value, Mapping | list | tuple):
        return f"{'an object' if isinstance(value, Mapping) else 'a list'} of {len(value)}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > LARGEST_WHOLE:
        return "a number with too many digits"
    return cut(repr(value[:60] if isinstance(value, str) else value), 60)


def cut(text: str, longest: int) -> str:
    """The text, with its middle left out if it is longer."""
    return text if len(text) <= longest else f"{text[: longest // 2]}…{text[-(longest - longest // 2 - 1) :]}"


def visible(text: str) -> str:
    """The text without anything that a terminal, a browser or a file could not show as it is."""
    if text.isprintable():
        return text
    return "".join(c if c in "\n\t" or c.isprintable() else _stand_in(c) for c in text)


def _stand_in(char: str) -> str:
    if ord(char) < 32:
        return chr(0x2400 + ord(char))
    hidden = char in _BIDI or unicodedata.category(char) in ("Cc", "Cs", "Cn", "Co")
    return "\ufffd" if hidden else " " if char.isspace() else char


def _decode(kind: Any, value: Any, where: str, longest: int) -> Any:
    if kind in _WORDS:
        return _plain(kind, value, where, longest)
    origin, inner = form_of(kind)
    if origin in (Union, types.UnionType):
        return _union(inner, value, where, longest)
    if origin is Literal:
        if not isinstance(value, str) or value not in inner:
            raise _Misfit(where, " or ".join(f'"{choice}"' for choice in inner), value)
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise _Misfit(where, "a list", value)
        return tuple(_decode(inner[0], item, f"{where}[{i}]", longest) for i, item in enumerate(value))
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise _Misfit(where, "an object", value)
        keys = {key: _key(key) for key in value}
        return {key: _decode(inner[1], value[k], f"{where}[{key!r}]", longest) for k, key in keys.items()}
    if kind is Any:
        return _anything(value, where)
    return _dataclass(kind, value, where)


def _key(key: object) -> str:
    return visible(cut(str(key), LONGEST_KEY))


def _anything(value: Any, where: str, depth: int = 0) -> Any:
    """A JSON value without a stated type, its text made safe to show."""
    if depth > DEEPEST:
        raise _Misfit(where, f"at most {DEEPEST} nested lists and objects", value)
    if isinstance(value, Mapping):
        return {_key(k): _anything(v, where, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_anything(v, where, depth + 1) for v in value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > LARGEST_WHOLE:
        return None
    return visible(cut(value, LONGEST)) if isinstance(value, str) else value


def _dataclass(cls: type, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise _Misfit(where, "an object", value)
    found = {}
    for name, kind, required, longest in fields_of(cls):
        place = f"{where}.{name}" if where else name
        if name in value:
            found[name] = _decode(kind, value[name], place, longest)
        elif required:
            raise _Misfit(place, "there", "missing")
    return cls(**found)


def _union(kinds: tuple[Any, ...], value: Any, where: str, longest: int) -> Any:
    if types.NoneType in kinds and float in kinds and isinstance(value, int | float) and not _measurable(value):
        return None
    if type(value) in kinds and type(value) in _WORDS:
        return _plain(type(value), value, where, longest)
    deepest: _Misfit | None = None
    for kind in kinds:
        try:
            return _decode(kind, value, where, longest)
        except _Misfit as misfit:
            # A misfit further inside belongs to the intended alternative.
            if len(misfit.where) > len(where):
                deepest = misfit
    raise deepest or _Misfit(where, " or ".join(_WORDS.get(k, "an object") for k in kinds), value)


def _measurable(value: float) -> bool:
    """Whether a number could have been measured; an int may have any number of digits."""
    return -LARGEST <= value <= LARGEST


def _plain(kind: Any, value: Any, where: str, longest: int) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool) and _measurable(value)
    if kind is str and isinstance(value, str):
        return visible(cut(value, longest))
    if kind is float and number:
        return 0.0 if abs(value) < SMALLEST else float(value)
    if kind is int and number and abs(value) <= LARGEST_WHOLE and value == int(value):
        return int(value)
    if kind in (bool, types.NoneType) and isinstance(value, kind):
        return value
    raise _Misfit(where, _WORDS[kind], value)


def finite(value: Any) -> Any:
    """A JSON value in which numbers that JSON cannot represent (a NaN loss) are null."""
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
    """The schema of a type; dataclasses are added to `definitions` and referred to."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        free = {float: {"type": "number"}} if types.NoneType in inner else {}  # a number beyond the bounds becomes null
        return {"anyOf": [free.get(k) or _describe(k, definitions) for k in inner]}
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
        bound = {float: LARGEST, int: LARGEST_WHOLE}.get(kind)
        return {"type": names[kind], **({"minimum": -bound, "maximum": bound} if bound else {})}
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
                for field, type_, _, _ in fields_of(kind)  # type: ignore[arg-type]
            },
            "required": [field for field, _, required, _ in fields_of(kind) if required],  # type: ignore[arg-type]
        }
    return {"$ref": f"#/$defs/{name}"}


def _attributes(kind: Any) -> str:
    """The `Attributes:` part of a docstring, fields indented by four."""
    part = (kind.__doc__ or "").partition("Attributes:\n")[2]
    return "".join(line.removeprefix("    ") for line in part.splitlines(keepends=True))
