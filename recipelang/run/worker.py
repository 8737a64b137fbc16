"""Work on one lane: finds a step in the store or has its stage do it, and keeps the lane's records.

What a step leaves decides who does it (`plan.Effect`): a new network the stage of its verb, a built one the model's
method, and everything else `bookkeeping.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from recipelang import stages
from recipelang.errors import MachineFailed, Refusal, StepFailed, line_of
from recipelang.images.counted import counted
from recipelang.images.view import seen_by
from recipelang.kinds import Dataset, Progress, Task, figure
from recipelang.plan import (
    Built,
    Made,
    Node,
    Opened,
    Operation,
    Reading,
    Shown,
    Step,
    compresses,
    tests_of,
)
from recipelang.plugins import raised_by_one
from recipelang.run import keys, opening, outcomes, states
from recipelang.run.bookkeeping import note
from recipelang.run.building import build
from recipelang.run.contexts import context_of
from recipelang.run.costs import UNKNOWN, Spent
from recipelang.run.evaluate import Readings
from recipelang.run.following import Following
from recipelang.run.lanes import Lane, StepRecord
from recipelang.run.options import Options
from recipelang.run.retraining import repeated_by_control
from recipelang.run.states import State
from recipelang.run.store import Entry, Store, key_of
from recipelang.run.tasks import taken_together, task_of
from recipelang.stages.context import Outcome, OutOfReach
from recipelang.surgery.artifact import FILES
from recipelang.surgery.network import Network
from recipelang.surgery.raised import raised_by
from recipelang.surgery.restricting import broken
from recipelang.surgery.tasks import task_named
from recipelang.trouble import machine_trouble


@dataclass
class Worker:
    """Carries out steps.

    Attributes:
        options, store, progress: of the run.
        readings: reads metrics of lanes.
        datasets: opened data sets by name; "" is the recipe's first.
        task: of the recipe.
        partial: where the best candidate is saved if a budget is out of reach.
        following: tells trackers of each step.
        spent: notes what steps take.
        made, stored: how many steps were done, and how many were in the store.
    """

    options: Options
    store: Store
    progress: Progress
    readings: Readings
    datasets: dict[str, Dataset]
    partial: Path
    following: Following = field(default_factory=Following)
    task: Task = field(default_factory=task_named)
    made: int = 0
    stored: int = 0
    spent: Spent = field(init=False, repr=False)
    fresh: set[str] = field(default_factory=set)  # keys made again in this run, so that `--fresh` makes each once

    def __post_init__(self) -> None:
        self.spent = Spent(self.options.device, self.readings.read)

    def step(self, step: Step, lane: Lane) -> None:
        """Take a lane through a step.

        Raises:
            StepFailed: with the diagnostic at the step's line; MachineFailed if the machine stops the whole run.
        """
        began = time.monotonic()
        line = line_of(step.span)
        book = StepRecord(step.operation.verb, step.text, line, step.implied)
        self.following.enters(step.operation.verb, lane)
        try:
            record, cached = self._do(step, lane)
        except Refusal as refusal:
            raise StepFailed([refusal.at(step.span, step.path)]) from refusal
        except Exception as error:
            trouble = machine_trouble(error, step.span, step.path)
            if trouble is None and (theirs := raised_by_one(error)):
                trouble = theirs.at(step.span, step.path)
            if trouble is None:
                raise
            raise (MachineFailed if isinstance(error, OSError) else StepFailed)([trouble]) from error
        works = isinstance(step.operation.needs().writes, Made | Built | Shown)
        seconds = time.monotonic() - began if works and not cached else None
        shown = {f.name: record[f.name] for f in fields(StepRecord) if f.name in record}
        shown |= {name: figure.read(record[name]) for name in ("asked", "reached") if name in record}
        if works and "content" in record:
            shown["cost"] = record.get("cost") or UNKNOWN
        lane.steps.append(replace(book, seconds=seconds, cached=cached, **shown))
        self._say(step, lane.steps[-1], lane)
        self.following.leaves(lane)

    def begin(self, nodes: tuple[Node, ...]) -> None:
        """What holds for the whole plan: its task, and which metrics one pass over a split serves."""
        self.task = self.readings.measurer.task = task_of(nodes)
        self.readings.together = taken_together(nodes)

    def open_data(self, nodes: tuple[Node, ...], progress: Progress | None = None) -> None:
        """Open the recipe's data sets first, so that a model above its data is built for its classes as well.

        Raises:
            StepFailed: with the diagnostic at the data's line.
        """
        for step, asked in opening.asked(nodes):
            if asked.name not in self.datasets:
                said = progress or self.progress
                self.datasets[asked.name] = opening.opened(step, asked, self.options, self.task, said)

    def settle_healthy(self, lane: Lane) -> None:
        """`healthy` is the network before the first step that compresses; set once."""
        if lane.healthy is None and lane.current is not None:
            lane.healthy, lane.shared = lane.current, len(lane.steps)

    # dispatch ---------------------------------------------------------------------------------

    def _do(self, step: Step, lane: Lane) -> tuple[Mapping[str, Any], bool]:
        if compresses(step.operation):
            self.settle_healthy(lane)
        match step.operation.needs().writes:
            case Made():
                return self._stage(step, lane)
            case Built() as built:
                return self._build(step.operation, built, lane)
        return note(step, lane, self), False

    def _say(self, step: Step, record: StepRecord, lane: Lane) -> None:
        seed = f" [seed {lane.seed}]" if lane.seeded else ""
        took = f"  ({record.seconds:.1f} s)" if record.seconds is not None else ""
        state = "  (from the store)" if record.cached else took
        reached = f"  {figure.words(record.reached)}" if record.reached else ""
        told = record.note and isinstance(step.operation.needs().writes, Opened | Built)
        note = f"  {record.note}" if told else ""
        self.progress.say(f"  {record.text}{seed}{reached}{note}{state}")

    # work that the store keeps ----------------------------------------------------------------

    def obtain(
        self, ingredients: Mapping[str, Any], make: Callable[[Path], Mapping[str, Any]], files: list[str]
    ) -> tuple[Entry, bool]:
        """The entry with these ingredients, made by `make(work folder) -> record` if the store has none."""
        key = key_of(ingredients)
        with self.store.hold(key, lambda: self.progress.say("    another run is at this step; waiting for it")):
            again = self.options.fresh and key not in self.fresh
            entry = None if again else self.found(key)
            if entry:
                self.stored += 1
                return entry, key not in self.fresh
            why = self.store.why_again(key)
            if why:
                self.progress.say(f"    {why}; this step is done again")
            folder = self.store.work(key)
            with self.spent.noting(continued=any(folder.iterdir())) as cost:
                record = make(folder)
            record = {**record, "cost": cost}
            self.fresh.add(key)
            self.made += 1
            return self.store.finish(key, ingredients, record, files), False

    def found(self, key: str) -> Entry | None:
        """The entry of a step, if its record is that of a step; any other is discarded."""
        entry = self.store.find(key)
        if entry is not None and not outcomes.is_record(entry.record):
            self.store.disbelieve(key)
            return None
        return entry

    def _build(self, operation: Operation, built: Built, lane: Lane) -> tuple[Mapping[str, Any], bool]:
        ingredients = keys.built_ingredients(operation, built, self.datasets, lane, self.options, self.task)

        def make(folder: Path) -> Mapping[str, Any]:
            network, told = build(built.method, self.datasets, lane.seed, self.options, built.name, self.task)
            return {"content": states.save(network, folder).content, "note": told}

        entry, cached = self.obtain(ingredients, make, list(FILES))
        state = State(entry.record["content"], entry.folder)
        if built.name:
            lane.named[built.name] = state
        else:
            lane.current = state
        return entry.record, cached

    def ingredients(self, operation: Operation, lane: Lane) -> dict[str, Any]:
        """What determines a step on this lane; also sets `recovered` if the step restricts the hardware."""
        if lane.current is None:
            raise Refusal("RCP0908", f"there is no network to {operation.verb} yet", "write `model …` above")
        needs = operation.needs()
        if needs.restriction and lane.current.restricted != needs.restriction:
            lane.recovered = lane.current
        found = keys.step_ingredients(operation, self.seen(lane.current), lane, self.options, self.task)
        bounds = [
            self.readings.value(test.bound, lane).value
            for condition in needs.conditions
            for test in tests_of(condition)
            if isinstance(test.bound, Reading)
        ]
        return {**found, "bounds": bounds} if bounds else found

    def seen(self, state: State) -> Dataset:
        """The recipe's data as the network of a state sees it."""
        return seen_by(self.datasets[""], *states.interface(state))

    def _stage(self, step: Step, lane: Lane) -> tuple[Mapping[str, Any], bool]:
        operation = step.operation
        ingredients = self.ingredients(operation, lane)

        def make(folder: Path) -> Mapping[str, Any]:
            outcome = self._run(operation, lane, folder)
            if off := broken(outcome.network):
                raise Refusal(
                    "RCP0909",
                    f"`{operation.verb}` broke what restricts {', '.join(off[:3])}",
                    "please report this",
                )
            for name, network in outcome.beside.items():
                self._keep_beside(_beside(ingredients, name), network)
            content = states.save(outcome.network, folder).content
            return {"content": content, **outcomes.as_record(outcome)}

        beside = operation.needs().beside
        self.complete(ingredients, beside)
        entry, cached = self.obtain(ingredients, make, list(FILES))
        before: State = lane.current  # type: ignore[assignment]  # `ingredients` made sure
        trace = (*before.trace, *repeated_by_control(step, entry.record)) if lane.healthy else ()
        restricted = operation.needs().restriction or before.restricted
        lane.current = State(entry.record["content"], entry.folder, trace, restricted)
        for name in beside:
            other = self.store.find(key_of(_beside(ingredients, name)))
            if other is None:  # another program took it away in this moment
                raise Refusal("RCP0908", f"the network `{name}` beside this step is gone", "run it again")
            lane.leave(name, replace(lane.current, content=other.record["content"], folder=other.folder))
        return entry.record, cached

    def complete(self, ingredients: Mapping[str, Any], beside: tuple[str, ...]) -> None:
        """Do a step again of which a network that it leaves beside the current one is missing or damaged."""
        key = key_of(ingredients)
        if beside and self.store.place(key).is_dir():
            missing = [name for name in beside if self.store.find(key_of(_beside(ingredients, name))) is None]
            if missing:
                self.lacks(key, f"its network `{missing[0]}` is missing or altered")

    def lacks(self, key: str, why: str) -> None:
        """An entry cannot be used, since something that belongs to it is gone."""
        self.store.disbelieve(key, why)

    def _keep_beside(self, ingredients: Mapping[str, Any], network: Network) -> None:
        """An entry of its own for a network that a step leaves beside the current one."""
        key = key_of(ingredients)
        with self.store.hold(key):
            content = states.save(network, self.store.work(key)).content
            self.store.finish(key, ingredients, {"content": content}, list(FILES))

    def _run(self, operation: Operation, lane: Lane, folder: Path) -> Outcome:
        assert lane.current  # _stage made sure
        data = counted(self.seen(lane.current), self.readings.read)
        context = context_of(operation, lane, data, folder, self.readings, self.options, self.progress, self.task)
        try:
            with raised_by(context.network, operation.verb):
                return stages.run(operation, context)
        except OutOfReach as far:
            self.leave_partial(lane, far.outcome.network)
            raise
        finally:
            self.progress.stop()

    def leave_partial(self, lane: Lane, network: Network | None = None) -> None:
        """Save the best network found, or the lane's current one, if a budget was out of reach."""
        if network is None:
            assert lane.current
            network = self.readings.network(lane.current)
        folder = self.partial / lane.folder
        folder.mkdir(parents=True, exist_ok=True)
        states.save(network, folder)


def _beside(ingredients: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What determines a network that a step leaves beside the current one."""
    return {"beside": name, "of": dict(ingredients)}
