"""The walk through a plan: its nodes, visited by lanes.

lanes = [one lane]
for node in plan.nodes:
    Step      every lane takes the step; what the store holds is read, not done again
    Branch    every lane forks once per variant; each fork walks the variant's body; `choose` picks among the ends
    Repeat    every lane walks the body as often as its condition says

A lane that fails ends with its diagnostic, and the others continue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from recipelang.budgets.conditions import judge
from recipelang.errors import Diagnostic, MachineFailed, Refusal, StepFailed
from recipelang.kinds.figure import Figure, words
from recipelang.plan import Branch, Condition, Expected, Node, Repeat, Seeded, Step, Variant
from recipelang.run.choices import open_branch, reading_of, up_to_choice
from recipelang.run.evaluate import Readings, mean
from recipelang.run.expectations import Expectations
from recipelang.run.lanes import Lane, StepRecord, by_variant
from recipelang.run.worker import Worker

LIMIT = 1000  # rounds of one `repeat until` or `repeat while`
#: refusals that mean "nothing is left to remove": the natural end of a `repeat while`
EXHAUSTED = ("RCP0910", "RCP0911")


class Walk:
    """Walks a plan. Keeps the lanes that ended, for the report, in order of the recipe."""

    def __init__(self, worker: Worker, readings: Readings, expectations: Expectations) -> None:
        self.worker, self.readings, self.expectations = worker, readings, expectations
        self.lanes: list[Lane] = []

    def walk(self, nodes: Sequence[Node], lanes: list[Lane], filters: bool = False) -> list[Lane]:
        """Take the lanes through the nodes.

        Args:
            nodes: of the file, or of a block.
            lanes: where to start; one per seed.
            filters: whether a `choose` after these nodes filters by the `expect` among them.

        Returns:
            the lanes at the end: those of every variant, if no `choose` has decided.
        """
        rest = tuple(nodes)
        while rest:
            node, rest = rest[0], rest[1:]
            if isinstance(node, Branch):
                following, choose, rest = up_to_choice(rest)
                lanes = self._variants(node, following, choose, lanes, filters)
            elif isinstance(node, Repeat):
                for lane in lanes:
                    self._guarded(lane, node, lambda lane=lane, node=node: self.repeat(node, lane, filters))  # type: ignore[misc]
            else:
                lanes = self.step(node, lanes, filters)
        return lanes

    # one step ---------------------------------------------------------------------------------

    def step(self, step: Step, lanes: list[Lane], filters: bool) -> list[Lane]:
        """Take every lane that has not failed through a step."""
        writes = step.operation.needs().writes
        if isinstance(writes, Seeded):
            forked = [lane.fork(seed=seed, seeded=True) for lane in lanes for seed in writes.values]
            self._replace(lanes, forked)
            return forked
        if isinstance(writes, Expected):
            self.expect(step, lanes, filters)
            return lanes
        for lane in lanes:
            self._guarded(lane, step, lambda lane=lane: self.worker.step(step, lane))  # type: ignore[misc]
        return lanes

    def _guarded(self, lane: Lane, node: Step | Repeat, work: Callable[[], None]) -> None:
        """Do the work on the lane unless it has failed; if the work fails, the lane ends with the diagnostic."""
        if lane.error:
            return
        try:
            work()
        except MachineFailed:
            raise
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

    def _variants(
        self, branch: Branch, following: Sequence[Step], choose: Step | None, lanes: list[Lane], filters: bool
    ) -> list[Lane]:
        """Take the lanes through variants, and through the steps after them up to the choice."""
        if all(lane.error for lane in lanes):
            return lanes
        for lane in lanes:
            self.worker.settle_healthy(lane)
        if choose and reading_of(choose) is None:
            return self.first(branch, following, choose, lanes)
        inside = filters or choose is not None
        ends = [
            end for variant in branch.variants for end in self.walk(variant.body, self._enter(variant, lanes), inside)
        ]
        for step in following:
            ends = self.step(step, ends, inside)
        return self.best(choose, ends, lanes) if choose else ends

    def _enter(self, variant: Variant, lanes: list[Lane]) -> list[Lane]:
        """The lanes of a variant, one per seed, before its first step."""
        self.worker.progress.say(f"variant {variant.name}")
        parameters = dict(variant.parameters)
        forks = [
            lane.fork(
                path=(*lane.path, variant.name),
                parameters={**lane.parameters, **parameters},
                origin=None,
                chosen=False,
            )
            for lane in lanes
        ]
        self._replace(lanes, forks)
        return forks

    def first(self, branch: Branch, following: Sequence[Step], choose: Step, lanes: list[Lane]) -> list[Lane]:
        """`choose first`: run variants in order until one meets every `expect`; the rest are not run."""
        tried: list[Lane] = []
        for ends in self._one_by_one(branch, lanes):
            for step in following:
                ends = self.step(step, ends, True)
            tried += ends
            if self.fits(ends):
                return self._go_on(ends, tried, lanes)
        return self._none_fits(choose, tried, lanes)

    def _one_by_one(self, branch: Branch, lanes: list[Lane]) -> Iterator[list[Lane]]:
        """The ends of the variants and of variants inside them, each walked when it is requested."""
        for variant in branch.variants:
            forks, rest = self._enter(variant, lanes), variant.body
            if rest and (inner := open_branch(rest)) is not None:
                forks = self.walk(rest[:inner], forks, True)
                for lane in forks:
                    self.worker.settle_healthy(lane)
                for ends in self._one_by_one(rest[inner], forks):  # type: ignore[arg-type]
                    yield self.walk(rest[inner + 1 :], ends, True)
            else:
                yield self.walk(rest, forks, True)

    def best(self, choose: Step, ends: list[Lane], lanes: list[Lane]) -> list[Lane]:
        """`choose by METRIC`: the best of the variants that meet every `expect`; of equals, the first."""
        reading = reading_of(choose)
        assert reading is not None  # else `first` decides
        best: tuple[float, list[Lane]] | None = None
        for group in filter(self.fits, by_variant(ends).values()):
            try:
                value = mean([self.readings.value(reading, lane) for lane in group]).value
            except Refusal as refusal:
                group[0].error = refusal.at(choose.span, choose.path)
                continue
            rank = value if reading.metric.better == "lower" else -value
            if best is None or rank < best[0]:
                best = (rank, group)
        return self._go_on(best[1], ends, lanes) if best else self._none_fits(choose, ends, lanes)

    def fits(self, group: list[Lane]) -> bool:
        """Whether a variant, one lane per seed, can be chosen."""
        return all(lane.fits and not lane.error for lane in group)

    def _go_on(self, group: list[Lane], candidates: list[Lane], before: list[Lane]) -> list[Lane]:
        """All candidates stay in the report; what follows happens on new lanes, named as before."""
        self.worker.progress.say(f"chose {group[0].name}")
        for lane in candidates:
            lane.lost = True
        for lane in group:
            lane.lost, lane.chosen, lane.passed = False, True, True
        path, parameters = before[0].path, before[0].parameters
        onward = [
            lane.fork(path=path, parameters=dict(parameters), origin=lane, chosen=False, passed=False) for lane in group
        ]
        self.lanes += onward
        return onward

    def _none_fits(self, choose: Step, candidates: list[Lane], before: list[Lane]) -> list[Lane]:
        """Nothing can be chosen: the lanes of the choice end here."""
        groups = by_variant(candidates)
        failed = [f"`{name}`" for name, group in groups.items() if any(lane.error for lane in group)]
        missed = [f"`{name}`" for name in groups if f"`{name}`" not in failed]
        parts = [f"{', '.join(failed)} failed"] if failed else []
        parts += [f"{', '.join(missed)} missed an `expect`"] if missed else []
        message = f"no variant can be chosen: {' and '.join(parts)}"
        help = "the report says by how much each one missed" if missed else "the report says why each one failed"
        error = Diagnostic("RCP0903", message, choose.span, help, choose.path)
        self.worker.progress.say(f"    failed: {message}")
        ended = [lane.fork(error=error) for lane in before]
        self.lanes += ended
        return ended

    # expect -----------------------------------------------------------------------------------

    def expect(self, step: Step, lanes: list[Lane], filters: bool) -> None:
        """Judge every variant that did not fail, and report the verdicts."""
        for lane in lanes:
            self.worker.settle_healthy(lane)
        for judged in self.expectations.judge(step, lanes, filters):
            mark = {True: "holds", False: "missed", None: "undecided"}[judged.holds]
            aside = "; ".join(filter(None, (judged.margin, judged.notes)))
            margin = f" ({aside})" if aside else ""
            self.worker.progress.say(f"    {step.text}: {mark}, {judged.text}{margin}")

    # repeat -----------------------------------------------------------------------------------

    def repeat(self, repeat: Repeat, lane: Lane, filters: bool) -> None:
        """Walk the body a number of times, until a budget holds, or as long as a guard does.

        Raises:
            Refusal: RCP0904: the budget is out of reach.
        """
        self.worker.settle_healthy(lane)
        rounds, why = 0, ""
        if repeat.guard and not self.holds(repeat.guard, lane, "likely"):
            why = "the guard did not hold at the start"
        while not why and rounds != repeat.times:
            if repeat.until and self.holds(repeat.until, lane, "surely"):
                break
            if repeat.times is None and rounds == LIMIT:
                raise Refusal("RCP0904", f"`{repeat.text}` still does not hold after {LIMIT} rounds", "ask for less")
            before, judged = lane.fork(), len(self.expectations.judged)
            self.round(repeat, lane, filters)
            if lane.error and (repeat.times is not None or lane.error.code not in EXHAUSTED):
                return
            stuck = bool(lane.error) or lane.current == before.current
            if repeat.until and stuck:
                lane.become(before)
                raise self._out_of_reach(repeat, lane)
            if repeat.guard and (stuck or not self.holds(repeat.guard, lane, "likely")):
                why = "nothing is left to remove" if stuck else "one more round broke the guard and was undone"
                lane.become(before)
                del self.expectations.judged[judged:]
            else:
                rounds += 1
        self._ended(repeat, lane, rounds, why)

    def round(self, repeat: Repeat, lane: Lane, filters: bool) -> None:
        """Walk the body once; if it chose among its own variants, the lane continues as the chosen one."""
        shown, judged = list(self.lanes), len(self.expectations.judged)
        after = self.walk(repeat.body, [lane], filters)[0]
        if after is not lane:
            lane.become(after)
            self.lanes = shown  # candidates have the same names in every round: they end with their round
            self.expectations.keep(judged, lane.name)

    def holds(self, condition: Condition, lane: Lane, how: str) -> bool:
        """Whether a condition holds for a lane; see `judge`."""
        return judge(condition, lambda reading: self.readings.value(reading, lane), how).holds

    def _out_of_reach(self, repeat: Repeat, lane: Lane) -> Refusal:
        """`repeat until` whose block has nothing left to change; its last result is kept."""
        assert repeat.until
        self.worker.leave_partial(lane)
        now = judge(repeat.until, lambda reading: self.readings.value(reading, lane), "surely").text
        message = f"`{repeat.text}` is out of reach: the block changes nothing more, at {now}"
        return Refusal("RCP0904", message, "ask for less")

    def _ended(self, repeat: Repeat, lane: Lane, rounds: int, why: str) -> None:
        """A record of how many rounds were done, and what ended them."""
        line = repeat.span.line if repeat.span else 0
        reached = (Figure(value=rounds, noun="round"),)
        lane.steps.append(StepRecord(repeat.verb, repeat.text, line, reached=reached, note=why))
        self.worker.progress.say(f"  {repeat.text}  {words(reached)}{': ' if why else ''}{why}")
