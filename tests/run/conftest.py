"""Small recipes through parse, check and the engine, on the embedded digits, a few batches per stage, in one store."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import pytest

from recipelang.check import check
from recipelang.plan import Plan
from recipelang.report.context import build
from recipelang.report.render import write
from recipelang.run import answers, engine, planning
from recipelang.run.options import Options
from recipelang.run.planlines import PlanLine, PlanReport
from recipelang.run.result import RunResult
from recipelang.syntax.parse import parse

SCHEMA = json.loads((Path(__file__).parents[2] / "reports" / "report.schema.json").read_text())


class Listening:
    """A progress that remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def start(self, what: str, total: int | None = None) -> None: ...

    def advance(self, parts: int = 1, note: str = "") -> None: ...

    def stop(self) -> None: ...

    def say(self, line: str) -> None:
        self.said.append(line)


@dataclass(frozen=True)
class Done:
    """A finished run, and the shortest ways to what a test asks of it."""

    result: RunResult
    said: tuple[str, ...]

    @property
    def code(self) -> int:
        return self.result.exit_code

    @property
    def folder(self) -> Path:
        return self.result.folder

    @property
    def names(self) -> list[str]:
        return [v["name"] for v in self.result.report["variants"]]

    @property
    def made(self) -> int:
        """How many steps were done and not read from the store."""
        return int(self.result.summary.split(", ")[-1].split()[0])

    @property
    def verdicts(self) -> list[tuple[str, bool | None]]:
        return [(e["variant"], e["holds"]) for e in self.result.report["expectations"]]

    def variant(self, name: str = "main") -> dict[str, Any]:
        return next(v for v in self.result.report["variants"] if v["name"] == name)

    def metric(self, metric: str, name: str = "main") -> float:
        return float(self.variant(name)["metrics"][metric]["value"])

    def steps(self, name: str = "main", verb: str = "", run: int = 0) -> list[dict[str, Any]]:
        return [s for s in self.variant(name)["runs"][run]["steps"] if verb in ("", s["verb"])]

    def removed(self, name: str = "main", run: int = 0) -> int:
        """How many layers were removed on the way."""
        return sum(len(step["edits"]) for step in self.steps(name, "prune", run))

    def weights(self, name: str = "main") -> bytes:
        return (self.folder / name / "model.safetensors").read_bytes()


@dataclass
class Lab:
    """Runs and plans recipes in one store, smoke unless said otherwise."""

    folder: Path
    numbers: Any = field(default_factory=itertools.count)
    drawn: ClassVar[set[Any]] = set()  # kinds of records whose charts were drawn

    def checked(self, text: str, files: dict[str, str] | None = None, **asked: Any) -> Plan:
        return check(parse(text, "test.rcp"), read=lambda path: (files or {})[path], **asked)

    def options(self, **changes: Any) -> Options:
        settings = {"store": self.folder / "store", "smoke": True, "threads": 1} | changes
        return Options(out=settings.pop("out", self.folder / f"out-{next(self.numbers)}"), **settings)

    def run(self, text: str, files: dict[str, str] | None = None, **changes: Any) -> Done:
        """Run a recipe; the record must fit its schema and give a report."""
        asked = {name: changes.pop(name) for name in ("control", "seeds", "sets") if name in changes}
        listening = Listening()
        plan, options = self.checked(text, files, **asked), self.options(**changes)
        elsewhere = replace(options, out=self.folder / f"recalled-{next(self.numbers)}")
        recalled = answers.recall(plan, elsewhere, Listening())
        result = engine.execute(plan, options, listening)
        if recalled is not None:  # of everything that was run before, the answer must be that of the walk
            assert lasting(recalled) == lasting(result)
        jsonschema.validate(json.loads(json.dumps(result.report)), SCHEMA)
        new = _kinds(result.report) not in self.drawn  # charts take longer than most runs: each kind of record once
        self.drawn.add(_kinds(result.report))
        write(build(result.report), ("markdown",) if new else ("csv",), result.folder)
        return Done(result, tuple(listening.said))

    def plan(self, text: str, files: dict[str, str] | None = None, **changes: Any) -> PlanReport:
        """The plan of a recipe, which has a form as text and as JSON whatever it says."""
        asked = {name: changes.pop(name) for name in ("control", "seeds", "sets") if name in changes}
        report = planning.make(self.checked(text, files, **asked), self.options(**changes), timed=False)
        json.dumps(report.json())
        assert report.text()
        return report


def lasting(result: RunResult) -> tuple[Any, ...]:
    """What two runs must have in common that find every step in the store: all but when and in how much time."""
    report = json.loads(json.dumps({**result.report, "created": "", "command": ""}))
    report["environment"].pop("date")
    for run in (run for variant in report["variants"] for run in variant["runs"]):
        steps = [{**step, "seconds": step["seconds"] is not None} for step in run["steps"]]
        run["steps"] = json.loads(json.dumps(steps, sort_keys=True))  # the store keeps them in this order
    written = {
        str(path.relative_to(result.folder)): path.read_bytes()
        for path in result.folder.rglob("*")
        if path.is_file() and "report" not in path.name and "figures" not in path.parts
    }
    return json.dumps(report), written, result.exit_code, result.diagnostics, result.summary


def _kinds(report: dict[str, Any]) -> Any:
    """What a report may have to say that another has not."""
    variants = {(v["kind"], bool(v["error"]), v["chosen"], len(v["runs"]) > 1) for v in report["variants"]}
    steps = {(s["verb"], bool(s["ranking"])) for v in report["variants"] for r in v["runs"] for s in r["steps"]}
    return frozenset(variants), frozenset(steps), frozenset(e["holds"] for e in report["expectations"])


def states(report: PlanReport) -> dict[str, list[str]]:
    """What a plan says of each step, by its text."""
    found: dict[str, list[str]] = {}
    for row in report.rows:
        found.setdefault(row.text, []).append(row.state)
    return found


def row(report: PlanReport, start: str) -> PlanLine:
    """The first row whose text starts so."""
    return next(r for r in report.rows if r.text.startswith(start))


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """One store for the walk tests of a process: what two of them need is made once."""
    return Lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture
def apart(tmp_path: Path) -> Lab:
    """A store of its own, where a test counts what is made."""
    return Lab(tmp_path)


@pytest.fixture
def read_plan() -> Callable[[PlanReport], dict[str, list[str]]]:
    """What a plan says of each step, by its text."""
    return states


@pytest.fixture
def find_row() -> Callable[[PlanReport, str], PlanLine]:
    """The first row whose text starts so."""
    return row
