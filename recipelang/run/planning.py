"""What a run would do: every step with what the store holds and why the rest must run, before any work is done.

The plan builds the model and runs a forward pass or two, so it also says what needs the network: which layers a
selector names, which can be removed, how far a budget can be pushed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from recipelang.errors import Diagnostic, RecipeError, Refusal, StepFailed
from recipelang.kinds import Dataset, Measurement
from recipelang.plan import Branch, Node, Plan, Repeat, Step, steps_of
from recipelang.run import keys
from recipelang.run.books import BOOKS
from recipelang.run.foresight import foresee, seconds
from recipelang.run.lanes import Lane
from recipelang.run.measurer import Measurer
from recipelang.run.options import Options
from recipelang.run.progress import Silent
from recipelang.run.readings import Readings
from recipelang.run.states import State
from recipelang.run.store import Entry, Store, key_of
from recipelang.run.worker import Worker, build
from recipelang.surgery.network import Network

#: refusals at plan time that mean that the recipe, and not the machine or a file, is wrong
RECIPE_IS_WRONG = ("RCP0703", "RCP0911")


@dataclass(frozen=True)
class Row:
    """One line of a plan.

    Attributes:
        depth: how deep in blocks it stands. line: of the recipe; 0 where the language adds it.
        text: the step, or the head of a block.
        state: `stored`, `runs`, `notes` (nothing to compute) or `block`.
        reason: why it runs, or why it is there.
        details: what was found on the network.
        seconds: rough time; None where nothing is known.
    """

    depth: int
    line: int
    text: str
    state: str
    reason: str = ""
    details: tuple[str, ...] = ()
    seconds: float | None = None


@dataclass(frozen=True)
class PlanReport:
    """A plan, ready to print."""

    name: str
    rows: tuple[Row, ...]
    warnings: tuple[str, ...] = ()
    control: bool = False
    hardware: str = ""

    @property
    def work_to_do(self) -> bool:
        """Whether any step must run."""
        return any(row.state == "runs" for row in self.rows)

    def json(self) -> dict[str, Any]:
        """The plan as JSON."""
        return {
            "schema": "recipe.plan/1",
            "name": self.name,
            "control": self.control,
            "hardware": self.hardware,
            "work_to_do": self.work_to_do,
            "seconds": self._seconds(),
            "steps": [asdict(row) for row in self.rows],
            "warnings": list(self.warnings),
        }

    def _seconds(self) -> float:
        return sum(row.seconds or 0 for row in self.rows if row.state == "runs")

    def text(self) -> str:
        """The plan as a person reads it."""
        work = [row for row in self.rows if row.state in ("runs", "stored")]
        stored = sum(row.state == "stored" for row in work)
        lines = [f"plan of {self.name}: {len(work)} steps, {stored} in the store, {len(work) - stored} to run"]
        if self.hardware:
            lines.append(f"on {self.hardware}")
        lines.append("")
        for row in self.rows:
            place = f"{row.line:>4}  " if row.line else "   +  "
            mark = {"stored": "✓ ", "runs": "▸ ", "notes": "· ", "block": ""}[row.state]
            lines.append(f"{place}{'  ' * row.depth}{mark}{row.text}")
            told = [f"in the store{': ' + row.reason if row.reason else ''}"] if row.state == "stored" else []
            told += [f"runs: {row.reason}{_about(row.seconds)}"] if row.state == "runs" else []
            told += [row.reason] if row.state == "notes" and row.reason else []
            lines += [f"      {'  ' * row.depth}    {line}" for line in (*told, *row.details)]
        if self.control:
            lines.append("   +  control: healthy with the same training, for a fair comparison")
        lines += ["", *(f"warning: {warning}" for warning in self.warnings)]
        if self.work_to_do:
            lines.append(f"rough time: {_duration(self._seconds())}")
        else:
            lines.append("nothing to do: every step is in the store")
        return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


def make(plan: Plan, options: Options, timed: bool = True) -> PlanReport:
    """Foresee a run. Writes nothing.

    Args:
        plan: from `check`.
        options: as for the run.
        timed: whether to estimate times, which costs a forward pass.

    Raises:
        RecipeError: the recipe does not fit the network: every such place at once.
        StepFailed: something that it needs is missing or out of reach.
    """
    options = replace(options, threads=options.threads or os.cpu_count() or 1)
    planner = _Planner(options, timed)
    planner.worker.open_data(steps_of(plan.nodes))
    planner.visit(plan.nodes, [_Foreseen(Lane())], 0)
    if planner.problems:
        wrong = all(p.code in RECIPE_IS_WRONG for p in planner.problems)
        raise (RecipeError if wrong else StepFailed)(planner.problems, plan.text)
    name = Path(plan.path).name if plan.path else plan.name
    warnings = tuple(w.message for w in plan.warnings)
    return PlanReport(name, tuple(planner.rows), warnings, plan.control, planner.hardware())


@dataclass
class _Foreseen:
    """A lane that is only thought through: `network` is the architecture as far as it is known."""

    lane: Lane
    network: Network | None = None

    def fork(self, **changes: Any) -> _Foreseen:
        return _Foreseen(self.lane.fork(**changes), self.network)


class _Unknown(Exception):
    """A number that no stored measurement answers."""


class _OnlyStored(Measurer):
    """Reads stored measurements and takes none."""

    def measure(self, metric: Any, network: Network, healthy: Network, data: Dataset, split: str) -> Measurement:
        known = self.known(key_of(self.ingredients(metric, network, healthy, data, split)))
        if known is None:
            raise _Unknown
        return known


class _Planner:
    """Walks the nodes as the run will, as far as the store has answers."""

    def __init__(self, options: Options, timed: bool) -> None:
        self.options, self.timed = options, timed
        self.store = Store(options.store or Path(".recipe"))
        self.datasets: dict[str, Dataset] = {}
        self.rows: list[Row] = []
        self.problems: list[Diagnostic] = []
        self.lanes: list[Lane] = []
        silent = Silent()
        measurer = _OnlyStored(self.store, options, silent)
        readings = Readings(measurer, options, self.datasets, lambda: self.lanes, self._no_control)
        self.worker = Worker(options, self.store, silent, readings, self.datasets, Path("."))

    def hardware(self) -> str:
        """The machine in a few words."""
        from recipelang.measuring.hardware import summary

        return f"{summary()}, {self.options.threads} threads, device {self.options.device}"

    def _no_control(self, lane: Lane) -> Lane:
        raise _Unknown

    def visit(self, nodes: Sequence[Node], lanes: list[_Foreseen], depth: int) -> list[_Foreseen]:
        """Add a row for every node; the lanes as they would stand after it."""
        base: list[_Foreseen] | None = None
        for node in nodes:
            if isinstance(node, Branch):
                base = base or lanes
                opened = [lane for variant in node.variants for lane in self._variant(variant, base, depth)]
                lanes = opened if base is lanes else lanes + opened
            elif isinstance(node, Repeat):
                self._head(node.text, node.span.line if node.span else 0, depth)
                inner = self.visit(node.body, [lane.fork() for lane in lanes], depth + 1)
                for lane, after in zip(lanes, inner, strict=False):
                    lane.lane, lane.network = after.lane, after.network
                    lane.lane.current = None  # how often the block runs is known only by running it
            elif node.operation.verb == "seeds":
                lanes = [lane.fork(seed=s, seeded=True) for lane in lanes for s in node.operation.values]
                self._row(Row(depth, _line(node), node.text, "notes", "what follows runs once per seed"))
            elif node.operation.verb in ("choose", "expect"):
                self._row(Row(depth, _line(node), node.text, "notes"))
                if node.operation.verb == "choose":
                    lanes, base = self._undecided(lanes, base), None
            else:
                self._step(node, lanes, depth)
        return lanes

    def _variant(self, variant: Any, lanes: list[_Foreseen], depth: int) -> list[_Foreseen]:
        self._head(f"variant {variant.name}", variant.span.line if variant.span else 0, depth)
        for lane in lanes:
            self.worker.settle_healthy(lane.lane)
        forks = [lane.fork(path=(*lane.lane.path, variant.name)) for lane in lanes]
        return self.visit(variant.body, forks, depth + 1)

    def _undecided(self, lanes: list[_Foreseen], base: list[_Foreseen] | None) -> list[_Foreseen]:
        """After `choose`: which variant goes on is known only by running; one of them stands for it."""
        if base is None or not lanes:
            return lanes
        onward = lanes[: len(base)]
        for lane in onward:
            lane.lane.current, lane.lane.path = None, base[0].lane.path
        return onward

    def _head(self, text: str, line: int, depth: int) -> None:
        self._row(Row(depth, line, text, "block"))

    def _row(self, row: Row) -> None:
        self.rows.append(row)

    def _step(self, step: Step, lanes: list[_Foreseen], depth: int) -> None:
        """One row for a step: of several seeds it is stored only where all of them are."""
        rows = []
        for foreseen in lanes:
            try:
                rows.append(self._foresee(step, foreseen, depth))
            except Refusal as refusal:
                found = refusal.at(step.span, step.path)
                self.problems += [found] if found not in self.problems else []
        if rows:
            self._row(next((row for row in rows if row.state == "runs"), rows[0]))

    def _foresee(self, step: Step, foreseen: _Foreseen, depth: int) -> Row:
        operation, lane = step.operation, foreseen.lane
        row = Row(depth, 0 if step.implied else _line(step), step.text, "notes", step.why if step.implied else "")
        if not operation.before_healthy:
            self.worker.settle_healthy(lane)
        if operation.verb == "model":
            return self._model(row, operation, foreseen)
        if operation.verb in BOOKS:
            if operation.verb in ("data", "task", "keep"):
                if operation.verb != "keep" or lane.current:
                    BOOKS[operation.verb](step, lane, self.worker)
                else:
                    lane.named[operation.name] = State("", Path("."))
            elif operation.verb == "start":
                lane.current = None
            return row
        return self._stage(row, operation, foreseen)

    def _model(self, row: Row, operation: Any, foreseen: _Foreseen) -> Row:
        data, lane = self.datasets.get(""), foreseen.lane
        ingredients = keys.model_ingredients(operation, data, lane, self.options)
        entry = None if self.options.fresh else self.store.find(key_of(ingredients))
        state = State(entry.record["content"], entry.folder) if entry else None
        network = (
            self.worker.readings.network(state) if state else build(operation.method, data, lane.seed, self.options)
        )
        if operation.name:
            if state:
                lane.named[operation.name] = state
        else:
            lane.current, foreseen.network = state, network
        return replace(row, state="stored" if entry else "runs", reason=row.reason or ("" if entry else "never run"))

    def _stage(self, row: Row, operation: Any, foreseen: _Foreseen) -> Row:
        lane = foreseen.lane
        lane.trace += [operation] if getattr(operation, "training", None) else []
        entry, reason = self._stored(operation, lane)
        # A stored step was possible; its details are told only where somebody reads them.
        told = foreseen.network is not None and (entry is None or self.timed)
        details = foresee(operation, foreseen.network) if told and foreseen.network else ()
        if entry is None:
            data, network = self.datasets.get(""), foreseen.network
            lane.current = None
            estimate = seconds(operation, network, data, self.options) if self.timed and network else None
            why = "; ".join(filter(None, (row.reason, reason)))
            return replace(row, state="runs", reason=why, details=details, seconds=estimate)
        lane.current = State(entry.record["content"], entry.folder)
        foreseen.network = self.worker.readings.network(lane.current)
        return replace(row, state="stored", reason=str(entry.record.get("reached", "")), details=details)

    def _stored(self, operation: Any, lane: Lane) -> tuple[Entry | None, str]:
        """The stored entry of a step; where there is none, the reason why."""
        if lane.current is None:
            return None, "a step above must run"
        try:
            ingredients = self.worker.ingredients(operation, lane)
        except _Unknown:
            return None, "a number it needs is not measured yet"
        if self.options.fresh:
            return None, "`--fresh`"
        entry = self.store.find(key_of(ingredients))
        if entry is not None:
            return entry, ""
        near = self.store.similar(ingredients)
        return None, keys.difference(ingredients, near.ingredients) if near else "never run"


def _line(step: Step) -> int:
    return step.span.line if step.span else 0


def _about(value: float | None) -> str:
    return f", about {_duration(value)}" if value is not None else ""


def _duration(value: float) -> str:
    """`40 s`, `3 min`, `2.5 h`: as rough as it is."""
    if value < 90:
        return f"{max(1, round(value))} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"
