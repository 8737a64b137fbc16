"""Quantities: a number and its unit, parsed once and printed once.

0.7   70%   12ms   10MB   5M   0.3dB   2mJ   500/s   3 epochs   500 steps   5 rounds   8 bits
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

#: unit → (dimension, factor to the dimension's base unit)
UNITS: dict[str, tuple[str, float]] = {
    "": ("number", 1.0),
    "%": ("ratio", 0.01),
    "x": ("ratio", 1.0),
    "us": ("time", 1e-6),
    "ms": ("time", 1e-3),
    "s": ("time", 1.0),
    "min": ("time", 60.0),
    "h": ("time", 3600.0),
    "B": ("bytes", 1.0),
    "KB": ("bytes", 1e3),
    "MB": ("bytes", 1e6),
    "GB": ("bytes", 1e9),
    "K": ("count", 1e3),
    "M": ("count", 1e6),
    "G": ("count", 1e9),
    "dB": ("level", 1.0),
    "mJ": ("energy", 1e-3),
    "J": ("energy", 1.0),
    "/s": ("rate", 1.0),
    "bits": ("bits", 1.0),
    "epochs": ("epochs", 1.0),
    "steps": ("steps", 1.0),
    "rounds": ("rounds", 1.0),
    "times": ("times", 1.0),
    "samples": ("samples", 1.0),
}
SINGULAR = {"bit": "bits", "epoch": "epochs", "step": "steps", "round": "rounds", "time": "times", "sample": "samples"}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)[ \t]*([A-Za-z%/]*)")


@dataclass(frozen=True)
class Quantity:
    """A number with a unit, as written: `Quantity(70, "%")` is 0.7 of dimension `ratio`."""

    number: float
    unit: str = ""

    @property
    def dimension(self) -> str:
        """`number`, `ratio`, `time` (seconds), `bytes`, `count`, `level` (dB), `energy` (joules), `rate` (in a second),
        `bits`, `epochs`, `steps`, …"""
        return UNITS[self.unit][0]

    @property
    def value(self) -> float:
        """The number in the dimension's base unit: seconds, bytes, a plain ratio."""
        return self.number * UNITS[self.unit][1]

    def __str__(self) -> str:
        return f"{self.number:g}{_glue(self.unit)}{self.unit}"


def parse_quantity(text: str) -> Quantity:
    """`"70%"` → `Quantity(70, "%")`.

    Raises:
        ValueError: the text is not a number with a known unit.
    """
    digits, unit = _parts(text)
    return Quantity(float(digits), SINGULAR.get(unit, unit))


def spelt(text: str) -> str:
    """A number in canonical form: `70 %` → `70%`, `3epochs` → `3 epochs`; its digits are kept.

    Raises:
        ValueError: the text is not a number with a known unit.
    """
    digits, unit = _parts(text)
    return f"{digits}{_glue(unit)}{unit}"


def _parts(text: str) -> tuple[str, str]:
    """The digits and the unit, as written."""
    match = _QUANTITY.fullmatch(text.strip())
    if not match:
        raise ValueError(f"`{text}` is not a number")
    if match[2] not in UNITS and match[2] not in SINGULAR:
        raise ValueError(f"`{match[2]}` is not a unit")
    return match[1], match[2]


def _glue(unit: str) -> str:
    """What separates a number from its unit: a space where the unit is a word, else nothing."""
    return " " if unit in SINGULAR or unit in SINGULAR.values() else ""


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 layer`, `2 layers`, `0 layers`; a plural that is not formed with `s` is given: `1 entry`, `2 entries`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def listed(words: Iterable[str], most: int = 6, last: str = "and") -> str:
    """`a, b and c`, or with another word before the last; of more than `most + 1` the first ones and how many more, so
    never just one more."""
    found = list(words)
    glue = "; " if any("," in word for word in found) else ", "
    if len(found) > most + 1:
        return f"{glue.join(found[:most])} and {len(found) - most} more"
    return f" {last} ".join([glue.join(found[:-1]), found[-1]]) if len(found) > 1 else "".join(found)


def show(value: float, unit: str) -> str:
    """A measured value in readable form, with a suitable scale.

    Args:
        value: in base units (seconds, joules, bytes, counts, a plain ratio).
        unit: `s`, `J`, `B`, `images/s`, `%` (the value is a fraction), `FLOPs`, `params`, `x` or "".
    """
    if unit == "%":
        return f"{100 * value:.2f} %"
    if unit == "x":
        return f"{value:.3f}×"
    if unit in ("s", "J"):
        for factor, prefix in ((1.0, ""), (1e-3, "m"), (1e-6, "µ")):
            if abs(value) >= factor:
                return f"{value / factor:.3g} {prefix}{unit}"
        return f"0 {unit}" if value == 0 else f"{value * 1e6:.3g} µ{unit}"
    if unit in ("B", "FLOPs", "params", "images/s"):
        tail = {"B": "B", "images/s": " images/s"}.get(unit, "")
        for factor, name in ((1e9, "G"), (1e6, "M"), (1e3, "K")):
            if abs(value) >= factor:
                return f"{value / factor:.3g} {name}{tail}"
        return f"{value:.3g}{tail}" if unit == "images/s" else f"{value:.0f} {tail}".strip()
    return f"{value:.4g}{' ' + unit if unit else ''}"
