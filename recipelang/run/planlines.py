"""A plan as lines: what `recipe plan` prints."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from recipelang.errors import Diagnostic
from recipelang.units import counted

#: follows the machine where it was busy: times are longer than necessary then
BUSY = ", busy with other processes: times are longer than necessary"


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
            lines.append(f"rough time: {duration(self._seconds())}{', partly a guess' if guess else ''}")
        elif any(row.state == "fails" for row in self.rows):
            lines.append("nothing runs before the step that fails: see above")
        else:
            lines.append("nothing to do: every step is in the store")
        return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


def _about(row: PlanLine) -> str:
    if row.seconds is None:
        return ""
    return f", about {duration(row.seconds)}{' (a guess)' if row.guess else ''}"


def duration(value: float) -> str:
    """`40 s`, `3 min`, `2.5 h`: as rough as the estimate."""
    if value < 90:
        return f"{max(1, round(value))} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"
