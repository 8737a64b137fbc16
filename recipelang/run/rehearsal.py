"""The walk rehearsed: the same walk as that of the run, with a worker that reads the store and does nothing.

After a step that must run, a lane's network is not known yet (`current` is None); only its architecture so far is
known. What depends on it, such as how often a block runs or which variant is chosen, is left open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from recipelang.errors import Diagnostic, MachineFailed, Refusal, StepFailed
from recipelang.kinds import Dataset, Progress, Quiet
from recipelang.kinds.figure import words
from recipelang.plan import (
    Branch,
    Built,
    Expected,
    Made,
    Named,
    Node,
    Opened,
    Operation,
    Repeat,
    Reported,
    Returned,
    Seeded,
    Step,
    Tasked,
    Written,
    alters,
    compresses,
    steps_of,
)
from recipelang.run import left_out
from recipelang.run.building import build
from recipelang.run.controls import Controls
from recipelang.run.expectations import Expectations
from recipelang.run.foreseen import Foreseen, Told
from recipelang.run.foresight import fit_schedules, foresee
from recipelang.run.lanes import Lane
from recipelang.run.options import Options
from recipelang.run.retraining import on_data
from recipelang.run.store import Store
from recipelang.run.stored import ABOVE, StoredNumbers, StoredReadings, StoredSteps, Unknown
from recipelang.run.timing import Times
from recipelang.run.walk import EXHAUSTED, Walk
from recipelang.surgery.network import Network
from recipelang.training.spending import foreseen, settled

#: refusals that mean that the recipe is wrong, and not the machine or a file
RECIPE_IS_WRONG = ("RCP0703", "RCP0716", "RCP0821", "RCP0822", "RCP0823", "RCP0911")
OUT_OF_REACH = "RCP0904"


class Rehearsal(Walk):
    """Walks a plan without doing anything.

    Attributes:
        told: what is known about each step and block, by its identity, in order of the lanes that reached it.
        problems: what will fail, other than candidates of a `choose`, which only lose; and whether it is hopeless,
            known without running anything: the model as built does not fit the recipe or its only path.
    """

    def __init__(self, options: Options, timed: bool, progress: Progress | None = None) -> None:
        """`timed`: whether to estimate times, which costs a few steps of training."""
        self.options, self.timed = options, timed
        self.times = Times(options, progress or Quiet())
        self.told: dict[int, list[Told]] = {}
        self.problems: dict[Diagnostic, bool] = {}
        self._open_ended = 0  # blocks of `repeat until` and `repeat while` around this point
        store = Store(options.store or Path(".recipe"), looks_only=True)
        silent, data = Quiet(), dict[str, Dataset]()
        numbers = StoredNumbers(store, options, silent)
        readings = StoredReadings(numbers, options, data, lambda: self.lanes, lambda lane: self.controls.of(lane))
        super().__init__(StoredSteps(options, store, silent, readings, data, Path()), readings, Expectations(readings))
        self.controls = Controls(self.worker)
        self.lanes = [Foreseen()]

    def begin(self, nodes: tuple[Node, ...]) -> None:
        """What holds for the whole plan."""
        self.worker.begin(nodes)
        self.times.task = self.worker.task

    def tell(self, node: object, told: Told) -> None:
        """Note what is known about a step or a block."""
        self.told.setdefault(id(node), []).append(told)

    # steps ------------------------------------------------------------------------------------

    def step(self, step: Step, lanes: list[Lane], filters: bool) -> list[Lane]:
        """Note what a step would do on every lane."""
        writes = step.operation.needs().writes
        if isinstance(writes, Seeded | Expected):
            self.tell(step, Told("notes", "what follows runs once per seed" if isinstance(writes, Seeded) else ""))
            return super().step(step, lanes, filters)
        if isinstance(writes, Written):
            return self._write(step, writes, lanes, filters)
        work = self._work if isinstance(writes, Made | Built) else self._book
        for lane in lanes:
            if lane.error:
                continue
            assert isinstance(lane, Foreseen)
            try:
                self.tell(step, work(step, lane))
            except MachineFailed:
                raise
            except StepFailed as failed:
                self._fails(step, lane, failed.diagnostics[0], filters)
            except Refusal as refusal:
                self._fails(step, lane, refusal.at(step.span, step.path), filters)
        return lanes

    def _write(self, step: Step, written: Written, lanes: list[Lane], filters: bool) -> list[Lane]:
        """Note which networks an export would refuse."""
        exports = left_out.foreseen(step, written.formats, lanes)  # type: ignore[arg-type]
        for _, lane, refusal in exports.failed():
            self._fails(step, lane, refusal.at(step.span, step.path), filters)  # type: ignore[arg-type]
        if exports.written:
            self.tell(step, Told("notes", details=exports.notes()))
        return lanes

    def _fails(self, step: Step, lane: Foreseen, error: Diagnostic, filters: bool) -> None:
        """The lane ends here; a problem, unless it is how a block ends, or the lane only loses a choice."""
        lane.error = error
        if error.code in EXHAUSTED and self._open_ended:
            return
        self.tell(step, Told("fails", error.message))
        if error.code == "RCP0703" or not filters:
            fatal = error.code in RECIPE_IS_WRONG or not (lane.path or error.code == OUT_OF_REACH)
            self.problems.setdefault(error, fatal and not lane.altered)

    def _book(self, step: Step, lane: Foreseen) -> Told:
        """A step that leaves no new network."""
        match step.operation.needs().writes:
            case Opened():
                self.worker.step(step, lane)
                return Told("notes", lane.steps[-1].note)
            case Tasked() | Reported():
                self.worker.step(step, lane)
            case Named(name=name):
                if lane.current:
                    self.worker.step(step, lane)
                else:
                    lane.named.pop(name, None)
                    lane.remember(name, lane.network)
            case Returned(state=name):
                lane.current = lane.state(name)
                lane.network = self._known(lane, name) or lane.network
                lane.altered = lane.current is not None and name != "healthy"
        return Told("notes")

    def _work(self, step: Step, lane: Foreseen) -> Told:
        """A step that makes a network: stored, or still to run; reports what it would find.

        Raises:
            Refusal: it will fail on this network.
        """
        operation, writes = step.operation, step.operation.needs().writes
        if (samples := operation.needs().trains_on) and samples.source:
            lane.in_place = (*lane.in_place, on_data(samples))
        built = writes if isinstance(writes, Built) else None
        if compresses(operation):
            self.worker.settle_healthy(lane)
            if "healthy" not in lane.models:
                lane.remember("healthy", lane.network)
        try:
            if not built and (lane.current is None or self._missing(operation, lane)):
                raise Unknown(ABOVE)
            self.worker.step(step, lane)
        except Unknown as unknown:
            why = str(unknown)
            return self._must_build(built, lane, why) if built else self._must_run(operation, lane, why)
        if built:
            details = tuple(filter(None, [lane.steps[-1].note]))
        else:  # a stored step was possible; its details are given only for a plan that is printed
            details = self._details(operation, lane) if self.timed else ()
        if not (built and built.name):
            lane.network = self.readings.network(lane.current)  # type: ignore[arg-type]
            lane.altered |= alters(operation)
        return Told("stored", words(lane.steps[-1].reached), details)

    def _missing(self, operation: Operation, lane: Lane) -> bool:
        """Whether a state that it reads is not known yet."""
        return any(lane.state(name) is None for name in operation.needs().states)

    def _details(self, operation: Operation, lane: Foreseen) -> tuple[str, ...]:
        """What a step finds on the network, as far as that is known."""
        if lane.network is None:
            return ()
        return foresee(operation, lane.network, partial(self._known, lane), self.times)

    def _known(self, lane: Foreseen, name: str) -> Network | None:
        """The network of a state, or what is known of its architecture."""
        state = lane.state(name)
        return self.readings.network(state) if state else lane.models.get(name)

    def _must_build(self, built: Built, lane: Foreseen, reason: str) -> Told:
        network, note = build(built.method, self.worker.datasets, lane.seed, self.options, built.name, self.worker.task)
        if built.name:
            lane.remember(built.name, network)
        else:
            lane.network, lane.current = network, None
        return Told("runs", reason, (note,) if note else ())

    def _must_run(self, operation: Operation, lane: Foreseen, reason: str) -> Told:
        data, needs = self.worker.datasets.get(""), operation.needs()
        details: tuple[str, ...] = ()
        estimate = None
        if lane.network:
            other = self._known(lane, needs.spends) if needs.spends and not lane.supposed else None
            details, needs = foreseen(needs, lane.network, other), settled(needs, lane.network, other)
        if data:
            details = (*details, *fit_schedules(needs, data))
        if lane.network:
            details = (*self._details(operation, lane), *details)
            known = partial(self._known, lane)
            estimate = self.times.of(operation, lane.network, data, known) if self.timed else None
            if estimate and lane.supposed:
                estimate = replace(estimate, guess=True)
            lane.supposed |= alters(operation)
            if needs.searches and self.timed:
                details = (*details, f"{needs.searches} tries networks first: the time of that is not included")
        if needs.restriction:
            lane.recovered = None
            lane.remember("recovered", lane.network)
        for name in needs.beside:
            lane.named.pop(name, None)
            lane.models = {other: network for other, network in lane.models.items() if other != name}
        lane.current = None
        return Told("runs", reason, details, estimate)

    # variants ---------------------------------------------------------------------------------

    def fits(self, group: list[Lane]) -> bool:
        """Whether a variant can be chosen, if that is known."""
        if any(lane.current is None or lane.unjudged for lane in group if not lane.error):  # type: ignore[attr-defined]
            raise Unknown(ABOVE)
        return super().fits(group)

    def first(self, branch: Branch, following: Sequence[Step], choose: Step, lanes: list[Lane]) -> list[Lane]:
        """`choose first`, as far as it is known; if it is not, any variant may have to run."""
        try:
            chosen = super().first(branch, following, choose, lanes)
            self.tell(choose, Told("notes"))
            return chosen
        except Unknown:
            seen = [v for v in branch.variants if any(id(step) in self.told for step in steps_of(v.body))]
            for variant in branch.variants[len(seen) :]:
                self.walk(variant.body, self._enter(variant, lanes), True)
            return self._open(choose, lanes, lanes)

    def best(self, choose: Step, ends: list[Lane], lanes: list[Lane]) -> list[Lane]:
        """`choose by METRIC`, if every candidate is known."""
        try:
            chosen = super().best(choose, ends, lanes)
            self.tell(choose, Told("notes"))
            return chosen
        except Unknown:
            return self._open(choose, ends, lanes)

    def _open(self, choose: Step, ends: list[Lane], lanes: list[Lane]) -> list[Lane]:
        """Which variant continues is known only by running; the first one's architecture represents it."""
        self.tell(choose, Told("notes", "known by running"))
        for lane in ends:
            lane.lost = True
        network = next((lane.network for lane in ends if not lane.error), None)  # type: ignore[attr-defined]
        onward: list[Lane] = [lane.fork(current=None, recovered=None, network=network) for lane in lanes]
        self.lanes += onward
        return onward

    def expect(self, step: Step, lanes: list[Lane], filters: bool) -> None:
        """Judge what can be judged."""
        try:
            super().expect(step, lanes, filters)
        except Unknown:
            for lane in lanes:
                lane.unjudged |= filters  # type: ignore[attr-defined]

    # repeat -----------------------------------------------------------------------------------

    def repeat(self, repeat: Repeat, lane: Lane, filters: bool) -> None:
        """Walk the rounds that the store has; after them nothing is known."""
        self._open_ended += repeat.times is None
        try:
            super().repeat(repeat, lane, filters)
        except Unknown as unknown:
            lane.current = None
            if not any(id(step) in self.told for step in steps_of(repeat.body)):
                self.walk(repeat.body, [lane], filters)
            self.tell(repeat, Told("runs", f"the number of rounds is known by running: {unknown}"))
        except Refusal as refusal:
            self.tell(repeat, Told("fails", refusal.message))
            if not filters:
                self.problems.setdefault(refusal.at(repeat.span, repeat.path), False)
            raise
        finally:
            self._open_ended -= repeat.times is None

    def round(self, repeat: Repeat, lane: Lane, filters: bool) -> None:
        """Walk the body once.

        Raises:
            Unknown: a step of it must run.
        """
        super().round(repeat, lane, filters)
        if lane.current is None and not lane.error:
            raise Unknown(ABOVE)
