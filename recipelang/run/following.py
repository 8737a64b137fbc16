"""What a run tells its trackers: curves while it trains, what each step did, and the record at the end.

The run writes its own files first; trackers get what is in them. Each is in a thread of its own (`run/delivery.py`),
and what ends one ends tracking alone: `warnings` say so, on the terminal and in the record.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import spell
from recipelang.kinds import FAILED, FINISHED, INTERRUPTED, Progress, Scalar, TrackedRun, Tracker
from recipelang.plan import Branch, Named, Node, Plan, Repeat, Step, steps_of
from recipelang.run import told
from recipelang.run.delivery import Delivery
from recipelang.run.memory import Memory
from recipelang.run.options import Options

if TYPE_CHECKING:
    from recipelang.run.lanes import Lane  # it loads torch

#: seconds that an interrupted run waits for its trackers
INTERRUPTED_S = 10.0
#: seconds that a run waits for a tracker to begin
BEGIN_S = 5.0
#: of the environment of a run, what says nothing about the machine
_NO_TAG = ("date",)


def require(trackers: Iterable[Tracker]) -> None:
    """Refuse trackers whose libraries are not installed.

    Raises:
        Refusal: RCP1027.
    """
    for tracker in trackers:
        tracker.require()


class Following:
    """Tells trackers of one run. Without trackers, all of it does nothing.

    Args:
        deliveries: one for each tracker.
        memory: of what they were told.
        progress: where to say that one is told nothing more.

    Attributes:
        warnings: about trackers, in the order in which they came.
    """

    def __init__(
        self, deliveries: Sequence[Delivery] = (), memory: Memory | None = None, progress: Progress | None = None
    ) -> None:
        self.deliveries, self.warnings = tuple(deliveries), list[str]()
        self._memory, self._progress = memory, progress
        self._lane: Lane | None = None
        self._verb = ""
        self._training: dict[str, _Axis] = {}

    # while the run works ------------------------------------------------------------------------

    def progress(self, inner: Progress) -> Progress:
        """A progress whose curves are told as well; `inner` itself where nobody is told."""
        return _Heard(inner, self.measured) if self.deliveries else inner

    def enters(self, verb: str, lane: Lane) -> None:
        """A lane takes a step."""
        if self.deliveries:
            self._lane, self._verb, self._training = lane, verb, {}

    def measured(self, of: str, at: int, numbers: Mapping[str, Any]) -> None:
        """What a training of the current step says of itself; see `kinds.Progress`."""
        lane = self._lane
        if lane is None or not self._memory:
            return
        network, own = _place(lane)
        axis = self._training.get(of)
        if axis is None:
            axis = self._training[of] = _Axis(self._begins(of, network, own, lane))
        at, now = axis.at(at), time.time()
        if of == "epoch":
            self._points(network, told.epoch(self._verb, {**numbers, "epoch": at}, axis.begins, now))
        else:
            at += axis.begins
            self._memory.reached(f"{network}|{self._verb}", at)
            found = (Scalar(f"{self._verb}/step/{name}", float(x), at, now) for name, x in numbers.items())
            self._points(network, [point for point in found if told.finite(point.value)])

    def leaves(self, lane: Lane) -> None:
        """A lane has taken its step, which is the last of its records."""
        if not self.deliveries or not lane.steps:
            return
        network, own = _place(lane)
        if own:
            steps = [_as_told(step) for step in own]
            self._points(network, told.points(steps, since=len(steps) - 1))
        self._lane = None
        self._heed()

    def _begins(self, of: str, network: str, own: Sequence[Any], lane: Lane) -> int:
        """Where a training of the current step begins on its axis."""
        assert self._memory
        if of == "epoch":
            return told.epochs([_as_told(step) for step in own], self._verb)
        return self._memory.first(f"{network}|{self._verb}|{len(lane.steps)}", f"{network}|{self._verb}")

    def _points(self, network: str, found: Iterable[Scalar]) -> None:
        found = list(found)
        for delivery in self.deliveries:
            delivery.points(network, found)

    # at the end ---------------------------------------------------------------------------------

    def results(self, report: Mapping[str, Any]) -> None:
        """Tell the record: what was not told while the run worked, and what the networks are."""
        for found in told.networks(report):
            network = self._known(found.names)
            self._points(network, told.points(found.steps))
            for delivery in self.deliveries:
                delivery.call(
                    lambda session, network=network, found=found: session.network(  # type: ignore[misc]
                        network, found.params, found.results, found.tags
                    )
                )
        self._points("", told.compared(report))
        for delivery in self.deliveries:
            delivery.wait()
        self._heed()

    def files(self, folder: Path, files: Iterable[Path], report: Mapping[str, Any], status: str) -> None:
        """Give the files of the run, and let it end.

        Args:
            folder: the output folder.
            files: of the report.
            report: the record, for the folders of the networks.
            status: `FINISHED` or `FAILED`.
        """
        named = {path.name: path for path in (folder / "recipe.rcp", folder / "report.json", *files)}
        for delivery in self.deliveries:
            for name, path in named.items():
                if path.is_file():
                    delivery.call(lambda session, path=path, name=name: session.file(path, name))  # type: ignore[misc]
            if delivery.tracker.networks:
                for found in told.networks(report):
                    self._network_files(delivery, folder, found)
        self._finish(status, None)
        if self._memory:
            self._memory.ended()

    def stops(self, error: BaseException) -> None:
        """The run has ended before its end."""
        status = INTERRUPTED if isinstance(error, KeyboardInterrupt) else FAILED
        self._finish(status, INTERRUPTED_S)

    def _network_files(self, delivery: Delivery, folder: Path, found: told.NetworkResult) -> None:
        network, place = self._known(found.names), folder / found.folder
        for path in sorted(place.rglob("*")) if found.folder else ():
            if path.is_file():
                name = f"network/{path.relative_to(place).as_posix()}"
                delivery.call(
                    lambda session, path=path, name=name: session.file(path, name, network)  # type: ignore[misc]
                )

    def _finish(self, status: str, seconds: float | None) -> None:
        for delivery in self.deliveries:
            delivery.call(lambda session: session.finish(status))
        for delivery in self.deliveries:
            delivery.wait(seconds)
            delivery.end()
        self._heed(last=True)
        for delivery in self.deliveries:
            if said := delivery.close(status):
                self._warn(f"tracking with {delivery.name}: {said}")

    def _known(self, names: Sequence[str]) -> str:
        """The name under which a network was told of while the run worked, else the likeliest."""
        seen = {network for delivery in self.deliveries for network in delivery.networks}
        return next((name for name in names if name in seen), names[0])

    def _heed(self, last: bool = False) -> None:
        """Say once of each tracker why it is told nothing more, or was told less."""
        for delivery in self.deliveries:
            delivery.look()
            why = f"{delivery.trouble}; the run goes on without it" if delivery.trouble else ""
            for said in filter(None, (why, delivery.slow if last else "")):
                self._warn(f"tracking with {delivery.name}: {said}")

    def _warn(self, warning: str) -> None:
        if warning not in self.warnings:
            self.warnings.append(warning)
            if self._progress:
                self._progress.say(f"  warning: {warning}")

    @property
    def places(self) -> list[str]:
        """Where the user finds the run, one line for each tracker that has it."""
        return [f"{one.name}: {one.where}" for one in self.deliveries if one.where and not one.trouble]


def begin(plan: Plan, options: Options, folder: Path, progress: Progress, environment: Mapping[str, Any]) -> Following:
    """Begin to tell the trackers of the options of a run, or go on where an interrupted one left off.

    Args:
        folder: the output folder.
        environment: the machine and the versions on it.

    Raises:
        Refusal: RCP1027: the library of one is not installed.
    """
    if not options.tracking:
        return Following()
    require(options.tracking)
    params = {**_statements(plan.nodes), **_settings(options)}
    identity = hashlib.sha256(json.dumps([plan.text, params], sort_keys=True).encode()).hexdigest()
    memory = Memory(folder, identity)
    tags = {name: str(value) for name, value in environment.items() if name not in _NO_TAG}
    tags |= {"recipe": plan.name, "recipe sha256": hashlib.sha256(plan.text.encode()).hexdigest()}
    if states := [one.name for step in steps_of(plan.nodes) if isinstance(one := _effect(step), Named)]:
        tags["states"] = ", ".join(dict.fromkeys(states))
    deliveries = []
    for tracker in options.tracking:
        key = f"{tracker.name} {hashlib.sha256(spell(tracker).encode()).hexdigest()[:12]}"  # it may hold a password
        run = TrackedRun(plan.name, folder.name, plan.text, folder, params, tags, memory.token(key))
        deliveries.append(Delivery(tracker.name, key, tracker, run, memory))
    for delivery in deliveries:
        delivery.settle(BEGIN_S)
    return Following(deliveries, memory, progress)


def _effect(step: Step) -> Any:
    return step.operation.needs().writes


def _statements(nodes: Sequence[Node]) -> dict[str, str]:
    """The statements of a plan by number and verb, those of variants and repeats under their own."""
    found: dict[str, str] = {}

    def walk(nodes: Sequence[Node], within: str) -> None:
        for number, node in enumerate(nodes, 1):
            place = f"{within}{number:02}"
            if isinstance(node, Branch):
                for variant in node.variants:
                    walk(variant.body, f"{place} {variant.name} ")
            elif isinstance(node, Repeat):
                found[f"{place} repeat"] = node.text
                walk(node.body, f"{place}.")
            else:
                found[f"{place} {node.operation.verb}"] = node.text

    walk(nodes, "")
    return found


def _settings(options: Options) -> dict[str, str]:
    """The options of a run that are no places."""
    return {"device": options.device, "threads": str(options.threads), "smoke": str(options.smoke).lower()}


def _place(lane: Lane) -> tuple[str, Sequence[Any]]:
    """The name of a lane's network, as the report will have it, and the steps that are its own."""
    seed = lane.seed if lane.seeded else None
    if lane.healthy is None:
        return told.title("healthy", seed), lane.steps
    name = f"control of {lane.control_of[0]}" if lane.control_of else lane.name
    return told.title(name, seed), lane.steps[lane.shared :]


def _as_told(step: Any) -> Mapping[str, Any]:
    """A record of a step by the names that it has in a report."""
    return {name: getattr(step, name) for name in ("verb", "history", "reached", "metrics", "cost")}


class _Axis:
    """The axis of the curves of one step. A step of several trainings, one after another, goes on counting."""

    def __init__(self, begins: int) -> None:
        self.begins, self._base, self._last = begins, 0, 0

    def at(self, place: int) -> int:
        """How far the step is after so much of a training."""
        if place <= self._last:
            self._base += self._last
        self._last = place
        return self._base + place


class _Heard:
    """A progress that passes everything on, and what trainings say of themselves to a listener."""

    def __init__(self, inner: Progress, measured: Callable[[str, int, Mapping[str, Any]], None]) -> None:
        self._inner, self.measured = inner, measured
        self.start, self.advance, self.stop, self.say = inner.start, inner.advance, inner.stop, inner.say


__all__ = ["FAILED", "FINISHED", "Following", "begin", "require"]
