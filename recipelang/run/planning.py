"""What a run would do: every step, with what the store holds and why the rest must run, before any work is done.

The plan builds the model and runs a forward pass or two, so it also reports what depends on the network: which layers
a selector names, which can be removed, how far a budget can be pushed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from recipelang import catalogue
from recipelang.errors import Diagnostic, RecipeError, Refusal, Span, StepFailed, line_of
from recipelang.kinds import Progress
from recipelang.measuring.clock import check_device
from recipelang.measuring.machine import busy, default_threads
from recipelang.plan import Branch, Node, Plan, Repeat, Step, Variant, parts_of, steps_of
from recipelang.run.controls import training_of
from recipelang.run.foreseen import Told
from recipelang.run.lanes import by_variant
from recipelang.run.options import Options
from recipelang.run.rehearsal import RECIPE_IS_WRONG, Rehearsal
from recipelang.run.stored import ABOVE, Unknown
from recipelang.run.timing import Estimate
from recipelang.units import counted


@dataclass(frozen=True)
class PlanLine:
    """One line of a plan.

    Attributes:
        depth: nesting depth in blocks. line: of the recipe; 0 if the language adds it.
        text: the step, or the head of a block.
        state: `stored`, `runs`, `fails`, `notes` (nothing to compute) or `block`.
        reason: why it runs or fails, or why it was added.
        details: what was found on the network.
        seconds: rough time; None if nothing is known.
        guess: whether any of that time was not measured on this machine.
    """

    depth: int
    line: int
    text: str
    state: str
    reason: str = ""
    details: tuple[str, ...] = ()
    seconds: float | None = None
    guess: bool = False


@dataclass(frozen=True)
class PlanReport:
    """A plan, ready to print.

    Attributes:
        name: of the recipe.
        rows: its steps and blocks, then the controls.
        warnings: of the check.
        control: whether a control is requested.
        hardware: the machine in a few words.
        problems: what will fail, without candidates of a `choose`, which only lose.
    """

    name: str
    rows: tuple[PlanLine, ...]
    warnings: tuple[str, ...] = ()
    control: bool = False
    hardware: str = ""
    problems: tuple[Diagnostic, ...] = ()

    @property
    def work_to_do(self) -> bool:
        """Whether any step must run."""
        return any(row.state == "runs" for row in self.rows)

    def json(self) -> dict[str, Any]:
        """The plan as JSON."""
        return {
            "format": "recipelang.plan/1",
            "name": self.name,
            "control": self.control,
            "hardware": self.hardware,
            "work_to_do": self.work_to_do,
            "seconds": self._seconds(),
            "steps": [asdict(row) for row in self.rows],
            "warnings": list(self.warnings),
            "problems": [problem.json() for problem in self.problems],
        }

    def _seconds(self) -> float:
        return sum(row.seconds or 0 for row in self.rows if row.state == "runs")

    def text(self) -> str:
        """The plan as text."""
        work = [row for row in self.rows if row.state in ("runs", "stored", "fails")]
        stored = sum(row.state == "stored" for row in work)
        steps = counted(len(work), "step")
        lines = [f"plan of {self.name}: {steps}, {stored} in the store, {len(work) - stored} to run"]
        if self.hardware:
            lines.append(f"on {self.hardware}")
        lines.append("")
        for row in self.rows:
            place = f"{row.line:>4}  " if row.line else "   +  "
            mark = {"stored": "✓ ", "runs": "▸ ", "fails": "✗ ", "notes": "· ", "block": ""}[row.state]
            lines.append(f"{place}{'  ' * row.depth}{mark}{row.text}")
            told = [f"in the store{': ' + row.reason if row.reason else ''}"] if row.state == "stored" else []
            told += [f"runs: {row.reason}{_about(row)}"] if row.state == "runs" else []
            told += [f"fails: {row.reason}"] if row.state == "fails" else []
            told += [row.reason] if row.state == "notes" and row.reason else []
            lines += [f"      {'  ' * row.depth}    {line}" for line in (*told, *row.details)]
        lines += ["", *(f"warning: {warning}" for warning in self.warnings)]
        if self.work_to_do:
            guess = any(row.guess for row in self.rows if row.state == "runs")
            lines.append(f"rough time: {_duration(self._seconds())}{', partly a guess' if guess else ''}")
        elif any(row.state == "fails" for row in self.rows):
            lines.append("nothing runs before the step that fails: see above")
        else:
            lines.append("nothing to do: every step is in the store")
        return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


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
    rehearsal.worker.open_data(steps_of(plan.nodes), progress)
    rehearsal.walk(plan.nodes, list(rehearsal.lanes))
    hopeless = [problem for problem, hopeless in rehearsal.problems.items() if hopeless]
    if hopeless:
        wrong = all(problem.code in RECIPE_IS_WRONG for problem in hopeless)
        raise (RecipeError if wrong else StepFailed)(hopeless, plan.text)
    rows = [*_rows(plan.nodes, rehearsal, 0), *(_controls(rehearsal) if plan.control else ())]
    name = Path(plan.path).name if plan.path else plan.name
    warnings = tuple(w.message for w in plan.warnings)
    return PlanReport(name, tuple(rows), warnings, plan.control, _hardware(options), tuple(rehearsal.problems))


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

    load = ", busy with other processes: times are longer than necessary" if busy() else ""
    return f"{summary()}, {counted(options.threads or 1, 'thread')}, device {options.device}{load}"


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
    found: dict[str, tuple[list[str], list[Told]]] = {}
    for name, seeds in by_variant(rehearsal.lanes).items():
        for lane in seeds:
            merged = (
                lane.origin is not None and lane.origin.current == lane.current
            )  # it is shown as the chosen variant
            if not (lane.error or merged) and (lane.trace or lane.current is None):
                names, told = found.setdefault(training_of(lane), ([], []))
                names += [name] if name not in names else []
                told.append(_control(rehearsal, lane))
    for names, told in found.values():
        whose = f" of {' and '.join(names)}" if len(found) > 1 else ""
        known = _together(told)
        why = "; ".join(filter(None, ("healthy with the same training, for a fair comparison", known.reason)))
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


def _about(row: PlanLine) -> str:
    if row.seconds is None:
        return ""
    return f", about {_duration(row.seconds)}{' (a guess)' if row.guess else ''}"


def _duration(value: float) -> str:
    """`40 s`, `3 min`, `2.5 h`: as rough as the estimate."""
    if value < 90:
        return f"{max(1, round(value))} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"
