"""How far a network is from a budget after some steps of each queue: exactly where costs are computed, by tables where
they are measured.

A table holds what a clock reads with 0, 1, … steps of one queue and the others whole. With steps of several queues,
each wins what its table says, less what it shares with the others:

    t(taken) = t₀ − Σ_q (t₀ − table_q[k_q]) · (1 − β + β · r_q)
    r_q = products that q's k_q steps remove from what the others have left / from the whole network

β is 1 where time is products alone, and 0 where no group saves less because others were cut; it is chosen, between −1
and 1, so that the estimate with all steps taken is what the clock reads then. A parameter counts as many products as
there are places where its module makes an output.

Clocks are looked at briefly, and of a long table a few widths are: between them it is a straight line. Queues that are
alike are cut together, and share what that wins: one block of ten wins less than a brief look is wrong by. What a
search ends with is measured surely by those who decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from recipelang.budgets.conditions import Value, clock
from recipelang.budgets.elements import Elements
from recipelang.budgets.sorts import activations, sorts_of
from recipelang.kinds import Progress, Queue, Taken
from recipelang.plan import All, Condition, Reading, Test, tests_of
from recipelang.surgery.deployed import deployed
from recipelang.surgery.network import Network
from recipelang.surgery.products import products_of

#: a clock's estimate is no less than this part of what the whole network takes
LEAST = 1e-3
#: a table of more widths than LONG is read at POINTS of them
LONG, POINTS = 8, 5


@dataclass
class Costs:
    """The costs of a budget, for any steps of some queues.

    Attributes:
        queues: of all units.
        whole: the network before the first step.
        cut: the network without some steps.
        until: the budget; tests of qualities are left to who measures it in the end.
        read: a reading of a network, through the store.
        look: a clock of the network without some steps; it remembers.
        progress: of a table that is measured.
    """

    queues: Sequence[Queue]
    whole: Network
    cut: Callable[[Taken], Network]
    until: Condition
    read: Callable[[Reading, Network], float]
    look: Callable[[Reading, Taken], Value]
    progress: Progress
    _exact: dict[tuple[str, tuple[int, ...]], float] = field(default_factory=dict, init=False)
    _units: dict[str, float] = field(default_factory=dict, init=False)
    _sums: dict[str, Elements | None] = field(default_factory=dict, init=False)
    _read: dict[tuple[str, int], tuple[float, ...]] = field(default_factory=dict, init=False)
    _summed: dict[str, list[list[float]]] = field(default_factory=dict, init=False)
    _shared: dict[str, float] = field(default_factory=dict, init=False)
    _removed_alone: dict[int, Sequence[float]] = field(default_factory=dict, init=False)

    def of(self, taken: Taken) -> float:
        """reading/bound of the whole budget, clocks by the tables."""
        return self._worst(lambda test: self._estimated(test, taken) if clock(test) else self._computed(test, taken))

    def measured(self, taken: Taken) -> float:
        """reading/bound of the whole budget, clocks read."""
        return self._worst(lambda test: self._timed(test, taken) if clock(test) else self._computed(test, taken))

    def table(self, queue: int) -> tuple[float, ...]:
        """reading/bound with 0, 1, … steps of a queue."""
        counts = range(len(self.queues[queue].steps) + 1)
        tables = {test.text: self._tables([queue], test)[queue] for test in tests_of(self.until) if clock(test)}

        def at(k: int) -> Callable[[Test], float]:
            return lambda test: tables[test.text][k] if clock(test) else self._computed(test, self._only(queue, k))

        return tuple(self._worst(at(k)) for k in counts)

    @property
    def clocks(self) -> bool:
        """Whether there is a clock in the budget."""
        return any(clock(test) for test in tests_of(self.until))

    def hopeless(self, taken: Taken) -> bool:
        """Whether a brief look at the clocks is enough to say that the budget does not hold: no value in its interval
        meets it."""

        def best(test: Test) -> float:
            if not clock(test):
                return 0.0
            found = self.look(test.reading, taken)
            return found.low if test.operator in ("<", "<=") else found.high

        return self.clocks and self._combined(self.until, best, clock) > 1

    def _worst(self, value: Callable[[Test], float]) -> float:
        return self._combined(self.until, value)

    def _combined(
        self, condition: Condition, value: Callable[[Test], float], counts: Callable[[Test], bool] | None = None
    ) -> float:
        """Tests that do not count (by default those of qualities) are taken to hold."""
        if isinstance(condition, Test):
            counted = counts(condition) if counts else condition.reading.metric.role == "cost"
            return self._ratio(condition, value(condition)) if counted else 0.0
        combine = max if isinstance(condition, All) else min
        return combine(self._combined(inner, value, counts) for inner in condition.tests)

    def _ratio(self, test: Test, value: float) -> float:
        bound = self.read(test.bound, self.whole) if isinstance(test.bound, Reading) else test.bound
        small, large = (value, bound) if test.operator in ("<", "<=") else (bound, value)
        return small / large if large > 0 else float("inf")

    # -- computed costs --------------------------------------------------------------------------------

    def _computed(self, test: Test, taken: Taken) -> float:
        """The reading of a computed cost; networks are made for it, but nothing is stored: searches ask for many."""
        reading = test.reading
        if reading.subject.kind != "current":
            return self.read(reading, self.whole)
        if test.text not in self._sums:
            self._sums[test.text] = self._sum(test)
        counted = self._sums[test.text]
        value = self._measured(test, taken) if counted is None else self._left(counted, taken)
        return value / self._unit(test)

    def _measured(self, test: Test, taken: Taken) -> float:
        """What the metric says of the network without these steps."""
        key = test.text, tuple(taken)
        if key not in self._exact:
            network = self.cut(taken)
            self._exact[key] = test.reading.metric.measure(deployed(network), network, network.input_shape).value
        return self._exact[key]

    def _left(self, counted: Elements, taken: Taken) -> float:
        """What is left of a sum over parameters after these steps."""
        left = counted.copy()
        for queue, count in zip(self.queues, taken, strict=True):
            for step in queue.steps[:count]:
                left.take(step)
        return left.total()

    def _sum(self, test: Test) -> Elements | None:
        """The sum over parameters that a metric is, as parameters and products are; None where it is none of these, or
        where it differs from one on the whole network or on two that are cut."""
        steps = [len(queue.steps) for queue in self.queues]
        samples = [
            tuple(part(count) for count in steps) for part in (lambda n: 0, lambda n: min(1, n), lambda n: n // 2)
        ]
        for worth in ({}, self._places):
            counted = Elements(self.whole.module, self.queues, worth)
            if all(self._left(counted, one) == self._measured(test, one) for one in samples):
                return counted
        return None

    @cached_property
    def _places(self) -> dict[str, float]:
        """Parameter → operations for each of its elements: two at each place where a weight makes an output."""
        module = self.whole.module
        found = dict.fromkeys((name for name, _ in module.named_parameters()), 0.0)
        for name, count in self._weights.items():
            found[name] = 2 * count
        return found

    def _unit(self, test: Test) -> float:
        """What a measured value is divided by to be the reading: that of healthy for a ratio."""
        if test.text not in self._units:
            whole = self._measured(test, self._only(0, 0))
            self._units[test.text] = whole / self.read(test.reading, self.whole) if whole else 1.0
        return self._units[test.text]

    # -- clocks ----------------------------------------------------------------------------------------

    def _timed(self, test: Test, taken: Taken) -> float:
        return self.look(test.reading, taken).value

    def _only(self, queue: int, count: int) -> tuple[int, ...]:
        return tuple(count if q == queue else 0 for q in range(len(self.queues)))

    def _tables(self, queues: Sequence[int], test: Test) -> dict[int, tuple[float, ...]]:
        """What a clock reads at every width of some queues; those of one sort are read together."""
        firsts = {queue: self._first_alike[queue] for queue in queues}
        new = [first for first in sorted(set(firsts.values())) if (test.text, first) not in self._read]
        total = sum(len(looked_at(len(self.queues[first].steps))) - 1 for first in new)
        if new:
            self.progress.start("measuring the table", total)
        try:
            for first in new:
                self._read[test.text, first] = self._clocks(test, first)
        finally:
            if new:
                self.progress.stop()
        return {queue: self._read[test.text, first] for queue, first in firsts.items()}

    def _clocks(self, test: Test, first: int) -> tuple[float, ...]:
        """The table of a queue and of those that are alike; the widths between those that are read lie on lines."""
        grows = test.reading.metric.better == "higher"
        counts = looked_at(len(self.queues[first].steps))
        alike = [queue for queue, other in enumerate(self._first_alike) if other == first]
        read = [self._timed(test, self._only(first, 0))]
        for count in counts[1:]:
            taken = [0] * len(self.queues)
            for queue in alike:
                taken[queue] = min(count, len(self.queues[queue].steps))
            together, start = self._timed(test, taken), read[0]
            if len(alike) > 1:
                wholes = sum(part for queue, part in enumerate(self._parts(taken)) if queue in alike)
                start, together = (1 / start, 1 / together) if grows else (start, together)
                alone = max(start - (start - together) / wholes, LEAST * start)
                together = 1 / alone if grows else alone
            read.append(together)
            self.progress.advance()
        return tuple(float(value) for value in np.interp(range(counts[-1] + 1), counts, read))

    @cached_property
    def _first_alike(self) -> Sequence[int]:
        """For each queue the first one of its sort."""
        keys = [(queue.unit, queue.group.name) for queue in self.queues]
        first = list(range(len(keys)))
        for alike in sorts_of(self.whole, self.queues, Elements(self.whole.module, self.queues)):
            numbers = sorted(keys.index(key) for key in alike)
            for number in numbers:
                first[number] = numbers[0]
        return first

    @cached_property
    def _made(self) -> dict[str, int]:
        """Module that holds parameters → numbers that it makes for one image."""
        return activations(self.whole, {name.rpartition(".")[0] for name, _ in self.whole.module.named_parameters()})

    @cached_property
    def _weights(self) -> dict[str, float]:
        """Weight that is a parameter → at how many places its module makes an output."""
        found = {}
        for product in products_of(self.whole):
            path = product.name.rpartition(".")[0]
            if product.parameter and path in self._made:
                shape = self.whole.module.get_parameter(product.name).shape
                found[product.name] = self._made[path] / shape[product.outputs]
        return found

    @cached_property
    def _products(self) -> Elements:
        """The parameters of the network, each counted as often as it is multiplied."""
        module = self.whole.module
        shapes = {name: parameter.shape for name, parameter in module.named_parameters()}
        others = {
            name: self._made[path] / shape[0]
            for name, shape in shapes.items()
            if (path := name.rpartition(".")[0]) in self._made and shape
        }
        return Elements(module, self.queues, {**others, **self._weights})

    def _estimated(self, test: Test, taken: Taken) -> float:
        grows = test.reading.metric.better == "higher"  # of throughput, time adds up
        every = tuple(len(queue.steps) for queue in self.queues)
        if test.text not in self._summed:
            known = self._tables(range(len(self.queues)), test)
            self._summed[test.text] = [[1 / v if grows else v for v in known[queue]] for queue in range(len(known))]
            last = self._timed(test, every)
            self._shared[test.text] = self._sharing(self._summed[test.text], 1 / last if grows else last)
        if tuple(taken) == every:
            return self._timed(test, every)
        tables, shared = self._summed[test.text], self._shared[test.text]
        won = sum(
            (table[0] - table[count]) * (1 - shared + shared * part)
            for table, count, part in zip(tables, taken, self._parts(taken), strict=True)
        )
        estimate = max(tables[0][0] - won, LEAST * tables[0][0])
        return 1 / estimate if grows else estimate

    def _sharing(self, tables: Sequence[Sequence[float]], last: float) -> float:
        """β, from what a clock reads with all steps taken."""
        wins = [table[0] - table[-1] for table in tables]
        parts = self._parts([len(queue.steps) for queue in self.queues])
        differ = sum(win * (1 - part) for win, part in zip(wins, parts, strict=True))
        if abs(differ) <= LEAST * tables[0][0]:
            return 1.0
        return min(1.0, max(-1.0, (last - tables[0][0] + sum(wins)) / differ))

    def _parts(self, taken: Taken) -> list[float]:
        """Of each queue, the products that its steps remove after those of the queues before, as a part of what they
        remove from the whole network; 0 where it loses nothing."""
        left, parts = self._products.copy(), []
        for queue, count in enumerate(taken):
            here = sum(left.take(step) for step in self.queues[queue].steps[:count])
            alone = self._alone(queue)[count]
            parts.append(here / alone if alone else 0.0)
        return parts

    def _alone(self, queue: int) -> Sequence[float]:
        """The products that 0, 1, … steps of a queue remove from the whole network."""
        if queue not in self._removed_alone:
            left, sums = self._products.copy(), [0.0]
            for step in self.queues[queue].steps:
                sums.append(sums[-1] + left.take(step))
            self._removed_alone[queue] = sums
        return self._removed_alone[queue]


def looked_at(steps: int) -> list[int]:
    """The numbers of steps at which a table of this many steps is read, from none to all."""
    if steps < LONG:
        return list(range(steps + 1))
    return [round(steps * point / (POINTS - 1)) for point in range(POINTS)]
