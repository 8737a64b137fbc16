"""What can be said about a step before it runs: what it finds on the network, and how far it can go."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torch import nn

from recipelang import stages
from recipelang.budgets.conditions import name_of
from recipelang.errors import Refusal
from recipelang.kinds import Dataset
from recipelang.meaning import schedules
from recipelang.measuring.flops import count as count_operations
from recipelang.plan import CURRENT, All, Condition, Needs, Operation, Reading, Test, tests_of
from recipelang.run.timing import Times
from recipelang.stages.context import Known
from recipelang.surgery.deployed import deployed
from recipelang.surgery.network import Network
from recipelang.surgery.selectors import resolve
from recipelang.surgery.tracing import example_input
from recipelang.training.asking import require_cacheable
from recipelang.training.machine import precision_note, precision_of
from recipelang.training.numbering import require_numbers
from recipelang.training.rates import decays, rates
from recipelang.training.windows import groups_of_epoch, steps_of_epoch
from recipelang.units import show

#: allowance for the error of a short measurement: only a budget further away than this is called out of reach
SURELY = 0.75


def foresee(operation: Operation, network: Network, known: Known, times: Times) -> tuple[str, ...]:
    """What a step will find on this network, in words; `known` gives networks of other states, `times` times networks.

    Raises:
        Refusal: the step cannot apply to this network, or its budget is out of reach however far it goes.
    """
    needs = operation.needs()
    if needs.criterion is not None and "batchnorm" in needs.criterion.needs and not _has_batchnorm(network.module):
        message = f"`{needs.criterion.name}` needs BatchNorm, and this network has none"
        raise Refusal("RCP0916", message, "`by magnitude` or `by taylor`")
    accompanied: tuple[str, ...] = ()
    for companion in needs.training.companions if needs.training else ():
        companion.require_network(network)
        accompanied += companion.foresee(network)
    if needs.training is not None:
        rates(network, needs.training)
        decays(network, needs.training)
        on_cpu = "cpu" if times.options.device == "cpu" else ""
        if on_cpu and needs.training.precision != "auto":
            precision_of(needs.training, "auto", network, on_cpu)
        accompanied += tuple(filter(None, (precision_note(needs.training, times.options.device),)))
    if needs.selection is not None:
        resolve(network.module, needs.selection)
    told = stages.foresee(operation, network, known)
    if told is None or told.limit is None or needs.until is None:
        return (*accompanied, *(told.found if told else ()))
    return (
        *accompanied,
        *told.found,
        *_budget(needs.until, Reach(told.limit, network, known("healthy") or network, times)),
    )


def _budget(until: Condition, reach: Reach) -> tuple[str, ...]:
    """How far each cost of a budget can be pushed."""
    lines = {test: _range(test, reach) for test in tests_of(until)}
    if not _could_hold(until, reach):
        failing = [test for test in lines if not _could_hold(test, reach)]
        message = f"`until {until.text}` is out of reach: {'; '.join(lines[test] for test in failing)}"
        if others := [f"`{test.text}`" for test in lines if test not in failing]:
            message += f"; {' and '.join(others)} can be met"
        raise Refusal("RCP0904", message, "ask for less, or allow more to be removed")
    return tuple(lines.values())


def _has_batchnorm(module: nn.Module) -> bool:
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())


@dataclass(frozen=True)
class Reach:
    """How far a statement can go: the network without candidates, the current one, the reference of ratios, a clock."""

    smallest: Network
    network: Network
    healthy: Network
    times: Times


@dataclass(frozen=True)
class Ends:
    """A reading with every candidate removed, and of the current network.

    Attributes:
        far, now: the two; `now` is None if it is not known.
        surely: a bound of the far end, for any error of the clock: no network can be better.
        how: "" if both are computed, else how they were found.
    """

    far: float
    now: float | None
    surely: float
    how: str = ""


def _range(test: Test, reach: Reach) -> str:
    """How far a budget can be pushed: computed for structure, measured for clocks, else estimated."""
    ends = _ends(test.reading, reach)
    if ends is None:
        return f"{name_of(test.reading)}: known by running"
    unit = "x" if test.reading.form == "ratio" else test.reading.metric.unit
    notes = [*([f"now {show(ends.now, unit)}"] if ends.now is not None else []), *([ends.how] if ends.how else [])]
    return f"{name_of(test.reading)} can reach {show(ends.far, unit)} ({', '.join(notes)})"


def _ends(reading: Reading, reach: Reach) -> Ends | None:
    """Both ends of a reading; None if only the run can tell."""
    if reading.subject != CURRENT or reading.form not in ("value", "ratio"):
        return None
    if reading.metric.source == "structure":
        return _computed(reading, reach)
    return _timed(reading, reach) if reading.metric.source == "clock" else None


def _computed(reading: Reading, reach: Reach) -> Ends | None:
    def cost(network: Network) -> float:
        return float(reading.metric.measure(deployed(network), network, network.input_shape).value)

    whole = cost(reach.healthy) if reading.form == "ratio" else 1.0
    if not whole:
        return None
    far = cost(reach.smallest) / whole
    return Ends(far, cost(reach.network) / whole, far)


def _timed(reading: Reading, reach: Reach) -> Ends | None:
    """The far end is the emptied network's own time; FLOPs predict it badly: what is left costs more per FLOP."""
    measured = reach.times.glance(reading.metric, reach.smallest, reach.healthy)
    more = reading.metric.better == "higher"
    if reading.form == "value":
        if measured is None:
            return None
        return Ends(measured.value, None, _surely(measured.low, measured.high, more), "measured briefly")
    now, far = (_estimated(network, reach.healthy, more) for network in (reach.network, reach.smallest))
    if measured is not None and measured.ratio and measured.ratio_low and measured.ratio_high:
        both = "the first measured briefly, the second an estimate from FLOPs"
        how = "measured briefly" if now in (1, None) else both
        return Ends(measured.ratio, now, _surely(measured.ratio_low, measured.ratio_high, more), how)
    return Ends(far, now, math.inf if more else 0.0, "an estimate from FLOPs") if far is not None else None


def _surely(low: float, high: float, more: bool) -> float:
    """What no network can be better than, from the interval of a brief measurement."""
    return high / SURELY if more else SURELY * low


def _estimated(network: Network, healthy: Network, more: bool) -> float | None:
    """The ratio of FLOPs to healthy, or that of images a second; None if part of a network cannot be counted."""
    mine, whole = _flops(network), _flops(healthy)
    if mine is None or not whole:
        return None
    if more:
        return whole / mine if mine else None
    return mine / whole


def _flops(network: Network) -> float | None:
    """FLOPs of an image; None if part of the network cannot be counted, which is no reason to refuse a clock."""
    try:
        return float(count_operations(deployed(network), example_input(network, batch=1)).flops)
    except Refusal:
        return None


def _could_hold(condition: Condition, reach: Reach) -> bool:
    """False only if numbers prove that the budget cannot hold; close cases of clocks are left to the run."""
    if not isinstance(condition, Test):
        combine = all if isinstance(condition, All) else any
        return combine(_could_hold(inner, reach) for inner in condition.tests)
    toward = (">", ">=") if condition.reading.metric.better == "higher" else ("<", "<=")
    if isinstance(condition.bound, Reading) or condition.operator not in toward:
        return True
    ends = _ends(condition.reading, reach)
    if ends is None or ends.surely == condition.bound:
        return ends is None or condition.operator in ("<=", ">=")
    return (ends.surely > condition.bound) == (">" in condition.operator)


def fit_schedules(needs: Needs, data: Dataset) -> tuple[str, ...]:
    """Compare the ramps and schedules of a step's training, if it trains, with its length on this data; and what its
    losses ask of the data with what it offers.

    Returns:
        how many batches its steps have, where that is more than one; how its target is reached, where it has one; and
        which companions it is too short for.

    Raises:
        Refusal: RCP0312: a milestone, a warm-up or an update comes after its end; RCP1500: a loss remembers samples,
            and the data does not number them; RCP1523, RCP1524: the answers of teachers cannot be kept.
    """
    if needs.training is None:
        return ()
    require_numbers(needs.training, data)
    samples = needs.trains_on.count if needs.trains_on else None
    require_cacheable(needs.training, data, samples, len(needs.teachers))
    part = schedules.share(needs.training.duration, needs.rounds)
    per_epoch = steps_of_epoch(data, needs.training, samples)
    course = needs.training.course
    if needs.rounds > 1 and course:
        schedules.require_steps(course, part, per_epoch)
    schedules.fit(replace(needs.training, duration=part, course=course if needs.rounds == 1 else None), per_epoch)
    steps = round(part.steps(per_epoch))
    short = (companion.too_short(steps, per_epoch) for companion in needs.training.companions)
    grouped = groups_of_epoch(data, needs.training, samples)
    course_told = schedules.told(course, needs.training.duration, per_epoch) if course else ""
    return tuple(filter(None, (grouped, course_told, *short)))
