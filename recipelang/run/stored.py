"""What a worker and its readings know without doing anything: the contents of the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recipelang.budgets.conditions import Value
from recipelang.errors import Refusal
from recipelang.kinds import Dataset, Measurement, PredictionMetric
from recipelang.plan import Reading
from recipelang.run import keys
from recipelang.run.evaluate import Readings
from recipelang.run.lanes import Lane
from recipelang.run.measurer import Measurer, looked_at
from recipelang.run.store import Entry, key_of
from recipelang.run.worker import Worker
from recipelang.surgery.network import Network

ABOVE = "a step above must run"


class Unknown(Exception):
    """Only the run can tell; says why."""


class StoredNumbers(Measurer):
    """Reads stored measurements and takes none."""

    def measure(
        self,
        metric: Any,
        network: Network,
        healthy: Network,
        data: Dataset,
        split: str,
        beside: Sequence[PredictionMetric] = (),
        briefly: bool = False,
    ) -> Measurement:
        data = looked_at(metric, network, data)
        known = self.known(key_of(self.ingredients(metric, network, healthy, data, split)))
        if known is None:
            raise Unknown("a number it needs is not measured yet")
        return known


class StoredReadings(Readings):
    """Readings whose network or number may not be known yet."""

    def value(self, reading: Reading, lane: Lane, network: Network | None = None, *, briefly: bool = False) -> Value:
        try:
            return super().value(reading, lane, network, briefly=briefly)
        except Refusal:
            raise Unknown(ABOVE) from None


class StoredSteps(Worker):
    """Reads stored steps and makes none."""

    def obtain(
        self, ingredients: Mapping[str, Any], make: Callable[[Path], Mapping[str, Any]], files: list[str]
    ) -> tuple[Entry, bool]:
        if self.options.fresh:
            raise Unknown("`--fresh`")
        key = key_of(ingredients)
        entry = self.found(key)
        if entry is None:
            again = self.store.why_again(key)
            if again:
                raise Unknown(again)
            near = self.store.similar(ingredients)
            raise Unknown(keys.difference(ingredients, near.ingredients) if near else "never run")
        return entry, True

    def lacks(self, key: str, why: str) -> None:
        raise Unknown(why)

    def leave_partial(self, lane: Lane, network: Network | None = None) -> None:
        """A rehearsal saves nothing."""
