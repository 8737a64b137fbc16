"""`over agp(start=…, begin=…, every=…)`: a target that is approached along a cubic curve."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import SettingError
from recipelang.plan import Duration, Mark


@method("schedule", "agp")
@dataclass(frozen=True)
class Agp:
    """Automated gradual pruning: the target grows fast at first and slowly at the end.

    What: many weights are redundant at the beginning and few at the end, so most are removed early, and the network is
        trained between two updates.
    Formula: s(t) = s_f + (s_i − s_f) · (1 − (t − t₀) / (n·Δt))³ at the steps t = t₀, t₀ + Δt, …, t₀ + n·Δt; s_f is the
        target of the statement, s_i `start`, t₀ `begin`, Δt `every`, and n the largest number of updates of which the
        last is not after `end`. Of N parts to be removed, round(N · s(t) / s_f) are gone after an update.
    Masks and parts: a removed weight stays masked. Filters, neurons, heads and layers are removed at each update, with
        parity; they are ranked again before it, and the optimizer's momentum begins again after it. Where `prune` has a
        number or a budget, s is the part of the way to it, and s_f is 1.
    When it misleads: where `end` is left out, the last masks are set just before the end of the training, and the
        network does not recover from them; of n updates the last one changes the target by (1/n)³ of the way.
    Source: Zhu, Gupta 2017, "To Prune, or Not to Prune", equation 1.
    """

    moves: ClassVar[tuple[str, ...]] = ("masks", "parts")

    start: float = setting(0.0, type="number", low=0, high=1, help="The target of the first update.")
    begin: Duration = setting(Duration(0), type="duration", help="When the first update is.")
    every: Duration = setting(Duration(100, "steps"), type="duration", help="The time from one update to the next.")
    end: Duration | None = setting(
        None, type="duration", help="When the last update is at the latest; the end of the training by default."
    )

    def __post_init__(self) -> None:
        if not self.every.count:
            raise SettingError("every", "an update `every=0` never comes", "write, for example, `every=100 steps`")
        if self.end and self.end.unit == self.begin.unit and self.end.count <= self.begin.count:
            message = f"`agp` ends at {self.end} and begins at {self.begin}"
            raise SettingError("end", message, "the end comes after `begin`")
        if self.end and self.end.unit == self.begin.unit == self.every.unit and not self._fits(self.end):
            message = f"`agp` has no second update: {self.every} after {self.begin} it has ended"
            raise SettingError("every", message, "write a smaller `every`, or a later `end`")

    def _fits(self, end: Duration) -> bool:
        return self.begin.count + self.every.count <= end.count

    def target_at(self, final: float, step: int, total: int, steps_per_epoch: int) -> float | None:
        """The target from a step on; None between two updates, before the first and after the last."""
        begin, every = (_steps(duration, steps_per_epoch) for duration in (self.begin, self.every))
        end = min(total - 1, _steps(self.end, steps_per_epoch) if self.end else total)
        updates = (end - begin) // max(1, every)
        update, between = divmod(step - begin, max(1, every))
        if between or not 0 <= update <= updates:
            return None
        left = 1 - update / updates if updates else 0.0
        return final + (self.start - final) * left**3

    def why_not(self, final: float) -> str:
        """It must start below its target."""
        start, end = (f"{100 * share:.4g}%" for share in (self.start, final))
        return "" if self.start < final else f"starts at {start}, which is not below its target of {end}"

    def marks(self) -> tuple[Mark, ...]:
        """The first two updates, and its end, which may be the end of the training."""
        begin = Mark("begin", self.begin, f"`begin={self.begin}` is not within the training")
        second = self.every
        if self.every.unit == self.begin.unit:
            second = Duration(self.begin.count + self.every.count, self.every.unit)
        every = Mark("every", second, f"there is no second update, {self.every} after the first")
        if self.end is None:
            return begin, every
        within = Duration(math.nextafter(self.end.count, 0), self.end.unit)
        return begin, every, Mark("end", within, f"`end={self.end}` is after the end of the training")


def _steps(duration: Duration, steps_per_epoch: int) -> int:
    return round(duration.count * (steps_per_epoch if duration.unit == "epochs" else 1))
