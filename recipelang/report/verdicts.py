"""Expectations as a report shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recipelang.kinds import figure as figures
from recipelang.report import words
from recipelang.report.record import Expectation

MOST_VERDICTS = 200  # of a page


@dataclass(frozen=True)
class ShownVerdict:
    """An expectation as a report shows it.

    Attributes:
        of: the row that it is about; "" for all.
        mark: `✓`, `✗` or `?`.
        verdict: `met`, `not met`, `undecided`.
        value, note: what was measured; how close it is and how many seeds hold.
    """

    expectation: Expectation
    of: str
    mark: str
    verdict: str
    value: str
    note: str


def told_verdicts(found: Sequence[ShownVerdict]) -> tuple[tuple[int, ShownVerdict], ...]:
    """(number from 1, verdict) of those that a page has room for: the first ones, and those that are not met."""
    numbered = tuple(enumerate(found, 1))
    missed = [one for one in numbered if one[1].verdict != "met"][:MOST_VERDICTS]
    return tuple(one for one in numbered if one[0] <= MOST_VERDICTS or one in missed)


def shown_verdict(expectation: Expectation, run: str) -> ShownVerdict:
    """How a report shows an expectation.

    Args:
        expectation: of the record.
        run: the name of its run, where there are several; else "".
    """
    mark, verdict = {True: ("✓", "met"), False: ("✗", "not met"), None: ("?", "undecided")}[expectation.holds]
    margin = expectation.margin
    notes = []
    if margin is True:
        notes.append("close: the bound is inside the interval")
    elif margin not in (None, False, ""):
        notes.append(margin if isinstance(margin, str) else f"margin {words.plain(margin)}")
    if expectation.held is not None:
        notes.append(figures.words([expectation.held]))
    elif expectation.seeds_hold and not expectation.seeds_hold.endswith("/1"):
        notes.append(f"{expectation.seeds_hold} seeds hold")
    if expectation.note:
        notes.append(expectation.note)
    of = ": ".join(name for name in (run, expectation.variant) if name)
    return ShownVerdict(
        expectation,
        of,
        mark,
        verdict,
        figures.words(expectation.figures) or words.plain(expectation.value),
        "; ".join(notes),
    )
