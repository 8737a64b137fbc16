"""The statements of a training: stretches before, between and after what happens at epochs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

from recipelang.migrating.finding import Findings, Statement, call, epochs, joined, percent, shown
from recipelang.migrating.timeline import SHORTEST, Pruning, Rate, Teaching, Timeline


def written(timeline: Timeline, findings: Findings) -> None:
    """Write the statements of a training."""
    _Writer(timeline, findings).write()


def merged(prunings: Iterable[Pruning]) -> list[Pruning]:
    """Those that differ only in their layers become one; sorted by their start."""
    found: list[Pruning] = []
    for one in prunings:
        same = next((number for number, other in enumerate(found) if other.like(one)), None)
        if same is None:
            found.append(replace(one, lines=(one.line,)))
            continue
        other = found[same]
        parts = dict.fromkeys(
            [*other.where.removeprefix("in ").split(", "), *one.where.removeprefix("in ").split(", ")]
        )
        found[same] = replace(other, where=f"in {', '.join(parts)}", lines=(*other.lines, one.line))
    return sorted(found, key=lambda one: (one.start, one.end))


class _Writer:
    """Walks from the first epoch to the last."""

    def __init__(self, timeline: Timeline, findings: Findings) -> None:
        self.timeline, self.findings = timeline, findings
        self.compressed = False

    def write(self) -> None:
        timeline, now = self.timeline, 0.0
        events = sorted(timeline.events, key=lambda event: event.at)
        prunings = merged(timeline.prunings)
        self.told_of_parts(prunings)
        last = max((one.end for one in prunings), default=0.0)
        for one in prunings:
            if one.start < now - SHORTEST:
                why = (
                    f"it prunes from epoch {shown(one.start)} to {shown(one.end)}, while another does; here one "
                    "follows the other, each with the epochs of its own"
                )
                self.findings.differs(one.line, one.name, why)
            self.stretch(now, one.start)
            self.pruned(one)
            now = max(now, one.end)
        for event in events:
            if event.at < last - SHORTEST:
                why = f"it begins at epoch {shown(event.at)}, before the pruning has ended; here it follows the pruning"
                self.findings.differs(event.line, event.name, why)
            self.stretch(now, event.at)
            for text in event.texts:
                self.say(text, (event.line,))
            self.compressed = True
            now = max(now, event.at)
        self.stretch(now, timeline.total)

    def told_of_parts(self, prunings: list[Pruning]) -> None:
        """Say what the cut into parts changes."""
        lasting = [one for one in prunings if one.end > one.start]
        if (lasting or self.timeline.events) and self.timeline.total:
            why = (
                "epochs count from the start of one training there; here each statement trains for its own part, and "
                "the optimizer's momentum begins again with it"
            )
            self.findings.differs(0, "", why)
        for teaching in self.timeline.teachings:
            for one in lasting:
                if teaching.start < one.end and one.start < teaching.end:
                    why = (
                        f"it distills also while line {one.line} prunes; here a pruning trains on the task's own loss, "
                        "and `distill` comes before and after it"
                    )
                    self.findings.differs(teaching.line, "distillation", why)
                    break

    def say(self, text: str, lines: tuple[int, ...]) -> None:
        self.findings.statements.append(Statement(text, lines))

    def stretch(self, start: float, end: float) -> None:
        """Training without pruning, cut where something changes."""
        if end - start <= SHORTEST:
            return
        marks = {start, end}
        laws: list[Rate | Teaching] = [*self.timeline.rates, *self.timeline.teachings]
        for one in laws:
            marks |= {mark for mark in (one.start, one.end) if start < mark < end}
        for warm, _ in self.warmups():
            marks -= {warm.end} if start <= warm.start else set()
        edges = sorted(marks)
        for left, right in zip(edges, edges[1:], strict=False):
            if right - left > SHORTEST:
                self.trained(left, right)

    def trained(self, start: float, end: float) -> None:
        teaching = next((one for one in self.timeline.teachings if one.start <= start and end <= one.end), None)
        laws: list[Rate | Teaching] = [*self.timeline.rates, *([teaching] if teaching else [])]
        lines = tuple(dict.fromkeys(one.line for one in laws if one.start < end))
        length = f"for {epochs(end - start)}"
        optimizer = self.optimizer(start, end)
        if teaching:
            self.say(joined(["distill from healthy", length, _with(teaching.loss, optimizer)]), lines)
        else:
            verb = "finetune" if self.compressed else "train"
            self.say(joined([verb, length, _with(optimizer, self.timeline.companion)]), lines)

    def pruned(self, one: Pruning) -> None:
        """A pruning, at once or during a training."""
        self.compressed = True
        amount = "" if one.final is None else percent(one.final)
        head = (
            f"prune {amount} {one.pattern}"
            if one.verb == "prune"
            else joined(["sparsify", one.pattern, f"to {amount}" if amount else ""])
        )
        by = f"by {one.by}" if one.by and not (one.verb == "sparsify" and one.by == "magnitude") else ""
        length = one.end - one.start
        if length <= SHORTEST or one.final is None:
            self.say(joined([head, by, _with(one.scope), one.where]), one.lines)
            if length > SHORTEST:
                self.trained(one.start, one.end)
            return
        every = one.every
        if every > length:
            self.findings.differs(one.line, one.name, "its updates are further apart than its epochs; here it has two")
            every = length / 2
        if one.initial >= one.final:
            why = f"it starts at {percent(one.initial)}, which is not below its end; here it starts at 0%"
            self.findings.differs(one.line, one.name, why)
            one = replace(one, initial=0.0)
        start = f"start={percent(one.initial)}" if one.initial else ""
        steps = f"every={epochs(every)}" if every else "every=1 step"
        over = one.over if "(" in one.over else call(one.over, start, steps)
        settings = _with(one.scope, self.optimizer(one.start, one.end))
        self.say(joined([head, by, f"over {over} for {epochs(length)}", settings, one.where]), one.lines)

    def warmups(self) -> Iterator[tuple[Rate, Rate]]:
        """Pairs of a rise from zero and what follows it, which one ramp says."""
        rates = sorted(self.timeline.rates, key=lambda rate: rate.start)
        for warm, after in zip(rates, rates[1:], strict=False):
            rises = warm.law == "linear" and warm.first == 0 and math.isclose(warm.last, after.first)
            if rises and math.isclose(warm.end, after.start) and after.law in ("linear", "cosine"):
                yield warm, after

    def optimizer(self, start: float, end: float) -> str:
        """The optimizer with the learning rate of a part; "" where nothing is known of either."""
        rate = self.rate(start, end)
        if not rate and not self.timeline.settings and self.timeline.optimizer == "sgd":
            return ""
        return call(self.timeline.optimizer, rate and f"lr={rate}", *self.timeline.settings)

    def rate(self, start: float, end: float) -> str:
        """The learning rate from an epoch to another, as a number or a ramp."""
        for warm, after in self.warmups():
            if math.isclose(warm.start, start) and math.isclose(after.end, end):
                return call(after.law, shown(after.first), _to(after.last), f"warmup={epochs(warm.end - warm.start)}")
        known = [rate for rate in sorted(self.timeline.rates, key=lambda rate: rate.start) if rate.start < end]
        active = [rate for rate in known if rate.start <= start + SHORTEST]
        if not known:
            return ""
        first = active[-1] if active else known[0]
        later = [rate for rate in known if rate.start > start + SHORTEST]
        if later and active:
            last = later[-1]
            values = first.value(start), last.value(end - SHORTEST)
            why = (
                f"the learning rate has several laws from epoch {shown(start)} to {shown(end)}, where there is one "
                "training here: a straight line from the first value to the last"
            )
            self.findings.differs(last.line, "", why)
            return shown(values[0]) if math.isclose(*values) else call("linear", shown(values[0]), _to(values[1]))
        return self.one_law(first, start, end)

    def one_law(self, rate: Rate, start: float, end: float) -> str:
        first = rate.value(start)
        if rate.law == "multistep":
            inside = [mark - start for mark in rate.at if start + SHORTEST < mark < end - SHORTEST]
            if not inside:
                return shown(first)
            return call(
                "multistep", shown(first), f"factor={shown(rate.factor)}", f"at=[{', '.join(map(shown, inside))}]"
            )
        last = rate.value(end)
        if rate.law == "constant" or math.isclose(first, last):
            return shown(first)
        whole = math.isclose(rate.start, start) and math.isclose(rate.end, end)
        if rate.law == "cosine" and not whole:
            why = f"of its cosine the part from epoch {shown(start)} to {shown(end)} has a curve of its own here"
            self.findings.differs(rate.line, "", why)
        return call(rate.law, shown(first), _to(last))


def _to(value: float) -> str:
    return f"to={shown(max(0.0, value))}"


def _with(*settings: str) -> str:
    """The clause `with`, without what is ""."""
    inside = ", ".join(setting for setting in settings if setting)
    return f"with {inside}" if inside else ""
