"""Updates at regular times, which raise a target from a start to its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import setting
from recipelang.errors import SettingError
from recipelang.methods.schedules._marks import end_mark
from recipelang.plan import Duration, Mark


@dataclass(frozen=True)
class RegularUpdates:
    """A schedule with an update at `begin` and at intervals of `every` after it; a subclass says how far each leads."""

    name: ClassVar[str]
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
            message = f"`{self.name}` ends at {self.end} and begins at {self.begin}"
            raise SettingError("end", message, "the end comes after `begin`")
        if self.end and self.end.unit == self.begin.unit == self.every.unit and not self._fits(self.end):
            message = f"`{self.name}` has no second update: {self.every} after {self.begin} it has ended"
            raise SettingError("every", message, "write a smaller `every`, or a later `end`")

    def _fits(self, end: Duration) -> bool:
        return self.begin.count + self.every.count <= end.count

    def update_at(self, step: int, total: int, steps_per_epoch: int) -> tuple[int, int] | None:
        """The number of the update at a step, from 0, and that of the last one; None where there is none."""
        begin, every = (round(duration.steps(steps_per_epoch)) for duration in (self.begin, self.every))
        end = min(total - 1, round(self.end.steps(steps_per_epoch)) if self.end else total)
        last = (end - begin) // max(1, every)
        update, between = divmod(step - begin, max(1, every))
        return None if between or not 0 <= update <= last else (update, last)

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
        return begin, every, *end_mark(self.end)
