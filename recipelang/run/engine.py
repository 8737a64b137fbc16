"""From a plan to a run: networks in the output folder, everything else in the record that reports are made from."""

from __future__ import annotations

import datetime
import errno
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from recipelang.catalogue import find
from recipelang.errors import Diagnostic, Refusal, StepFailed
from recipelang.kinds import Dataset, Progress
from recipelang.measuring.hardware import environment
from recipelang.plan import Plan, steps_of
from recipelang.run import planning, record
from recipelang.run.controls import Controls
from recipelang.run.expectations import Expectations
from recipelang.run.lanes import Lane
from recipelang.run.measurer import Measurer
from recipelang.run.options import Options
from recipelang.run.progress import progress as default_progress
from recipelang.run.readings import Readings
from recipelang.run.states import FILES
from recipelang.run.store import Store, write_text
from recipelang.run.walk import Walk
from recipelang.run.worker import Worker


@dataclass(frozen=True)
class RunResult:
    """What a run left.

    Attributes:
        report: the record, as `reports/report.schema.json` describes it.
        folder: the output folder.
        exit_code: 0 done, 3 a step failed, 4 an `expect` was not met.
        diagnostics: what went wrong, at lines of the recipe.
        summary: one line on what came from the store.
    """

    report: dict[str, Any]
    folder: Path
    exit_code: int
    diagnostics: tuple[Diagnostic, ...] = field(default=())
    summary: str = ""


def execute(plan: Plan, options: Options, progress: Progress | None = None) -> RunResult:
    """Carry out a plan.

    Raises:
        StepFailed: the run could not begin, or the machine failed it (full disk, read-only folder).
        KeyboardInterrupt: stopped by the user; the store holds what was done, the same command goes on from there.
    """
    options = replace(options, threads=options.threads or os.cpu_count() or 1)
    torch.set_num_threads(options.threads or 1)
    said = progress or default_progress()
    planning.make(plan, options, timed=False)  # what cannot work is said before anything is trained or written
    try:
        out = output_folder(options.out, plan.name)
        write_text(out / "recipe.rcp", plan.text)
        run = _Run(plan, options, said, out)
        try:
            return run.carry_out()
        finally:
            said.stop()
            run.store.remember(out.name, out)
    except Refusal as refusal:
        raise StepFailed([refusal.at(None)], plan.text) from refusal
    except OSError as error:
        raise StepFailed([_machine_trouble(error)], plan.text) from error


class _Run:
    """One run: its rooms put together."""

    def __init__(self, plan: Plan, options: Options, progress: Progress, out: Path) -> None:
        self.plan, self.options, self.progress, self.out = plan, options, progress, out
        self.store = Store(options.store or Path(".recipe"))
        self.expectations = Expectations()
        datasets: dict[str, Dataset] = {}
        measurer = Measurer(self.store, options, progress)
        self.readings = Readings(
            measurer, options, datasets, lambda: self.walk.lanes, lambda lane: self.controls.of(lane)
        )
        self.worker = Worker(options, self.store, progress, self.readings, datasets, out / "partial")
        self.controls = Controls(self.worker)
        self.walk = Walk(self.worker, self.readings, self.expectations)
        self.worker.task = _default_task()

    def carry_out(self) -> RunResult:
        """Walk the plan, train the controls, write the networks, measure, and make the record."""
        lane = Lane()
        self.walk.lanes = [lane]
        failures: list[Diagnostic] = []
        try:
            self.worker.open_data(steps_of(self.plan.nodes))
            self.walk.walk(self.plan.nodes, [lane])
        except StepFailed as failed:
            failures += failed.diagnostics
        self._merge_origins()
        lanes = self.walk.lanes
        for lane in lanes:
            self.worker.settle_healthy(lane)
        if self.plan.control:
            try:
                lanes = lanes + self.controls.all_of(lanes)
            except StepFailed as failed:
                failures += failed.diagnostics
        self._write_networks(lanes)
        losers = self._losers(lanes)
        failures += [lane.error for lane in lanes if lane.error and id(lane) not in losers]
        report = self._report(lanes)
        code = 3 if failures else 4 if self.expectations.missed else 0
        return RunResult(report, self.out, code, tuple(failures), self._summary(lanes))

    def _merge_origins(self) -> None:
        """A lane that went on from a choice and changed nothing more is the candidate that was chosen."""
        merged = []
        for lane in self.walk.lanes:
            origin = lane.origin
            if origin is not None and lane.current == origin.current and not lane.error:
                origin.exports += [e for e in lane.exports if e not in origin.exports]
                origin.columns += [c for c in lane.columns if c not in origin.columns]
                self.expectations.rename(lane.name, origin.name)
            else:
                merged.append(lane)
        self.walk.lanes = merged

    def _losers(self, lanes: Sequence[Lane]) -> set[int]:
        """Lanes that failed beside a choice that was made: they only lose."""
        made = any(lane.chosen for lane in lanes)
        return {id(lane) for lane in lanes if lane.error and made and lane.origin is None}

    def _write_networks(self, lanes: Sequence[Lane]) -> None:
        for lane in lanes:
            if lane.error or lane.current is None:
                continue
            target = self.out / record.folder_of(lane)
            beside = target.with_name(f".{target.name}.part")
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir(parents=True)
            for name in FILES:
                shutil.copyfile(lane.current.folder / name, beside / name)
            for step in lane.exports:
                try:
                    self._export(step.operation, lane, beside)
                except Refusal as refusal:
                    lane.error = refusal.at(step.span, step.path)
            shutil.rmtree(target, ignore_errors=True)
            os.replace(beside, target)

    def _export(self, operation: Any, lane: Lane, beside: Path) -> None:
        """Write a lane's exports: beside its network, or under the folder that the recipe names."""
        network = self.readings.network(lane.current)  # type: ignore[arg-type]
        folder = beside / "export"
        if operation.to:
            folder = inside(self.out, operation.to, self.options.outside)
            folder = folder / record.folder_of(lane) if len(self.walk.lanes) > 1 else folder
        folder.mkdir(parents=True, exist_ok=True)
        for method in operation.formats:
            method.write(network, folder)

    def _report(self, lanes: Sequence[Lane]) -> dict[str, Any]:
        task = self.worker.task
        columns = record.columns_of(lanes, task)  # type: ignore[arg-type]
        variants = record.variants_json(lanes, columns, self.readings)
        data = self.worker.datasets.get("")
        where = {"data": f"{data.name} ({data.fingerprint[:12]})"} if data else {}
        return {
            "format": "recipelang.report/1",
            "title": self.plan.name,
            "recipe": {"path": Path(self.plan.path).name if self.plan.path else "", "text": self.plan.text},
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": self.options.command,
            "environment": {**environment(), **where, "training threads": self.options.threads},
            "metrics": record.columns_json(columns),
            "variants": variants,
            "expectations": self.expectations.json(),
            "warnings": [*(w.message for w in self.plan.warnings), *self.controls.notes, *self.readings.trouble],
        }

    def _summary(self, lanes: Sequence[Lane]) -> str:
        made, stored = self.worker.made, self.worker.stored
        return f"{made + stored} steps: {stored} from the store, {made} done"


def output_folder(asked: Path | None, name: str) -> Path:
    """The folder to write into, created: as asked, or the next free `runs/<name>-<n>`.

    Raises:
        Refusal: RCP0902: the folder holds something that no run wrote.
    """
    if asked is None:
        for n in range(1, 1_000_000):
            folder = Path("runs") / f"{name}-{n}"
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                continue
            return folder
    folder = Path(asked or ".")
    if folder.exists() and not folder.is_dir():
        raise Refusal("RCP0902", f"`{folder}` is a file, and a run writes a folder", "name another `--out`")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "recipe.rcp").is_file():
        raise Refusal("RCP0902", f"`{folder}` is not empty, and no run wrote it", "name another `--out`")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def inside(out: Path, path: str, outside: bool) -> Path:
    """A path that a recipe names for output, below the output folder.

    Raises:
        Refusal: RCP0912: it would leave the output folder, and the command line does not allow that.
    """
    target = (out / path).resolve()
    if not outside and not target.is_relative_to(out.resolve()):
        raise Refusal(
            "RCP0912", f"`{path}` lies outside the output folder", "name a folder within it, or run with `--outside`"
        )
    return target


def _default_task() -> Any:
    task = find("task", "classification")
    return task() if task else None


def _machine_trouble(error: OSError) -> Diagnostic:
    """A failure of the machine in words."""
    place = f": `{error.filename}`" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return Diagnostic(
            "RCP0901",
            f"the disk is full{place}",
            None,
            "free some space (`recipe gc` frees the store) and run the same command again; nothing done is lost",
        )
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return Diagnostic("RCP0902", f"no permission to write{place}", None, "name another `--out` or `--store`")
    return Diagnostic(
        "RCP0901", f"{error.strerror or error}{place}", None, "run the same command again; nothing done is lost"
    )
