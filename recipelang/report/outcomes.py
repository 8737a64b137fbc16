"""What every statement was asked for, what it reached, and why not more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recipelang.report.parts import Journey

SHARED = "all"


@dataclass(frozen=True)
class Outcome:
    """One statement of one network.

    Attributes:
        name: of the network; `all`, or the run, for what all networks share. seeds: "seeds 0, 1 and 2", or "".
        line: of the recipe; null if the language added it.
        text: the statement.
        asked, reached: in words.
        why: what the step says of it, or why it failed.
        seconds: in words.
        failed: whether the network's way ended here.
    """

    name: str
    seeds: str
    line: int | None
    text: str
    asked: str
    reached: str
    why: str
    seconds: str = ""
    failed: bool = False


def outcomes(journeys: Sequence[Journey]) -> tuple[Outcome, ...]:
    """Every step that was asked for something, reached something or failed; those that all share come once."""
    found: list[Outcome] = []
    for journey in journeys:
        name = journey.name or SHARED
        last = len(journey.steps) - 1
        for place, done in enumerate(journey.steps):
            failed = journey.error is not None and place == last
            why = [done.step.note or "", journey.error.message if failed and journey.error else ""]
            readings = [f"{metric} {value}" for metric, value in done.readings]
            reached = "; ".join((*(["; ".join(done.reached)] if done.reached else []), *readings))
            if done.asked or reached or failed:
                told = "; ".join(filter(None, why))
                line = None if done.step.implied else done.step.line
                row = Outcome(
                    name, journey.seeds, line, done.step.text, done.asked, reached, told, done.seconds, failed
                )
                found.append(row)
        if journey.error and not journey.steps:
            error = journey.error
            found.append(Outcome(name, journey.seeds, error.line, "", "", "", error.message, failed=True))
    return tuple(found)
