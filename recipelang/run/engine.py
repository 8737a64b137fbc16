"""From a plan to a run: networks in the output folder, everything else in the record that reports are made from."""

from __future__ import annotations

import contextlib
import datetime
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from recipelang.errors import Diagnostic, MachineFailed, Refusal, StepFailed
from recipelang.files import keep_inside, sweep
from recipelang.images.view import seen_by
from recipelang.kinds import Beside, Dataset, Progress
from recipelang.measuring.hardware import environment
from recipelang.measuring.machine import default_threads
from recipelang.plan import Plan, Returned, Step, steps_of
from recipelang.run import answers, planning, record
from recipelang.run.controls import Controls
from recipelang.run.evaluate import Readings
from recipelang.run.expectations import Expectations
from recipelang.run.following import Following, begin
from recipelang.run.lanes import Exported, Lane, beside
from recipelang.run.left_out import Exports
from recipelang.run.measurer import Measurer
from recipelang.run.options import Options
from recipelang.run.output import PARTIAL, inside, output_folder, whole, without_partial
from recipelang.run.progress import progress as default_progress
from recipelang.run.result import RunResult, summary
from recipelang.run.store import Store
from recipelang.run.walk import Walk
from recipelang.run.worker import Worker
from recipelang.surgery.files import files_in
from recipelang.surgery.network import Network
from recipelang.trouble import machine_trouble


def execute(plan: Plan, options: Options, progress: Progress | None = None) -> RunResult:
    """Carry out a plan. If it ends early, the store holds what was done, and the same command continues from there.

    Raises:
        StepFailed: the run could not start; MachineFailed: the machine stopped it at a step (full disk).
        OSError: the machine stopped it elsewhere (read-only output folder).
        KeyboardInterrupt: stopped by the user.
    """
    options = replace(options, threads=options.threads or default_threads())
    torch.set_num_threads(options.threads or 1)
    said = progress or default_progress()
    foreseen = planning.make(plan, options, timed=False, progress=said)  # before any training
    for problem in foreseen.problems:
        said.say(f"  this will fail: {problem.message}")
    store = Store(options.store or Path(".recipe"))
    try:
        with output_folder(options.out, plan.name, plan.text, store) as out:
            following = begin(plan, options, out, said, environment() if options.tracking else {})
            try:
                return _Run(plan, options, said, out, store, following).carry_out()
            except BaseException as error:
                following.stops(error)
                raise
            finally:
                said.stop()
                with contextlib.suppress(OSError):  # a full disk must not hide how the run ended
                    store.remember(out)
    except Refusal as refusal:
        raise StepFailed([refusal.at(None)], plan.text) from refusal


class _Run:
    """One run: its parts put together."""

    def __init__(
        self, plan: Plan, options: Options, progress: Progress, out: Path, store: Store, following: Following
    ) -> None:
        progress = following.progress(progress)
        self.plan, self.options, self.progress, self.out = plan, options, progress, out
        datasets: dict[str, Dataset] = {}
        measurer = Measurer(store, options, progress)
        self.readings = Readings(
            measurer, options, datasets, lambda: self.walk.lanes, lambda lane: self.controls.of(lane)
        )
        self.expectations = Expectations(self.readings)
        self.worker = Worker(options, store, progress, self.readings, datasets, out / PARTIAL, following)
        self.controls = Controls(self.worker)
        self.walk = Walk(self.worker, self.readings, self.expectations)
        self.remarks: list[str] = []  # of exports
        self.exports = Exports()
        self.worker.begin(plan.nodes)

    def carry_out(self) -> RunResult:
        """Walk the plan, train the controls, write the networks, measure, and make the record."""
        without_partial(self.out)
        lane = Lane()
        self.walk.lanes = [lane]
        failures: list[Diagnostic] = []
        try:
            self.worker.open_data(self.plan.nodes)
            self.walk.walk(self.plan.nodes, [lane])
        except MachineFailed:
            raise
        except StepFailed as failed:
            failures += failed.diagnostics
        self._merge_origins()
        lanes = self.walk.lanes
        for lane in lanes:
            self.worker.settle_healthy(lane)
        if self.plan.control:
            lanes = lanes + self.controls.all_of(lanes)
        lanes = lanes + beside(lanes, {name for step in steps_of(self.plan.nodes) for name in _started(step)})
        self._write_networks(lanes)
        for step, lane, refusal in self.exports.failed():
            lane.error = refusal.at(step.span, step.path)
        self._hold_demands(lanes)
        failures += [lane.error for lane in lanes if lane.error and not lane.lost]
        report = self._report(lanes)
        code = 3 if failures else 4 if self.expectations.missed else 0
        worker = self.worker
        told = summary(worker.stored, worker.made, worker.store)
        result = RunResult(report, self.out, code, tuple(dict.fromkeys(failures)), told, worker.following)
        if not failures and not self.readings.trouble:  # what failed once may be possible next time
            steps = worker.made + worker.stored
            answers.keep(self.plan, self.options, worker.store, worker.datasets, lanes, result, steps)
        return result

    def _merge_origins(self) -> None:
        """A lane that continued from a choice and changed nothing more is the candidate that was chosen."""
        merged = []
        for lane in reversed(self.walk.lanes):  # a choice among variants that chose themselves ends at the innermost
            origin = lane.origin
            if origin is not None and lane.current == origin.current and not lane.error:
                origin.steps, origin.exports, origin.columns = lane.steps, lane.exports, lane.columns
                origin.lost, origin.passed = lane.lost, lane.passed
                self.expectations.rename(lane.name, origin.name)
            else:
                merged.append(lane)
        self.walk.lanes = merged[::-1]

    def _write_networks(self, lanes: Sequence[Lane]) -> None:
        keep_inside(self.out)  # others could write to it during the run
        several = sum(bool(lane.exports) for lane in lanes) > 1
        for lane in lanes:
            if lane.error or lane.current is None:
                continue
            with whole(self.out, lane.folder) as beside:
                for name in files_in(lane.current.folder):
                    shutil.copyfile(lane.current.folder / name, beside / name)
                for export in lane.exports:
                    if not export.asked.to:
                        self._export(export, lane, beside / "export")
            lane.written = True
            for export in lane.exports:
                if export.asked.to:
                    folder = inside(self.out, export.asked.to, self.options.outside)
                    self._export(export, lane, folder / lane.folder if several else folder)

    def _hold_demands(self, lanes: Sequence[Lane]) -> None:
        """A recipe that demands sparse kernels has failed if its network is timed and none of them can run."""
        columns = record.columns_of(lanes, self.worker.task, self.plan)
        clocks = [reading.metric for reading in columns if reading.metric.source == "clock"]
        for lane in lanes:
            network = self.readings.network(lane.current) if lane.current and not lane.error else None
            if network is None or network.accelerated is None:
                continue
            for metric in clocks:
                try:
                    measurer = self.readings.measurer
                    measurer.prepare(measurer.executed(metric, network), network)
                except Refusal as refusal:
                    if refusal.code == "RCP1305":  # a missing device leaves its column empty, with a note there
                        lane.error = refusal.at(None)

    def _export(self, export: Exported, lane: Lane, folder: Path) -> None:
        """Write an export of a lane."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if folder.is_relative_to(self.out):  # held by this run
                sweep(folder)
            network = self.readings.network(export.state)
            for method in export.asked.formats:
                try:
                    beside = (self._beside(network, export, lane),) if getattr(method, "looks_at_data", False) else ()
                    method.write(network, folder, *beside)
                except Refusal as refusal:
                    self.exports.refuse(export.step, method, lane, refusal)
                    continue
                self.exports.write(export.step, method)
                if hasattr(method, "remark") and (said := method.remark(network)):
                    self.remarks.append(said)
            with contextlib.suppress(OSError):  # of what was refused; something else may have been written to it
                folder.rmdir()
        except Refusal as refusal:
            lane.error = refusal.at(export.step.span, export.step.path)
        except OSError as error:
            trouble = machine_trouble(error, export.step.span, export.step.path)
            if trouble is None:
                raise
            raise MachineFailed([trouble], self.plan.text) from error

    def _beside(self, network: Network, export: Exported, lane: Lane) -> Beside:
        """What an export may look at beside a network of this lane."""
        recovered = self.readings.network(export.recovered) if export.recovered else None
        healthy = self.readings.network(lane.healthy) if lane.healthy else network
        data = seen_by(self.worker.datasets[""], network.classes, network.preprocessing)
        return Beside(healthy, data, self.worker.task, recovered)

    def _report(self, lanes: Sequence[Lane]) -> dict[str, Any]:
        task = self.worker.task
        columns = record.columns_of(lanes, task, self.plan)
        variants = record.variants_json(lanes, columns, self.readings)
        data = self.worker.datasets.get("")
        where = {"data": f"{data.name} ({data.fingerprint[:12]})"} if data else {}
        return {
            "format": "recipelang.report/2",
            "title": self.plan.name,
            "recipe": {"path": Path(self.plan.path).name if self.plan.path else "", "text": self.plan.text},
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": self.options.command,
            "environment": {**environment(), **where, "training threads": self.options.threads},
            "metrics": record.columns_json(columns),
            "variants": variants,
            "expectations": self.expectations.json(),
            "warnings": self._warnings(),
        }

    def _warnings(self) -> list[str]:
        """What needs attention, each once."""
        planned = [warning.message for warning in self.plan.warnings]
        exported = [*self.exports.notes(), *self.remarks]
        return list(dict.fromkeys([*planned, *self.controls.notes, *exported, *self.readings.trouble]))


def _started(step: Step) -> tuple[str, ...]:
    """The state that a step goes back to."""
    writes = step.operation.needs().writes
    return (writes.state,) if isinstance(writes, Returned) else ()
