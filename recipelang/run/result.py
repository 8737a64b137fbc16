"""The result of a run, as the commands and the reports take it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recipelang.errors import Diagnostic
from recipelang.run.following import Following
from recipelang.run.store import Store
from recipelang.units import counted, show


@dataclass(frozen=True)
class RunResult:
    """The result of a run.

    Attributes:
        report: the record, as `reports/report.schema.json` describes it.
        folder: the output folder.
        exit_code: 0 done, 3 a step failed, 4 an `expect` was not met.
        diagnostics: what went wrong, at lines of the recipe.
        summary: one line on what came from the store.
        following: tells trackers of the run, until its reports are written.
    """

    report: dict[str, Any]
    folder: Path
    exit_code: int
    diagnostics: tuple[Diagnostic, ...] = field(default=())
    summary: str = ""
    following: Following = field(default_factory=Following, compare=False, repr=False)


def summary(stored: int, made: int, store: Store) -> str:
    """One line on what came from the store."""
    return f"{counted(made + stored, 'step')}: {stored} from the store, {made} done; {store.root} holds " + show(
        store.size(), "B"
    )
