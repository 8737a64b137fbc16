"""Numbers with units: what a step was asked for, what it reached, what a verdict read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from recipelang.units import show


@dataclass(frozen=True)
class Figure:
    """One number. Outcomes, the store and the record hold figures; `words` makes the text of a report of them.

    Attributes:
        what: whose number it is (`latency`, `top1 drop`, `training loss`), or what became of the counted (`removed`).
        value: in base units; None where only a bound is given.
        unit: as of `units.show`; `points` for a difference of shares, which are fractions.
        noun: what is counted, in the singular: `layer`, `weight`, `step`; "" for a measured number.
        of: the whole that a counted number is part of.
        low, high: the interval of the measurement; None for a computed number.
        operator, bound: what was asked of it: `<`, 0.7. `against`: the number that is the bound, if it is one.
        joins: how it continues the figure before: `and`, `or`, `while`, `:`; "" begins a new one.
    """

    what: str = ""
    value: float | None = None
    unit: str = ""
    noun: str = ""
    of: float | None = None
    low: float | None = None
    high: float | None = None
    operator: str = ""
    bound: float | None = None
    against: str = ""
    joins: str = ""

    def json(self) -> dict[str, Any]:
        """What is set of it."""
        return {name: value for name, value in asdict(self).items() if value not in ("", None)}


def words(figures: Sequence[Figure] | str | None) -> str:
    """Figures as text: "412 of 1,344 filters removed: latency 0.680× (0.672× to 0.689×)".

    Args:
        figures: of a record; earlier versions stored text, which stays as it is.
    """
    if figures is None or isinstance(figures, str):
        return figures or ""
    text = ""
    for number, figure in enumerate(figures):
        glue = {"": ", ", ":": ": "}.get(figure.joins, f" {figure.joins} ")
        text += (glue if number else f"{figure.joins} ".lstrip()) + _one(figure)
    return text


def _one(figure: Figure) -> str:
    number = _counted(figure) if figure.noun else _measured(figure)
    parts = (number, figure.what) if figure.noun else (figure.what, number)
    bound = "" if figure.value is not None or not figure.operator else f"{figure.operator} {_bound(figure)}"
    return " ".join(filter(None, (*parts, bound)))


def _counted(figure: Figure) -> str:
    if figure.value is None:
        return ""
    whole = figure.value if figure.of is None else figure.of
    noun = figure.noun if whole == 1 else f"{figure.noun}s"
    return f"{_plain(figure.value)} {f'of {_plain(figure.of)} ' if figure.of is not None else ''}{noun}"


def _plain(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.3g}"


def _measured(figure: Figure) -> str:
    if figure.value is None:
        return ""
    text = _shown(figure.value, figure.unit)
    if figure.low is None or figure.high is None or figure.low == figure.high:
        return text
    return f"{text} ({_shown(figure.low, figure.unit)} to {_shown(figure.high, figure.unit)})"


def _bound(figure: Figure) -> str:
    if figure.against or figure.bound is None:
        return figure.against
    if figure.unit in ("x", "points", "%"):
        value, unit = {"x": (figure.bound, "×"), "points": (100 * figure.bound, " points")}.get(
            figure.unit, (100 * figure.bound, " %")
        )
        return f"{value:.6g}{unit}"
    return _shown(figure.bound, figure.unit)


def _shown(value: float, unit: str) -> str:
    return f"{100 * value:.2f} points".replace("-", "−") if unit == "points" else show(value, unit)


def stored(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """Figures as JSON."""
    return [figure.json() for figure in figures]


def read(said: Any) -> tuple[Figure, ...] | str:
    """Figures of a JSON value; text, as earlier versions stored it, stays text.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(said, str):
        return said
    if not isinstance(said, list) or not all(isinstance(row, Mapping) for row in said):
        raise TypeError("neither figures nor text")
    return tuple(Figure(**row) for row in said)
