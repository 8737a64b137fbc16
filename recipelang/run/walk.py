"""The walk through a plan: its nodes, taken by lanes.

lanes = [one lane]
for node in plan.nodes:
    Step      every lane takes the step; what the store holds is read, not done again
    Branch    every lane forks once per variant; each fork walks the variant's body
    Repeat    every lane walks the body as often as its condition says
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from recipelang.errors import Diagnostic, Refusal, StepFailed
from recipelang.plan import Branch, Node, Repeat, Step, Variant
from recipelang.run.expectations import Expectations
from recipelang.run.lanes import Lane, by_variant
from recipelang.run.readings import Readings, mean
from recipelang.run.worker import Worker
from recipelang.stages.conditions import Value, judge
from recipelang.verbs.choose import Choose
from recipelang.verbs.expect import Expect

LIMIT = 1000  # iterations of one `repeat`


class Walk:
    """Walks a plan. Holds the lanes that ended, the expectations, and what the recipe asks of the report."""

    def __init__(self, worker: Worker, readings: Readings, expectations: Expectations) -> None:
        self.worker, self.readings, self.expectations = worker, readings, expectations
        self.lanes: list[Lane] = []  # every lane there is, for the report, in order of the recipe

    def walk(self, nodes: Sequence[Node], lanes: list[Lane]) -> list[Lane]:
        """Take the lanes through the nodes; the lanes that stand at the end."""
        base: list[Lane] | None = None  # the state before the first variant, while variants stand open
        skip = 0
        for index, node in enumerate(nodes):
            if index < skip:
                continue
            if isinstance(node, Branch):
                rest = nodes[index + 1 :]
                base_lanes = base if base is not None else lanes
                for lane in base_lanes:
                    self.worker.settle_healthy(lane)
                if _chooses_first(rest):
                    lanes, used = self._first_that_fits(node, base_lanes, rest)
                    skip = index + 1 + used
                    continue
                opened = self._branch(node.variants, base_lanes)
                lanes = opened if base is None else lanes + opened
                base = base_lanes
            elif isinstance(node, Repeat):
                for lane in _standing(lanes):
                    self._guarded(lane, lambda lane=lane, node=node: self._repeat(node, lane), node)  # type: ignore[misc]
            elif isinstance(node.operation, Choose):
                outer = base[0].path if base else ()
                lanes, base = self._choose(node, lanes, outer), None
            elif isinstance(node.operation, Expect):
                filters = any(isinstance(n, Step) and isinstance(n.operation, Choose) for n in nodes[index + 1 :])
                self._expect(node, lanes, filters)
            else:
                lanes = self._step(node, lanes)
        return lanes

    # one step ---------------------------------------------------------------------------------

    def _step(self, step: Step, lanes: list[Lane]) -> list[Lane]:
        if step.operation.verb == "seeds":
            forked = [lane.fork(seed=s, seeded=True) for lane in lanes for s in step.operation.values]
            self._replace(lanes, forked)
            return forked
        for lane in _standing(lanes):
            self._guarded(lane, lambda lane=lane: self.worker.step(step, lane), step)  # type: ignore[misc]
        return lanes

    def _guarded(self, lane: Lane, work: Callable[[], None], node: Step | Repeat) -> None:
        """Do the work; where it fails, the lane ends with the diagnostic and the others go on."""
        try:
            work()
        except StepFailed as failed:
            lane.error = failed.diagnostics[0]
        except Refusal as refusal:
            lane.error = refusal.at(node.span, node.path)
        if lane.error:
            self.worker.progress.stop()
            self.worker.progress.say(f"    failed: {lane.error.message}")

    def _replace(self, old: list[Lane], new: list[Lane]) -> None:
        gone = {id(lane) for lane in old}
        self.lanes = [lane for lane in self.lanes if id(lane) not in gone] + new

    # variants ---------------------------------------------------------------------------------

    def _branch(self, variants: Sequence[Variant], lanes: list[Lane]) -> list[Lane]:
        opened: list[Lane] = []
        for variant in variants:
            opened += self._enter(variant, lanes)
        return opened

    def _enter(self, variant: Variant, lanes: list[Lane]) -> list[Lane]:
        forks = [
            lane.fork(path=(*lane.path, variant.name), parameters={**lane.parameters, **dict(variant.parameters)})
            for lane in lanes
        ]
        self.worker.progress.say(f"variant {variant.name}")
        self._replace(lanes, forks)
        return self.walk(variant.body, forks)

    def _first_that_fits(self, branch: Branch, lanes: list[Lane], rest: Sequence[Node]) -> tuple[list[Lane], int]:
        """`choose first`: run variants in order until one meets every `expect` up to the choice.

        Returns:
            The lanes that go on, and how many nodes of `rest` this has dealt with.
        """
        at = next(i for i, n in enumerate(rest) if isinstance(n, Step) and isinstance(n.operation, Choose))
        choice = rest[at]
        for variant in branch.variants:
            candidates = self._enter(variant, lanes)
            for node in rest[:at]:
                if isinstance(node, Step) and isinstance(node.operation, Expect):
                    self._expect(node, candidates, True)
                elif isinstance(node, Step):
                    candidates = self._step(node, candidates)
            for name, group in by_variant(candidates).items():
                if all(not lane.error for lane in group) and self.expectations.met(name):
                    return self._go_on(group, lanes[0].path), at + 1
        raise StepFailed(self._nothing_fits(choice, branch.variants))

    def _choose(self, step: Step, lanes: list[Lane], outer: tuple[str, ...]) -> list[Lane]:
        """`choose by METRIC`: the best of the variants that stand and meet every `expect` above."""
        reading = step.operation.by
        best: tuple[float, list[Lane]] | None = None
        for name, group in by_variant(lanes).items():
            if any(lane.error for lane in group) or not self.expectations.met(name):
                continue
            try:
                value = mean([self.readings.value(reading, lane) for lane in group]).value
            except Refusal as refusal:
                raise StepFailed([refusal.at(step.span, step.path)]) from refusal
            rank = value if reading.metric.better == "lower" else -value
            if best is None or rank < best[0]:
                best = (rank, group)
        if best is None:
            raise StepFailed(self._nothing_fits(step, ()))
        self.worker.progress.say(f"chose {best[1][0].name}")
        return self._go_on(best[1], outer)

    def _go_on(self, group: list[Lane], outer: tuple[str, ...]) -> list[Lane]:
        """The chosen lanes stay as candidates in the report; what follows happens on lanes of their own."""
        for lane in group:
            lane.chosen = True
        onward = [lane.fork(path=outer, parameters={}, origin=lane, chosen=False) for lane in group]
        self.lanes += onward
        return onward

    def _nothing_fits(self, node: Node, variants: Sequence[Variant]) -> list[Diagnostic]:
        span, path = (node.span, node.path) if isinstance(node, Step) else (None, "")
        tried = ", ".join(f"`{v.name}`" for v in variants) or ", ".join(f"`{n}`" for n in by_variant(self.lanes))
        return [
            Diagnostic(
                "RCP0903",
                f"no variant can be chosen: {tried} failed or missed an `expect`",
                span,
                "the report says by how much each one missed",
                path,
            )
        ]

    # expect -----------------------------------------------------------------------------------

    def _expect(self, step: Step, lanes: list[Lane], filters: bool) -> None:
        """Judge each variant by its mean over seeds; a variant that failed is not judged."""
        for lane in _standing(lanes):
            self.worker.settle_healthy(lane)
        for name, group in by_variant(lanes).items():
            if any(lane.error for lane in group):
                continue
            condition = step.operation.condition

            def average(reading: object, group: list[Lane] = group) -> Value:
                return mean([self.readings.value(reading, lane) for lane in group])  # type: ignore[arg-type]

            try:
                verdict = judge(condition, average, "possibly")
                holds = sum(
                    judge(condition, lambda r, lane=lane: self.readings.value(r, lane), "possibly").holds  # type: ignore[misc]
                    for lane in group
                )
            except Refusal as refusal:
                raise StepFailed([refusal.at(step.span, step.path)]) from refusal
            self.expectations.add(step, name, verdict, f"{holds}/{len(group)}" if len(group) > 1 else "", filters)
            mark = "holds" if verdict.holds else "missed"
            self.worker.progress.say(
                f"    {step.text}: {mark}, {verdict.text}{' (inside the noise)' if verdict.marginal else ''}"
            )

    # repeat -----------------------------------------------------------------------------------

    def _repeat(self, repeat: Repeat, lane: Lane) -> None:
        """Walk the body so many times, until a budget holds, or as long as a guard does."""
        self.worker.settle_healthy(lane)
        if repeat.times is not None:
            for _ in range(repeat.times):
                self._once(repeat, lane)
                if lane.error:
                    return
            return
        for _ in range(LIMIT):
            if repeat.until and judge(repeat.until, lambda r: self.readings.value(r, lane), "surely").holds:
                return
            before = lane.fork()
            self._once(repeat, lane)
            stuck = lane.error is not None or lane.current == before.current
            if repeat.guard:
                held = not lane.error and judge(repeat.guard, lambda r: self.readings.value(r, lane), "likely").holds
                if stuck and lane.error and lane.error.code not in EXHAUSTED:
                    return
                if stuck or not held:
                    why = "nothing is left to remove" if stuck else "the last round broke the guard and was undone"
                    self._undo(lane, before, f"{repeat.text}: {why}")
                    return
            elif stuck:
                if lane.error is None or lane.error.code in EXHAUSTED:
                    raise self._out_of_reach(repeat, before)
                return
        raise Refusal("RCP0904", f"`{repeat.text}` still does not hold after {LIMIT} rounds", "ask for less")

    def _out_of_reach(self, repeat: Repeat, lane: Lane) -> Refusal:
        """`repeat until` whose block has nothing left to change."""
        now = judge(repeat.until, lambda r: self.readings.value(r, lane), "surely").text if repeat.until else ""
        message = f"`{repeat.text}` is out of reach: the block changes nothing more, and it stands at {now}"
        return Refusal("RCP0904", message, "ask for less")

    def _once(self, repeat: Repeat, lane: Lane) -> None:
        after = self.walk(repeat.body, [lane])
        if len(after) == 1 and after[0] is not lane:  # the body chose among variants of its own
            self._take_over(lane, after[0])

    def _take_over(self, lane: Lane, other: Lane) -> None:
        """Make a lane stand where another one stands."""
        for name, value in vars(other).items():
            setattr(lane, name, value)

    def _undo(self, lane: Lane, before: Lane, note: str) -> None:
        """Put the lane back to where it stood, and say why in its last record."""
        self._take_over(lane, before)
        if lane.steps:
            lane.steps[-1] = replace(lane.steps[-1], note="; ".join(filter(None, (lane.steps[-1].note, note))))
        self.worker.progress.say(f"    {note}")


#: refusals that mean "nothing is left to remove": the natural end of a `repeat while`
EXHAUSTED = ("RCP0910", "RCP0911")


def _standing(lanes: list[Lane]) -> list[Lane]:
    return [lane for lane in lanes if not lane.error]


def _chooses_first(rest: Sequence[Node]) -> bool:
    """Whether the next `choose` takes the first variant that fits, with no further variants before it."""
    for node in rest:
        if isinstance(node, Branch):
            return False
        if isinstance(node, Step) and isinstance(node.operation, Choose):
            return node.operation.by is None
    return False
