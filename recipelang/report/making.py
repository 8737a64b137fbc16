"""What the networks of a report cost to make: time, epochs, passes over the data, energy."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from recipelang.report import words
from recipelang.report.costs import Cost
from recipelang.report.parts import after
from recipelang.report.record import Run, Variant
from recipelang.report.rows import Row

HEADER = ("time", "epochs", "passes over the data", "energy")


@dataclass(frozen=True)
class Made:
    """What one network cost to make.

    Attributes:
        name: the row's.
        cost: in numbers, the mean over seeds.
        texts: in words, one for each column of the table.
        note: what is missing.
    """

    name: str
    cost: Cost
    texts: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class Making:
    """The table of costs.

    Attributes:
        header: the columns for which any network has something.
        rows: the networks of which something is known.
    """

    header: tuple[str, ...] = ()
    rows: tuple[Made, ...] = ()


def making(found: Sequence[Row]) -> Making:
    """The costs of the networks: healthy from nothing, all others from healthy."""
    healthy = {row.origin: row.variant for row in found if row.kind == "healthy"}
    costs = [(row, cost_of(row.variant, healthy.get(row.origin))) for row in found]
    told = [(row, cost, _texts(cost)) for row, cost in costs if cost is not None]
    used = [place for place in range(len(HEADER)) if any(texts[place] for _, _, texts in told)]
    made = (Made(row.name, cost, tuple(texts[place] for place in used), cost.note) for row, cost, texts in told)
    return Making(tuple(HEADER[place] for place in used), tuple(made))


def cost_of(variant: Variant, healthy: Variant | None = None) -> Cost | None:
    """What a network cost; in records without costs the time and the epochs of its steps, the mean over its seeds.

    Args:
        variant: the network.
        healthy: of the same run; what made it does not count for the others.
    """
    if variant.cost is not None:
        return variant.cost
    before = healthy.runs[0].steps if healthy and healthy.runs and healthy is not variant else ()
    runs = after(before, variant.runs)
    known = [run for run in runs if any(step.seconds is not None for step in run.steps)]
    if not known:
        return None
    return Cost(statistics.fmean(map(_seconds, known)), statistics.fmean(map(_epochs, known)))


def _seconds(run: Run) -> float:
    return sum(step.seconds or 0.0 for step in run.steps)


def _epochs(run: Run) -> float:
    return sum(step.history[-1].epoch for step in run.steps if step.history)


def _texts(cost: Cost) -> tuple[str, str, str, str]:
    at_least = "≥ " if cost.at_least else ""
    time = words.duration(cost.seconds)
    passes = ", ".join(f"{split} {_count(number)}" for split, number in cost.passes.items() if number)
    energy = "" if cost.joules is None else _energy(cost.joules)
    texts = (time, _count(cost.epochs) if cost.epochs else "", passes, energy)
    return tuple(f"{at_least}{text}" if text else "" for text in texts)  # type: ignore[return-value]


def _energy(joules: float) -> str:
    """`3.21 kJ`; a training takes more than the joules of a single call."""
    name, factor = next(((name, factor) for name, factor in (("MJ", 1e6), ("kJ", 1e3)) if joules >= factor), ("", 1.0))
    return f"{joules / factor:.3g} {name}" if name else words.quantity(joules, "J")


def _count(number: float) -> str:
    return f"{number:.0f}" if number >= 100 or float(number).is_integer() else f"{number:.2g}"
