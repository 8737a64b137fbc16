"""Readings of lanes: a metric of a network, compared with another, as a value with the interval of its clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from recipelang.budgets.conditions import Value
from recipelang.catalogue import spell
from recipelang.errors import Refusal
from recipelang.images.counted import Read, counted
from recipelang.kinds import Dataset, Measurement
from recipelang.plan import Reading
from recipelang.run.lanes import Lane
from recipelang.run.measurer import Measurer
from recipelang.run.options import Options
from recipelang.run.states import State, load
from recipelang.surgery.network import Network


@dataclass
class Readings:
    """Reads metrics of lanes.

    Attributes:
        measurer: takes and remembers the measurements.
        options: for loading networks.
        datasets: opened data sets by name; "" is the recipe's first.
        lanes: every lane so far, for readings of other variants.
        control: gives the control lane of a lane.
        together: (data, split) → metrics of predictions that the plan reads there.
        trouble: what could not be measured, for the report.
        read: what is read of the data sets, for the costs of steps.
    """

    measurer: Measurer
    options: Options
    datasets: Mapping[str, Dataset]
    lanes: Callable[[], list[Lane]]
    control: Callable[[Lane], Lane]
    together: Mapping[tuple[str, str], tuple[Any, ...]] = field(default_factory=dict)
    trouble: list[str] = field(default_factory=list)
    read: Read = field(default_factory=Read)

    def network(self, state: State) -> Network:
        """The network of a state."""
        return load(state, self.options.trust)

    def measure(self, reading: Reading, network: Network, lane: Lane, briefly: bool = False) -> Measurement:
        """The metric of a network on the reading's data and split; a clock compares it with the lane's healthy, where
        that is enough `briefly`."""
        healthy = self.network(lane.healthy) if lane.healthy else network
        data = counted(self.datasets[reading.data], self.read, reading.data)
        beside = self.together.get((reading.data, reading.split), ())
        return self.measurer.measure(reading.metric, network, healthy, data, reading.split, beside, briefly)

    def value(self, reading: Reading, lane: Lane, network: Network | None = None, *, briefly: bool = False) -> Value:
        """The value of a reading.

        Args:
            reading: from the plan.
            lane: the lane that asks for it.
            network: the network to read if the subject is `current`; None takes the lane's.
            briefly: whether a few pairs of a clock are enough.

        Raises:
            Refusal: the subject does not exist, or the metric cannot be measured on it.
        """
        owner, subject = self._subject(reading, lane, network)
        mine = self.measure(reading, subject, owner, briefly)
        if reading.form == "value":
            return replace(_value(mine), note=mine.note)
        if reading.form == "ratio" and mine.ratio is not None:
            return Value(mine.ratio, mine.ratio_low or mine.ratio, mine.ratio_high or mine.ratio)
        reference = self.measure(reading, self._reference(reading, owner), owner, briefly)
        if reading.form == "ratio":
            if reference.value == 0:
                raise Refusal("RCP0907", f"healthy has a {spell(reading.metric)} of 0, so there is no ratio to it")
            return Value.exactly(mine.value / reference.value)
        sign = 1 if reading.form == "drop" else -1
        return Value.exactly(sign * (reference.value - mine.value))

    def _subject(self, reading: Reading, lane: Lane, network: Network | None) -> tuple[Lane, Network]:
        kind, name = reading.subject.kind, reading.subject.name
        if kind == "variant":
            for other in self.lanes():
                if other.name == name and other.seed == lane.seed and other.current and not other.error:
                    return other, self.network(other.current)
            raise Refusal(
                "RCP0908", f"variant `{name}` has no result to compare with", "it failed, or comes later in the recipe"
            )
        if kind == "state":
            state = lane.state(name)
            if state is None:
                raise Refusal("RCP0908", f"there is no state `{name}` here")
            return lane, self.network(state)
        if network is None:
            if lane.current is None:
                raise Refusal("RCP0908", "there is no network to measure yet")
            network = self.network(lane.current)
        return lane, network

    def _reference(self, reading: Reading, lane: Lane) -> Network:
        state = self.control(lane).current if reading.against == "control" else lane.healthy
        if state is None:
            raise Refusal("RCP0908", f"there is no {reading.against} to compare with")
        return self.network(state)


def mean(values: list[Value]) -> Value:
    """The mean over seeds, also of the ends of the intervals."""
    n = len(values)
    value, low, high = (sum(ends) / n for ends in zip(*((v.value, v.low, v.high) for v in values), strict=True))
    return Value(value, low, high, next((v.note for v in values if v.note), ""))


def _value(measured: Measurement) -> Value:
    """A clock keeps its interval; the sampling error of a finite test set does not loosen a bound."""
    if measured.ratio is None:
        return Value.exactly(measured.value)
    return Value(measured.value, measured.low, measured.high)
