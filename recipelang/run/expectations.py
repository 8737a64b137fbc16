"""Verdicts of `expect`: of every variant, in the order in which they were reached."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from recipelang.budgets.conditions import Value, judge
from recipelang.budgets.verdict import Verdict
from recipelang.errors import Refusal, StepFailed
from recipelang.kinds import Figure, figure
from recipelang.plan import Condition, Expected, Reading, Step, tests_of
from recipelang.run.evaluate import Readings, mean
from recipelang.run.lanes import Lane, by_variant


@dataclass(frozen=True)
class Judged:
    """One `expect` of one variant.

    Attributes:
        step: the statement.
        variant: its name; "" if named variants are compared, so that it is not about one in particular.
        verdict: None if it could not be reached; `why` says why.
        held: how many of several seeds hold, as a figure; None with one seed.
        filters: whether a `choose` follows, so that a variant that misses it only loses the choice.
    """

    step: Step
    variant: str
    verdict: Verdict | None
    why: str
    held: Figure | None
    filters: bool

    @property
    def holds(self) -> bool | None:
        """None if it could not be decided."""
        return self.verdict.holds if self.verdict else None

    @property
    def text(self) -> str:
        """What was measured, or why nothing was."""
        return self.verdict.text if self.verdict else self.why

    @property
    def notes(self) -> str:
        """What the measurements say of what was missed."""
        return "; ".join(self.verdict.notes) if self.verdict and not self.verdict.holds else ""

    @property
    def margin(self) -> str:
        """Whether the verdict depends on noise."""
        return "within the noise" if self.verdict and self.verdict.marginal else ""


@dataclass
class Expectations:
    """Every verdict so far; metrics are read through `readings`."""

    readings: Readings
    judged: list[Judged] = field(default_factory=list)

    def judge(self, step: Step, lanes: list[Lane], filters: bool) -> list[Judged]:
        """Judge each variant that did not fail, by its mean over seeds; one that misses a filter no longer fits.

        A condition that only compares named variants is judged once.
        """
        condition = _condition(step)
        groups = {name: group for name, group in by_variant(lanes).items() if not any(lane.error for lane in group)}
        if _compares_named_variants(condition):
            groups = {"": lanes} if groups else {}
        found = []
        for name, group in groups.items():
            made = self._judged(Judged(step, name, None, "", None, filters), [lane for lane in group if not lane.error])
            found.append(made)
            if filters and not made.holds:
                for lane in group:
                    lane.fits = False
        self.judged += found
        return found

    def _judged(self, judged: Judged, group: list[Lane]) -> Judged:
        """The verdict on the mean over seeds, and how many of several seeds hold."""
        condition = _condition(judged.step)
        group = list({lane.seed: lane for lane in reversed(group)}.values())[::-1]

        def average(reading: Reading) -> Value:
            return mean([self.readings.value(reading, lane) for lane in group])

        def holds(lane: Lane) -> bool:
            return judge(condition, lambda reading: self.readings.value(reading, lane), "possibly").holds

        try:
            verdict = judge(condition, average, "possibly")
            held = Figure("hold", sum(map(holds, group)), noun="seed", of=len(group)) if len(group) > 1 else None
            return replace(judged, verdict=verdict, held=held)
        except Refusal as refusal:
            return replace(judged, why=refusal.message)
        except StepFailed as failed:  # a control that could not be trained
            return replace(judged, why=failed.diagnostics[0].message)

    def keep(self, first: int, variant: str) -> None:
        """Of the verdicts from number `first` on, keep those of one variant."""
        self.judged[first:] = [j for j in self.judged[first:] if j.variant == variant]

    def rename(self, old: str, new: str) -> None:
        """The variant `old` is now called `new`."""
        self.judged = [replace(j, variant=new) if j.variant == old else j for j in self.judged]

    @property
    def missed(self) -> list[Judged]:
        """The verdicts that fail the run (exit 4): missed or undecided, with no `choose` after them."""
        return [j for j in self.judged if not (j.holds or j.filters)]

    def json(self) -> list[dict[str, Any]]:
        """The verdicts as the report shows them."""
        return [
            {
                "text": j.step.text,
                "line": j.step.span.line if j.step.span else 0,
                "variant": j.variant,
                "holds": j.holds,
                "value": j.why or None,
                "figures": figure.stored(j.verdict.figures) if j.verdict else [],
                "margin": j.margin,
                "note": j.notes,
                "held": j.held.json() if j.held else None,
            }
            for j in self.judged
        ]


def _condition(step: Step) -> Condition:
    expected = step.operation.needs().writes
    assert isinstance(expected, Expected)  # the walk brings no other step here
    return expected.condition


def _compares_named_variants(condition: Condition) -> bool:
    """Whether a condition is about variants that it names, and so not about one in particular."""
    bounds = [test.bound for test in tests_of(condition) if isinstance(test.bound, Reading)]
    readings = [*(test.reading for test in tests_of(condition)), *bounds]
    return all(reading.subject.kind == "variant" for reading in readings)
