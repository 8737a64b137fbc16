"""What trackers are told of steps and of a record: curves of trainings, numbers of statements, results of networks."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recipelang.kinds import Scalar, figure

#: what a row of a history has beside the numbers of its training
_BESIDE = ("epoch", "validation", "unvalidated", "score")


@dataclass(frozen=True)
class NetworkResult:
    """A network of the report under one seed.

    Attributes:
        names: under which its trainings may have been told, the likeliest first.
        steps: of its own, as in the record. params, results, tags: as of `kinds.Session.network`.
        folder: of its files within the output folder; "" where it was not written.
    """

    names: tuple[str, ...]
    steps: tuple[Mapping[str, Any], ...]
    params: Mapping[str, str]
    results: Mapping[str, float]
    tags: Mapping[str, str]
    folder: str


def title(name: str, seed: int | None) -> str:
    """The name of a network under one of several seeds: `gentle, seed 1`."""
    return name if seed is None else f"{name}, seed {seed}"


def points(steps: Sequence[Mapping[str, Any]], since: int = 0) -> list[Scalar]:
    """The points of a network's own steps: the epochs of its trainings, and what each statement reached and took.

    A curve is named after the verb; that of a second training by the same verb continues the one of the first.

    Args:
        steps: as in the record, from the first of the network on.
        since: how many of the first ones have been told.
    """
    found, now = list[Scalar](), time.time()
    for number, step in enumerate(steps[since:], since + 1):
        verb = step["verb"]
        before = epochs(steps[: number - 1], verb)
        for row in step["history"]:
            found += epoch(verb, row, before, now)
        for name, value in _reached(step).items():
            found.append(Scalar(f"{verb}/{name}", value, number, now))
    return found


def epochs(steps: Sequence[Mapping[str, Any]], verb: str) -> int:
    """How many epochs of trainings by this verb are in the histories of some steps."""
    return sum(int(step["history"][-1]["epoch"]) for step in steps if step["verb"] == verb and step["history"])


def epoch(verb: str, row: Mapping[str, Any], before: int, now: float) -> list[Scalar]:
    """The points of one row of a history; `before` is how many epochs came before its training."""
    numbers = {name: value for name, value in row.items() if name not in _BESIDE}
    if seen := row.get("validation"):
        numbers |= {"validation loss": seen.get("loss"), f"validation {seen.get('name', 'score')}": seen.get("score")}
    at = before + int(row["epoch"])
    return [Scalar(f"{verb}/{name}", float(value), at, now) for name, value in numbers.items() if finite(value)]


def _reached(step: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of one step: what it reached, measured and took."""
    found: dict[str, float] = {}
    figures = step["reached"] if isinstance(step["reached"], list | tuple) else ()
    for one in figures:
        told = one if isinstance(one, figure.Figure) else figure.Figure(**one)
        noun = f"{told.noun}s" if told.noun else "ratio" if told.unit == "x" else ""
        name = " ".join(filter(None, (told.what, noun)))
        if name and finite(told.value):
            found.setdefault(name, float(told.value or 0.0))
    found |= {name: float(one["value"]) for name, one in step["metrics"].items() if finite(one["value"])}
    cost = step["cost"] or {}
    return found | {name: float(cost[name]) for name in ("seconds", "joules") if finite(cost.get(name))}


def networks(report: Mapping[str, Any]) -> Iterator[NetworkResult]:
    """Every network of a record, once for each seed."""
    for variant in report["variants"]:
        for run in variant["runs"]:
            seed = run["seed"]
            names = [title(variant["name"], seed), *(title(f"control of {one}", seed) for one in variant["control_of"])]
            if variant["kind"] == "healthy":  # it may have been trained before the seeds part
                names = [title("healthy", seed), "healthy"] if len(variant["runs"]) > 1 else ["healthy", names[0]]
            error = variant["error"]
            yield NetworkResult(
                tuple(names),
                tuple(run["steps"]),
                {"network": variant["name"], **variant["parameters"], **({} if seed is None else {"seed": str(seed)})},
                dict(_results(run["metrics"])),
                {
                    "kind": variant["kind"],
                    **({"chosen": "yes"} if variant["chosen"] else {}),
                    **({"error": f"{error['code']}: {error['message']}"} if error else {}),
                },
                run["folder"],
            )


def _results(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Each measurement, its interval where it has one, and its ratio to healthy."""
    for name, cell in metrics.items():
        for part in ("value", *(("low", "high") if cell["low"] != cell["high"] else ()), "ratio"):
            if finite(cell.get(part)):
                yield name if part == "value" else f"{name} {part}", float(cell[part])


def compared(report: Mapping[str, Any]) -> list[Scalar]:
    """The comparison as the run's own numbers: every metric of every network, the mean over its seeds."""
    now = time.time()
    found = [
        Scalar(f"{name}/{variant['name']}", float(cell["value"]), 0, now)
        for variant in report["variants"]
        for name, cell in variant["metrics"].items()
        if finite(cell["value"])
    ]
    verdicts = [verdict["holds"] for verdict in report["expectations"]]
    for name, holds in {"met": True, "missed": False, "undecided": None}.items():
        if verdicts:
            found.append(Scalar(f"expectations/{name}", float(verdicts.count(holds)), 0, now))
    return found


def finite(value: Any) -> bool:
    """Whether a value is a number that can be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
