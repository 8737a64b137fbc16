"""The value of one setting: a node of the recipe checked against what the setting takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from recipelang.catalogue import Setting, names
from recipelang.errors import Span, did_you_mean
from recipelang.meaning.diagnostics import Refuse
from recipelang.meaning.trees import bare_word
from recipelang.meaning.wording import listing
from recipelang.plan import Duration, Selector
from recipelang.syntax import nodes
from recipelang.syntax.show import show

#: setting type → an example of one, for help lines
EXAMPLES = {
    "number": "0.1",
    "integer": "4",
    "boolean": "true",
    "text": '"name"',
    "texts": '["one", "two"]',
    "duration": "5 epochs",
    "time": "12ms",
    "bytes": "10MB",
    "numbers": "[10, 20]",
    "size": "224",
    "modules": '"head"',
    "state": "early",
}
#: setting type → what it is called
TYPES = {
    "number": "a number",
    "integer": "a whole number",
    "boolean": "`true` or `false`",
    "text": "quoted text",
    "texts": "quoted text, or a list of it",
    "duration": "a duration in epochs or steps",
    "time": "a time",
    "bytes": "a size in bytes",
    "numbers": "a list of numbers",
    "size": "a whole number, or a list of height and width",
    "modules": "modules, one or a list: a dotted glob in quotes, `type(Linear)`, `first` or `last`",
    "state": "the name of a state",
}
#: dimension → how a message calls a number that has it
DIMENSIONS = {
    "number": "a number without a unit",
    "ratio": "a ratio",
    "time": "a time",
    "bytes": "a size in bytes",
    "count": "a count",
    "level": "a level in dB",
    "energy": "an energy in joules",
    "rate": "a number a second",
    "bits": "a number of bits",
    "epochs": "a number of epochs",
    "steps": "a number of steps",
    "rounds": "a number of rounds",
    "times": "a number of times",
    "samples": "a number of samples",
}


def read(s: Setting, node: Any, owner: str, refuse: Refuse) -> Any:
    """The value of setting `s` of the method `owner`; what is wrong is noted (RCP0301 … RCP0303, RCP0308).

    Settings whose values are methods are read by `settings`.
    """
    return _READERS[s.type](s, node, owner, refuse)


def in_range(s: Setting, owner: str, value: float, span: Span, refuse: Refuse) -> bool:
    """Whether a number is within the bounds of its setting; notes RCP0303 where it does not."""
    too_low = s.low is not None and (value < s.low or (s.open_low and value == s.low))
    too_high = s.high is not None and value > s.high
    if not (too_low or too_high):
        return True
    low = "" if s.low is None else f"{'above' if s.open_low else 'at least'} {s.low:g}"
    high = "" if s.high is None else f"at most {s.high:g}"
    closed = low and high and not s.open_low
    help = f"it must be {f'from {s.low:g} to {s.high:g}' if closed else ' and '.join(filter(None, (low, high)))}"
    refuse("RCP0303", f"`{s.name}` of `{owner}` is {value:g}", span, help)
    return False


def mismatch(s: Setting, node: Any, owner: str, refuse: Refuse, wanted: str = "", example: str = "") -> None:
    """Note that the value has another type or unit than the setting takes."""
    usual = isinstance(s.default, int | float) and not isinstance(s.default, bool)
    example = example or (f"{s.default:g}" if usual else EXAMPLES.get(s.type, ""))
    wanted = wanted or TYPES.get(s.type, "a value")
    help = f"write `{s.name}={example}`" if example else ""
    if isinstance(node, nodes.Number):
        is_what = DIMENSIONS[node.quantity.dimension]
        refuse("RCP0302", f"`{s.name}` of `{owner}` must be {wanted}; `{node.text}` is {is_what}", node.span, help)
    elif isinstance(node, nodes.Call) and not s.ramp and node.path[0].text in names("ramp"):
        message = f"`{s.name}` of `{owner}` is constant during training: it takes no `{node.name}`"
        refuse("RCP0308", message, node.span, help)
    elif isinstance(node, nodes.List) and isinstance(s.default, tuple):
        help = f"write `{owner}({', '.join(show(item) for item in node.items)})`, without brackets"
        refuse("RCP0301", f"`{s.name}` of `{owner}` are written one after another", node.span, help)
    else:
        refuse("RCP0301", f"`{s.name}` of `{owner}` must be {wanted}", node.span, help)


def _number(s: Setting, node: Any, owner: str, refuse: Refuse) -> float | None:
    if not isinstance(node, nodes.Number) or node.quantity.dimension not in ("number", "ratio"):
        mismatch(s, node, owner, refuse)
        return None
    return _checked(s, node, owner, refuse)


def _checked(s: Setting, node: nodes.Number, owner: str, refuse: Refuse) -> float | None:
    value = node.quantity.value
    if not math.isfinite(value):
        refuse("RCP0303", f"`{node.text}` is too large a number", node.span, "write a number below 1e308")
        return None
    return value if in_range(s, owner, value, node.span, refuse) else None


def _integer(s: Setting, node: Any, owner: str, refuse: Refuse) -> int | None:
    whole = isinstance(node, nodes.Number) and node.quantity.dimension in ("number", "count", "samples")
    if whole and math.isfinite(node.quantity.value) and node.quantity.value != int(node.quantity.value):
        message = f"`{s.name}` of `{owner}` must be a whole number; `{node.text}` is not whole"
        refuse("RCP0301", message, node.span, f"write `{s.name}={round(node.quantity.value)}`")
        return None
    if not whole:
        mismatch(s, node, owner, refuse)
        return None
    value = _checked(s, node, owner, refuse)
    return None if value is None else int(value)


def _boolean(s: Setting, node: Any, owner: str, refuse: Refuse) -> bool | None:
    word = bare_word(node)
    if word not in ("true", "false"):
        mismatch(s, node, owner, refuse)
        return None
    return word == "true"


def _text(s: Setting, node: Any, owner: str, refuse: Refuse) -> str | None:
    if isinstance(node, nodes.String):
        if s.choices and node.value not in s.choices:
            _choice(s, node.value, node.span, owner, refuse)
            return None
        return node.value
    word = bare_word(node)
    mismatch(s, node, owner, refuse, example=f'"{word}"' if word else "")
    return None


def _texts(s: Setting, node: Any, owner: str, refuse: Refuse) -> str | tuple[str, ...] | None:
    if not isinstance(node, nodes.List):
        return _text(s, node, owner, refuse)
    if not node.items:
        mismatch(s, node, owner, refuse)
        return None
    found = [_text(s, item, owner, refuse) for item in node.items]
    return None if None in found else tuple(value for value in found if value is not None)


def _word(s: Setting, node: Any, owner: str, refuse: Refuse) -> str | None:
    word = bare_word(node)
    if word is None:
        quoted = isinstance(node, nodes.String) and node.value in s.choices
        example = node.value if quoted else s.choices[0] if s.choices else "name"
        mismatch(s, node, owner, refuse, f"one of {listing(s.choices)}, without quotes", example)
        return None
    if s.choices and word not in s.choices:
        _choice(s, word, node.span, owner, refuse)
        return None
    return word


def _state(s: Setting, node: Any, owner: str, refuse: Refuse) -> str | None:
    """A name; whether there is such a state is known to the statement."""
    word = bare_word(node)
    if word is None:
        quoted = isinstance(node, nodes.String) and node.value.isidentifier()
        mismatch(s, node, owner, refuse, example=node.value if quoted else "")
    return word


def _choice(s: Setting, word: str, span: Span, owner: str, refuse: Refuse) -> None:
    guess = did_you_mean(word, s.choices)
    refuse("RCP0301", f"`{s.name}` of `{owner}` cannot be `{word}`", span, f"{guess}one of {listing(s.choices)}")


def _duration(s: Setting, node: Any, owner: str, refuse: Refuse) -> Duration | None:
    if not isinstance(node, nodes.Number) or node.quantity.dimension not in ("epochs", "steps"):
        plain = isinstance(node, nodes.Number) and node.quantity.dimension == "number"
        mismatch(s, node, owner, refuse, example=f"{node.text} epochs` or `{s.name}={node.text} steps" if plain else "")
        return None
    return Duration(node.quantity.number, node.quantity.unit) if _checked(s, node, owner, refuse) is not None else None


def _measure(dimension: str) -> Callable[..., float | int | None]:
    def reader(s: Setting, node: Any, owner: str, refuse: Refuse) -> float | int | None:
        if not isinstance(node, nodes.Number) or node.quantity.dimension != dimension:
            mismatch(s, node, owner, refuse)
            return None
        value = _checked(s, node, owner, refuse)
        return round(value) if value is not None and dimension == "bytes" else value

    return reader


def _numbers(s: Setting, node: Any, owner: str, refuse: Refuse) -> tuple[float, ...] | None:
    if not isinstance(node, nodes.List):
        mismatch(s, node, owner, refuse)
        return None
    found = [_number(s, item, owner, refuse) for item in node.items]
    return None if None in found else tuple(value for value in found if value is not None)


def _size(s: Setting, node: Any, owner: str, refuse: Refuse) -> int | tuple[int, ...] | None:
    if not isinstance(node, nodes.List):
        return _integer(s, node, owner, refuse)
    if len(node.items) != 2:
        mismatch(s, node, owner, refuse, example="[480, 640]")
        return None
    found = [_integer(s, item, owner, refuse) for item in node.items]
    return None if None in found else tuple(value for value in found if value is not None)


def selector(node: Any) -> Selector | None:
    """A way to name modules, as after `in`; None where it is something else."""
    if isinstance(node, nodes.String) and node.value.strip():
        return Selector("glob", node.value, node.span)
    name = bare_word(node)
    if name in ("first", "last"):
        return Selector(name, "", node.span)
    if isinstance(node, nodes.Call) and node.name == "type" and len(node.arguments) == 1:
        inner = bare_word(node.arguments[0].value)
        if inner and node.arguments[0].name is None:
            return Selector("type", inner, node.span)
    return None


def _modules(s: Setting, node: Any, owner: str, refuse: Refuse) -> tuple[Selector, ...] | None:
    items = node.items if isinstance(node, nodes.List) else (node,)
    wrong = next((item for item in items if selector(item) is None), None if items else node)
    if wrong is not None:
        example = f'"{bare_word(wrong)}"' if bare_word(wrong) else EXAMPLES["modules"]
        message = f"`{s.name}` of `{owner}` must be {TYPES['modules']}"
        refuse("RCP0301", message, wrong.span, f"write `{s.name}={example}`")
        return None
    return tuple(found for item in items if (found := selector(item)))


def _any(s: Setting, node: Any, owner: str, refuse: Refuse) -> Any:
    if isinstance(node, nodes.Number):
        value = _checked(s, node, owner, refuse)
        whole = value is not None and node.quantity.dimension in ("number", "count") and value == int(value)
        return int(value) if whole and value is not None and "." not in node.text else value
    if isinstance(node, nodes.String):
        return node.value
    if isinstance(node, nodes.List):
        return tuple(_any(s, item, owner, refuse) for item in node.items)
    word = bare_word(node)
    if word is None:
        mismatch(s, node, owner, refuse, "a number, quoted text, a word or a list", "4")
        return None
    return {"true": True, "false": False}.get(word, word)


_READERS: dict[str, Callable[..., Any]] = {
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "text": _text,
    "texts": _texts,
    "word": _word,
    "duration": _duration,
    "time": _measure("time"),
    "bytes": _measure("bytes"),
    "numbers": _numbers,
    "size": _size,
    "modules": _modules,
    "state": _state,
    "any": _any,
}
