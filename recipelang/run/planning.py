"""What a run would do: every step, with what the store holds and why the rest must run, before any work is done.

The plan builds the model and runs a forward pass or two, so it also reports what depends on the network: which layers
a selector names, which can be removed, how far a budget can be pushed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from recipelang import catalogue
from recipelang.errors import RecipeError, Refusal, Span, StepFailed, line_of
from recipelang.kinds import Progress
from recipelang.measuring.clock import check_device
from recipelang.measuring.machine import busy, default_threads
from recipelang.plan import Branch, Node, Plan, Repeat, Step, Variant, parts_of, steps_of
from recipelang.run import answers
from recipelang.run.controls import training_of
from recipelang.run.foreseen import Told
from recipelang.run.lanes import by_variant
from recipelang.run.options import Options
from recipelang.run.planlines import BUSY, PlanLine, PlanReport
from recipelang.run.rehearsal import RECIPE_IS_WRONG, Rehearsal
from recipelang.run.stored import ABOVE, Unknown
from recipelang.run.timing import Estimate
from recipelang.units import counted


def make(plan: Plan, options: Options, timed: bool = True, progress: Progress | None = None) -> PlanReport:
    """Foresee a run. Writes only to the user's cache.

    Args:
        plan: from `check`.
        options: as for the run.
        timed: whether to estimate times, which costs a few steps of training the first time.
        progress: where the first reading of a large data set and timing report their progress.

    Raises:
        RecipeError: the recipe does not fit the network; all such places are reported together.
        StepFailed: a device or something else that it needs is missing, so that nothing is worth running.
    """
    options = replace(options, threads=options.threads or default_threads())
    _refuse_what_is_absent(plan, options)
    for role in catalogue.PARTS:  # no recipe names these, so `check` has not looked at them
        catalogue.added_parts(role)
    rehearsal = Rehearsal(options, timed, progress)
    rehearsal.begin(plan.nodes)
    rehearsal.worker.open_data(plan.nodes, progress)
    rehearsal.walk(plan.nodes, list(rehearsal.lanes))
    hopeless = [problem for problem, hopeless in rehearsal.problems.items() if hopeless]
    if hopeless:
        wrong = all(problem.code in RECIPE_IS_WRONG for problem in hopeless)
        raise (RecipeError if wrong else StepFailed)(hopeless, plan.text)
    rows = [*_rows(plan.nodes, rehearsal, 0), *(_controls(rehearsal) if plan.control else ())]
    name = Path(plan.path).name if plan.path else plan.name
    warnings = tuple(w.message for w in plan.warnings)
    report = PlanReport(name, tuple(rows), warnings, plan.control, _hardware(options), tuple(rehearsal.problems))
    if timed:  # else it says less
        answers.keep_plan(plan, options, rehearsal.worker.store, rehearsal.worker.datasets, report)
    return report


def _refuse_what_is_absent(plan: Plan, options: Options) -> None:
    """Refuse, before any work, devices and libraries that this machine lacks."""
    asked: list[tuple[Callable[[], Any], Span | None, str]] = [(partial(check_device, options.device), None, "")]
    for step in steps_of(plan.nodes):
        for part in parts_of(step.operation):
            if hasattr(part, "device"):
                asked.append((partial(check_device, part.device), step.span, step.path))
            if hasattr(part, "require"):
                asked.append((part.require, step.span, step.path))
    problems = []
    for require, span, path in asked:
        try:
            require()
        except Refusal as refusal:
            problems.append(refusal.at(span, path))
    if problems:
        raise StepFailed(dict.fromkeys(problems), plan.text)


def _hardware(options: Options) -> str:
    """The machine in a few words."""
    from recipelang.measuring.hardware import summary

    return f"{summary()}, {counted(options.threads or 1, 'thread')}, device {options.device}{BUSY if busy() else ''}"


def _rows(nodes: Sequence[Node], rehearsal: Rehearsal, depth: int) -> Iterator[PlanLine]:
    """A row for every step and block, in the order of the text."""
    for node in nodes:
        if isinstance(node, Branch):
            for variant in node.variants:
                yield PlanLine(depth, _line(variant), f"variant {variant.name}", "block")
                yield from _rows(variant.body, rehearsal, depth + 1)
        elif isinstance(node, Repeat):
            told = _together(rehearsal.told.get(id(node), [Told("block")]))
            yield PlanLine(depth, _line(node), node.text, told.state, told.reason)
            yield from _rows(node.body, rehearsal, depth + 1)
        else:
            told = _together(rehearsal.told.get(id(node), [Told("notes", "not reached")]))
            reason = "; ".join(filter(None, (node.why if node.implied else "", told.reason)))
            line = 0 if node.implied else _line(node)
            yield PlanLine(depth, line, node.text, told.state, reason, told.details, *_time(told.time))


def _together(told: Sequence[Told]) -> Told:
    """What is known about a step over seeds and rounds: stored only if all of them are."""
    open = [one for one in told if one.state in ("runs", "fails")]
    if not open:
        return told[0]
    stored = sum(one.state == "stored" for one in told)
    reason = "; ".join(filter(None, (open[0].reason, f"{stored} of {len(told)} in the store" if stored else "")))
    known = [one.time for one in open if one.time is not None]
    total = Estimate(sum(time.seconds for time in known), any(time.guess for time in known)) if known else None
    return replace(open[0], reason=reason, time=total)


def _controls(rehearsal: Rehearsal) -> Iterator[PlanLine]:
    """A row for every control: healthy with the training of a variant, shared where the training is equal."""
    found: dict[str, tuple[list[str], list[Told], tuple[str, ...]]] = {}
    for name, seeds in by_variant(rehearsal.lanes).items():
        for lane in seeds:
            merged = (
                lane.origin is not None and lane.origin.current == lane.current
            )  # it is shown as the chosen variant
            if not (lane.error or merged) and (lane.trace or lane.current is None):
                key = json.dumps([training_of(lane), in_place := getattr(lane, "in_place", ())])
                names, told, _ = found.setdefault(key, ([], [], in_place))
                names += [name] if name not in names else []
                told.append(_control(rehearsal, lane))
    for names, told, in_place in found.values():
        whose = f" of {' and '.join(names)}" if len(found) > 1 else ""
        known = _together(told)
        same = "healthy with the same training, for a fair comparison"
        why = "; ".join(filter(None, (same, *dict.fromkeys(in_place), known.reason)))
        yield PlanLine(0, 0, f"control{whose}", known.state, why)


def _control(rehearsal: Rehearsal, lane: Any) -> Told:
    """Whether the store has the control of a lane."""
    if lane.current is None:
        return Told("runs", ABOVE)
    try:
        rehearsal.controls.of(lane)
    except Unknown as unknown:
        return Told("runs", str(unknown))
    return Told("stored")


def _line(node: Step | Repeat | Variant) -> int:
    return line_of(node.span)


def _time(time: Estimate | None) -> tuple[float | None, bool]:
    return (time.seconds, time.guess) if time else (None, False)
