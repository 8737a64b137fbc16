"""Commands about finished runs: report, compare; and the reports that a run writes."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from recipelang.commands.boundary import DONE, coloured
from recipelang.commands.sources import PathArgument
from recipelang.errors import RecipeError, Refusal
from recipelang.plan import effects, steps_of

if TYPE_CHECKING:
    from recipelang.plan import Plan
    from recipelang.report.context import ReportContext
    from recipelang.run.engine import RunResult

DEFAULT_FORMS = ("markdown", "html")


def forms_of(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[str, ...]:
    """`md,html` as single words; a click callback. The report decides what the words mean."""
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip())) if text else ()


@click.command()
@click.argument("run", type=PathArgument())
@click.option("--to", "forms", callback=forms_of, metavar="FORMAT,…", help="Formats to write; default md,html.")
@click.option("--out", metavar="DIR", type=PathArgument(), help="Where to write; default into the run.")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON; write only with --to or --out.")
def report(run: Path, forms: tuple[str, ...], out: Path | None, as_json: bool) -> int:
    """Show the table of a finished run and write its report again.

    RUN is a run's folder or its report.json.
    """
    from recipelang.report.context import load
    from recipelang.report.machine import record_json

    context = load(run)
    asked = bool(forms) or out is not None or not as_json
    files = _write(context, forms or DEFAULT_FORMS, out or (run if run.is_dir() else run.parent)) if asked else []
    if as_json:
        click.echo(record_json(context))
    else:
        _print(context, files)
    return DONE


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN…", type=PathArgument())
@click.option("--to", "forms", callback=forms_of, metavar="FORMAT,…", help="Also write the comparison: md,html.")
@click.option("--out", metavar="DIR", type=PathArgument(), help="Where to write; default here.")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def compare(runs: tuple[Path, ...], forms: tuple[str, ...], out: Path | None, as_json: bool) -> int:
    """Show several finished runs side by side.

    Each RUN, a folder or its report.json, is compared with its own healthy network.
    """
    from recipelang.report.context import compare, load
    from recipelang.report.machine import comparison_json

    context = compare([load(run) for run in runs])
    files = _write(context, forms or DEFAULT_FORMS, out or Path()) if forms or out is not None else []
    if as_json:
        click.echo(comparison_json(context, files))
    else:
        _print(context, files)
    return DONE


@dataclass(frozen=True)
class Written:
    """The reports of a run, on disk before anything is printed, since the reader of the output may close it early."""

    context: ReportContext
    files: tuple[Path, ...]

    def show_json(self, result: RunResult) -> None:
        """Print the run as JSON, and nothing else."""
        from recipelang.report.machine import run_json

        ended = {"exit_code": result.exit_code, "folder": result.folder, "diagnostics": result.diagnostics}
        click.echo(run_json(result.report, files=self.files, **ended))  # type: ignore[arg-type]

    def show(self) -> None:
        """Print the table and where the reports are."""
        _print(self.context, self.files)


def finish(result: RunResult, plan: Plan, *, outside: bool) -> Written:
    """Write the reports of a run, in the forms and places that the recipe asks for."""
    from recipelang.report.context import build
    from recipelang.run.output import inside

    context = build(result.report, name=result.folder.name)
    left = [step.operation.needs().writes for step in steps_of(plan.nodes)]
    asked = [effect for effect in left if isinstance(effect, effects.Reported)]
    here = [form.name for reported in asked if not reported.to for form in reported.formats]
    files = _write(context, dict.fromkeys(here or DEFAULT_FORMS), result.folder)
    for reported in asked:
        if reported.to:
            folder = inside(result.folder, reported.to, outside)
            files += _write(context, dict.fromkeys(form.name for form in reported.formats), folder)
    return Written(context, tuple(files))


def stay_inside(plan: Plan, *, outside: bool) -> None:
    """Refuse `report … to` and `export … to` that would leave the output folder, before any work is done.

    Raises:
        RecipeError: RCP0912, or RCP1214 where the path is invalid, at the statement.
    """
    from recipelang.run.output import inside, leaves

    wrong = []
    for step in steps_of(plan.nodes):
        effect = step.operation.needs().writes
        to = effect.to if isinstance(effect, effects.Reported | effects.Written) else ""
        try:
            inside(Path(), to if leaves(to) else "", outside)
        except Refusal as refusal:
            wrong.append(refusal.at(step.span, step.path))
    if wrong:
        raise RecipeError(wrong, plan.text)


def _print(context: ReportContext, files: Iterable[Path]) -> None:
    """Print the table, and where the report is.

    Raises:
        BrokenPipeError: the reader closed the pipe.
    """
    from recipelang.report.terminal import Screen, print_table

    terminal = sys.stdout.isatty()
    console = Screen(file=sys.stdout, no_color=not coloured(sys.stdout), width=None if terminal else 120)
    print_table(context, console)
    for file in files:
        click.echo(str(file))


def _write(context: ReportContext, forms: Iterable[str], folder: Path) -> list[Path]:
    """Write the report; its files, without the images beside it."""
    from recipelang.report.render import write

    return [file for file in write(context, tuple(forms), folder) if file.parent == folder]
