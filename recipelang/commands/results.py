"""Commands about finished runs: report, compare; and the reports that a run writes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recipelang.commands.boundary import DONE, FAILED, NOT_MET, WrongUsage, coloured, say
from recipelang.commands.sources import PathArgument
from recipelang.errors import RecipeError, Refusal
from recipelang.plan import effects, steps_of

if TYPE_CHECKING:
    from recipelang.plan import Plan
    from recipelang.report.context import ReportContext
    from recipelang.run.result import RunResult

DEFAULT_FORMS = ("markdown", "html")
FORMS = ("md", "html", "csv", "latex", "json", "model_card")  # a test compares them with the catalogue


def forms_of(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[Any, ...]:
    """`md,html` as single words, `model_card(license="mit")` as forms with settings; a click callback.

    The report decides what single words mean.

    Raises:
        WrongUsage: settings that a form does not have, at their place in the option.
    """
    if text and "(" in text:
        return _with_settings(text)
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip())) if text else ()


def _with_settings(text: str) -> tuple[Any, ...]:
    """The forms that a `report` statement of the language would name."""
    from recipelang.meaning.typed import methods  # settings are rare, and the language takes a while to load
    from recipelang.report.forms import SHORT

    try:
        return methods(text, "report", "--to ", SHORT)
    except RecipeError as error:
        raise WrongUsage(error.diagnostics, error.text) from None


@dataclass(frozen=True)
class Asked:
    """What `report` and `compare` are asked for beside the runs: see their options.

    Attributes:
        forms: to write, names or forms with settings. out: where; None is the command's own place, `-` standard output.
        view: which networks, in which order. limits: conditions under which the command fails.
        as_json: print JSON and no table.
    """

    forms: tuple[Any, ...]
    out: Path | None
    limits: tuple[str, ...]
    only: tuple[str, ...]
    front: bool
    sort: str
    as_json: bool

    @property
    def printed(self) -> bool:
        """Whether a form is printed instead of written: `--out -`."""
        return self.out is not None and str(self.out) == "-"

    def __post_init__(self) -> None:
        _require_forms(self.forms)
        if self.printed and (len(self.forms) != 1 or self.as_json):
            raise click.UsageError("`--out -` prints one form: name it, as in `--to md --out -`.")


def _require_forms(forms: Iterable[Any]) -> None:
    """Refuse an unknown form before anything is read.

    Raises:
        WrongUsage: RCP1105.
    """
    from recipelang.report.forms import made

    for form in forms:
        try:
            made(form)
        except Refusal as refusal:
            raise WrongUsage([refusal.at(None)]) from None


def _asking(command: Callable[..., int]) -> Callable[..., int]:
    """The options that `report` and `compare` share; the command gets them as one `Asked`."""
    options = (
        click.option("--to", "forms", callback=forms_of, metavar="FORM,…", help=f"Forms to write: {', '.join(FORMS)}."),
        click.option("--out", metavar="DIR", type=PathArgument(), help="Where to write; `-` prints the form itself."),
        click.option(
            "--fail-if",
            "limits",
            multiple=True,
            metavar="CONDITION",
            help="End with exit code 4 if a network meets it, noise aside: 'top1 drop > 1%'. May be repeated.",
        ),
        click.option(
            "--only",
            multiple=True,
            metavar="NAME",
            help="Networks to show: names, runs, or parts such as 'budget=0.5', with `*`. May be repeated.",
        ),
        click.option("--front", is_flag=True, help="Leave out variants that another network dominates."),
        click.option("--sort", default="", metavar="METRIC", help="Sort the variants by a column, the best first."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON; write only with --to or --out."),
    )

    @wraps(command)
    def asked(*arguments: Any, **named: Any) -> int:
        own = {field.name: named.pop(field.name) for field in fields(Asked)}
        return command(*arguments, asked=Asked(**own), **named)

    for option in reversed(options):
        asked = option(asked)
    return asked


@click.command()
@click.argument("run", type=PathArgument())
@_asking
def report(run: Path, asked: Asked) -> int:
    """Show the table of a finished run and write its report again.

    RUN is a run's folder or its report.json. Without --to, Markdown and HTML are written, into the run. `--json` prints
    the record.
    """
    from recipelang.report.context import load
    from recipelang.report.machine import record_json

    context = _limited(load(run), asked)
    forms = asked.forms or (() if asked.as_json and asked.out is None else DEFAULT_FORMS)
    return _show(context, asked, forms, run if run.is_dir() else run.parent, lambda files: record_json(context))


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN…", type=PathArgument())
@_asking
def compare(runs: tuple[Path, ...], asked: Asked) -> int:
    """Show several finished runs side by side.

    Each RUN, a folder or its report.json, is compared with its own healthy network. Nothing is written without --to or
    --out. `--json` prints the comparison.
    """
    from recipelang.report.context import recorded, side_by_side
    from recipelang.report.machine import comparison_json

    context = _limited(side_by_side([recorded(run) for run in runs]), asked)
    forms = asked.forms or (DEFAULT_FORMS if asked.out is not None else ())
    return _show(context, asked, forms, Path(), lambda files: comparison_json(context, files))


def _limited(context: ReportContext, asked: Asked) -> ReportContext:
    """The context as asked for, with the verdicts of `--fail-if`.

    Raises:
        WrongUsage: a condition, a network or a column is wrong.
    """
    from recipelang.report.context import viewed
    from recipelang.report.view import View

    try:
        shown = viewed(context, View(asked.only, asked.front, asked.sort))
        if not asked.limits:
            return shown
        from recipelang.report.failing import limited  # it reads the language, which takes longer than a report

        return limited(shown, asked.limits, every=bool(asked.only))
    except RecipeError as error:
        raise WrongUsage(error.diagnostics, error.text) from None
    except Refusal as refusal:
        raise WrongUsage([refusal.at(None)]) from None


def _show(
    context: ReportContext,
    asked: Asked,
    forms: Iterable[Any],
    beside: Path,
    as_json: Callable[[Iterable[Path]], str],
) -> int:
    """Write the forms, print what is asked for, and tell the limits that are broken; the exit code."""
    if asked.printed:
        from recipelang.report.render import alone

        click.echo(alone(context, asked.forms[0]), nl=False)
    else:
        files = _write(context, forms, asked.out or beside) if forms else []
        if asked.as_json:
            click.echo(as_json(files))
        else:
            _print(context, files)
    return _ended(context)


def _ended(context: ReportContext) -> int:
    """Tell the limits that are broken, undecided or close on stderr; the exit code."""
    for verdict in context.limits:
        if verdict.expectation.holds is not True or verdict.note:
            about = f"{verdict.of}: " if verdict.of else ""
            note = f" ({verdict.note})" if verdict.note else ""
            say(f"{verdict.mark} {about}{verdict.value}; expected {verdict.expectation.text}{note}")
    return DONE if all(verdict.expectation.holds for verdict in context.limits) else NOT_MET


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


def finish(result: RunResult, plan: Plan, *, outside: bool, tell: Callable[[str], None] = say) -> Written:
    """Write the reports of a run, in the forms and places that the recipe asks for, and give them to its trackers.

    What becomes of trackers is in the record, too, so it is written again where one fails at the very end.

    Args:
        tell: takes a line for each tracker: where its run is.
    """
    from recipelang import kinds

    following, warnings = result.following, result.report["warnings"]
    following.results(result.report)
    warnings += following.warnings
    written = _reports(result, plan, outside=outside)
    status = kinds.FAILED if result.exit_code == FAILED else kinds.FINISHED
    following.files(result.folder, written.files, result.report, status)
    if late := [warning for warning in following.warnings if warning not in warnings]:
        warnings += late
        written = _reports(result, plan, outside=outside)
    for place in following.places:
        tell(place)
    return written


def _reports(result: RunResult, plan: Plan, *, outside: bool) -> Written:
    """Write the reports of a run, in the forms and places that the recipe asks for."""
    from recipelang.report.context import build
    from recipelang.run.output import inside

    context = build(result.report, name=result.folder.name, folder=result.folder)
    left = [step.operation.needs().writes for step in steps_of(plan.nodes)]
    asked = [effect for effect in left if isinstance(effect, effects.Reported)]
    here = [form for reported in asked if not reported.to for form in reported.formats]
    files = _write(context, dict.fromkeys(here or DEFAULT_FORMS), result.folder)
    for reported in asked:
        if reported.to:
            folder = inside(result.folder, reported.to, outside)
            files += _write(context, dict.fromkeys(reported.formats), folder)
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


def _write(context: ReportContext, forms: Iterable[Any], folder: Path) -> list[Path]:
    """Write the report; its files, without the images beside it."""
    from recipelang.report.render import write

    return [file for file in write(context, tuple(forms), folder) if file.parent == folder]
