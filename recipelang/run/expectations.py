"""Verdicts of `expect`: of every variant, in the order in which they were reached."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from recipelang.plan import Step
from recipelang.stages.context import Verdict


@dataclass(frozen=True)
class Judged:
    """One `expect` of one variant; `filters` where a `choose` follows, so that missing it only loses."""

    step: Step
    variant: str
    verdict: Verdict
    seeds_hold: str
    filters: bool


@dataclass
class Expectations:
    """Every verdict so far."""

    judged: list[Judged] = field(default_factory=list)

    def add(self, step: Step, variant: str, verdict: Verdict, seeds_hold: str, filters: bool) -> None:
        """Remember a verdict."""
        self.judged.append(Judged(step, variant, verdict, seeds_hold, filters))

    def met(self, variant: str) -> bool:
        """Whether a variant met every `expect` so far."""
        return all(j.verdict.holds for j in self.judged if j.variant == variant)

    def rename(self, old: str, new: str) -> None:
        """A lane turned out to be the variant `new`."""
        self.judged = [replace(j, variant=new) if j.variant == old else j for j in self.judged]

    @property
    def missed(self) -> list[Judged]:
        """The verdicts that fail the run (exit 4): missed, with no `choose` after them."""
        return [j for j in self.judged if not (j.verdict.holds or j.filters)]

    def json(self) -> list[dict[str, Any]]:
        """The verdicts as the report shows them."""
        return [
            {
                "text": j.step.text,
                "line": j.step.span.line if j.step.span else 0,
                "variant": j.variant,
                "holds": j.verdict.holds,
                "value": j.verdict.text,
                "margin": "inside the noise" if j.verdict.marginal else "",
                "seeds_hold": j.seeds_hold,
            }
            for j in self.judged
        ]
