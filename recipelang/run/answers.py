"""Answers that are given again: the result of a run, or of a plan, whose premises hold (`run/premises.py`).

An answer of a run is kept beside the store, with the files that its exports wrote; the networks are in the store. One
of a plan is kept in the user's cache, since a plan writes nowhere else. Whatever differs, the plan is walked as usual.
"""

from __future__ import annotations

import copy
import datetime
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipelang.errors import Refusal, StepFailed
from recipelang.files import keep_inside
from recipelang.images.cache import cache_folder
from recipelang.kinds import Dataset, Progress
from recipelang.measuring.machine import busy, default_threads
from recipelang.plan import Plan, Shown, steps_of
from recipelang.run.following import begin
from recipelang.run.options import Options
from recipelang.run.output import REPORT, output_folder, whole, without_partial
from recipelang.run.planlines import BUSY, PlanLine, PlanReport
from recipelang.run.premises import hold, key_for, premises
from recipelang.run.progress import progress as default_progress
from recipelang.run.result import RunResult, summary
from recipelang.run.store import Entry, Store
from recipelang.surgery.files import files_in

if TYPE_CHECKING:
    from recipelang.run.lanes import Lane  # it loads torch

# of a run ------------------------------------------------------------------------------------------


def keep(
    plan: Plan,
    options: Options,
    store: Store,
    datasets: Mapping[str, Dataset],
    lanes: Sequence[Lane],
    result: RunResult,
    steps: int,
) -> None:
    """Keep the answer of a run that ended as its recipe says.

    Args:
        store: the run's, with the entries that it used.
        datasets: that it opened.
        lanes: whose networks it wrote.
        steps: how many steps of the store it took.
    """
    key = key_for(plan, options)
    if key is None or any(export.asked.to for lane in lanes for export in lane.exports):
        return  # files outside the networks' folders could be anyone's
    exported = [
        (lane.folder, path)
        for lane in lanes
        if lane.written and lane.current
        for path in sorted((result.folder / lane.folder).rglob("*"))
        if path.is_file() and path not in _of_network(result.folder, lane)
    ]
    exports: list[dict[str, str]] = [
        {"at": at, "path": path.relative_to(result.folder / at).as_posix(), "file": f"file-{number}"}
        for number, (at, path) in enumerate(exported)
    ]
    record = {
        "premises": premises(plan, options, datasets, store),
        "exit_code": result.exit_code,
        "steps": steps,
        "networks": [
            {"at": lane.folder, "entry": lane.current.folder.name, "files": list(files_in(lane.current.folder))}
            for lane in lanes
            if lane.written and lane.current
        ],
        "exports": exports,
    }
    answers = _answers(store)
    with suppress(OSError), answers.hold(key):
        work = answers.work(key)
        (work / REPORT).write_text(json.dumps(_as_rerun(result.report, plan)), "utf-8")  # in its own order
        for number, (_, path) in enumerate(exported):
            shutil.copyfile(path, work / f"file-{number}")
        answers.finish(key, {"answer": "run"}, record, [REPORT, *(export["file"] for export in exports)])
        answers.remember(result.folder)


def _of_network(out: Path, lane: Lane) -> set[Path]:
    assert lane.current
    return {out / lane.folder / name for name in files_in(lane.current.folder)}


def recall(plan: Plan, options: Options, progress: Progress | None = None) -> RunResult | None:
    """The result of a run of which nothing has changed, written again; None if something has, or it is not known.

    Raises:
        StepFailed: the output folder cannot be written to: RCP0902, RCP0917, RCP0918.
    """
    options = replace(options, threads=options.threads or default_threads())
    key = None if options.fresh else key_for(plan, options)
    store = Store(options.store or Path(".recipe"), looks_only=True)
    if key is None or not store.root.is_dir():
        return None
    answers, said = _answers(store, looks_only=True), progress or default_progress()
    answer = answers.find(key)
    if answer is None or not hold(answer.record["premises"], plan, options, store, said):
        return None
    try:
        with output_folder(options.out, plan.name, plan.text, store) as out:
            said.say("  nothing has changed: every step is in the store")
            without_partial(out)
            _write(answer, store, out)
            store.remember(out)
            answers.remember(out)
            report = _dated(json.loads((answer.folder / REPORT).read_text("utf-8")), options)
            following = begin(plan, options, out, said, report["environment"])
    except Refusal as refusal:
        raise StepFailed([refusal.at(None)], plan.text) from refusal
    told = summary(answer.record["steps"], 0, store)
    return RunResult(report, out, answer.record["exit_code"], (), told, following)


def _answers(store: Store, looks_only: bool = False) -> Store:
    return Store(store.root / "answers", looks_only=looks_only)


def _write(answer: Entry, store: Store, out: Path) -> None:
    """Write the networks, and what was exported of them."""
    keep_inside(out)
    for network in answer.record["networks"]:
        with whole(out, network["at"]) as beside:
            for name in network["files"]:
                shutil.copyfile(store.place(network["entry"]) / name, beside / name)
            for export in answer.record["exports"]:
                if export["at"] == network["at"]:
                    target = beside / export["path"]
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(answer.folder / export["file"], target)


def _as_rerun(report: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """The record as a run writes it that finds every step in the store: what was done took no time."""
    shown = {step.operation.verb for step in steps_of(plan.nodes) if isinstance(step.operation.needs().writes, Shown)}
    report = copy.deepcopy(report)
    for step in (step for variant in report["variants"] for run in variant["runs"] for step in run["steps"]):
        if step["seconds"] is not None:
            step |= {"seconds": 0.0} if step["verb"] in shown else {"seconds": None, "cached": True}
    return report


def _dated(report: Mapping[str, Any], options: Options) -> dict[str, Any]:
    """The record with the time and the command of now."""
    now = datetime.datetime.now(datetime.UTC)
    environment = {**report["environment"], "date": now.strftime("%Y-%m-%d %H:%M UTC")}
    return {
        **report,
        "created": now.isoformat(timespec="seconds"),
        "command": options.command,
        "environment": environment,
    }


# of a plan -----------------------------------------------------------------------------------------


def _plans(looks_only: bool = False) -> Store:
    return Store(cache_folder() / "plans", looks_only=looks_only)


def free_plans(*, dry_run: bool = False) -> int:
    """Forget all plans; the bytes that they took. The next plan of each recipe is made again."""
    plans = _plans()
    return plans.gc(everything=True, dry_run=dry_run).bytes if plans.root.is_dir() else 0


def keep_plan(plan: Plan, options: Options, store: Store, datasets: Mapping[str, Dataset], report: PlanReport) -> None:
    """Keep the answer of a plan whose every step is in the store.

    Args:
        options: with the number of threads.
        store: that was looked into, with what was found there and what was not.
        datasets: that were opened.
    """
    if report.work_to_do or report.problems or store.missed:
        return  # what is missing may be there next time
    key = key_for(plan, options)
    if key is None:
        return
    record = {"premises": premises(plan, options, datasets, store), "told": asdict(report)}
    plans = _plans()
    with suppress(OSError), plans.hold(key):
        plans.work(key)
        plans.finish(key, {"answer": "plan"}, record, [])


def recall_plan(plan: Plan, options: Options, progress: Progress | None = None) -> PlanReport | None:
    """The plan of a recipe of which everything is stored and nothing has changed; None if it must be walked."""
    options = replace(options, threads=options.threads or default_threads())
    key = None if options.fresh else key_for(plan, options)
    answer = _plans(looks_only=True).find(key) if key else None
    store = Store(options.store or Path(".recipe"), looks_only=True)
    said = progress or default_progress()
    if answer is None or not hold(answer.record["premises"], plan, options, store, said):
        return None
    told, load = answer.record["told"], BUSY if busy() else ""
    if told["hardware"].endswith(BUSY) and not load:
        return None  # times that were measured on a busy machine are measured again
    rows = tuple(PlanLine(**{**row, "details": tuple(row["details"])}) for row in told["rows"])
    return PlanReport(
        told["name"], rows, tuple(told["warnings"]), told["control"], told["hardware"].removesuffix(BUSY) + load
    )
