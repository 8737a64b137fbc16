"""Commands about finished runs: report, compare; and the reports that a run writes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recipelang.catalogue import names
from recipelang.commands.boundary import DONE, coloured, say
from recipelang.errors import Refusal

if TYPE_CHECKING:
    from recipelang.plan import Plan
    from recipelang.run.options import Options

SHORT = {"md": "markdown"}


def forms_of(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[str, ...]:
    """`md,html` as names of report methods; a click callback."""
    if text is None:
        return ()
    forms = tuple(dict.fromkeys(SHORT.get(word.strip(), word.strip()) for word in text.split(",")))
    known = names("report")
    for form in forms:
        if form not in known:
            raise click.BadParameter(f"there is no form `{form}` of a report; there are {', '.join(known)}.")
    return forms


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--to", "forms", callback=forms_of, metavar="FORM,…", help="Forms to write: md, html; default both.")
@click.option("--out", metavar="DIR", type=click.Path(path_type=Path), help="Where to write; default into the run.")
def report(run: Path, forms: tuple[str, ...], out: Path | None) -> int:
    """Show the table of a finished run and write its report again.

    RUN is a run's folder or its report.json.
    """
    from recipelang.report.context import build

    file = _report_file(run)
    context = build(read_report(file))
    _print_table(context)
    _write(context, forms or names("report"), out or file.parent)
    return DONE


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN…", type=click.Path(path_type=Path))
@click.option("--to", "forms", callback=forms_of, metavar="FORM,…", help="Also write the comparison: md, html.")
@click.option("--out", metavar="DIR", type=click.Path(path_type=Path), help="Where to write; default here.")
def compare(runs: tuple[Path, ...], forms: tuple[str, ...], out: Path | None) -> int:
    """Show several finished runs side by side.

    Each RUN, a folder or its report.json, is held against its own healthy network.
    """
    if out is not None and not forms:
        forms = names("report")
    from recipelang.report.context import build, compare

    context = compare([build(read_report(_report_file(run))) for run in runs])
    _print_table(context)
    if forms:
        _write(context, forms, out or Path())
    return DONE


def _report_file(run: Path) -> Path:
    return run / "report.json" if run.is_dir() else run


def read_report(file: Path) -> Any:
    """The JSON of a finished run.

    Raises:
        Refusal: RCP1204: there is no such file, or it is no JSON.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        help = "name the folder of a finished run, such as runs/quickstart-1"
        raise Refusal("RCP1204", f"cannot read `{file}`: {why}", help) from None
    except (ValueError, RecursionError) as error:
        raise Refusal("RCP1204", f"`{file}` is no report: {error}", "name the report.json that a run wrote") from None


def write_reports(report: dict[str, Any], folder: Path, plan: Plan, options: Options) -> list[Path]:
    """Print the table of a run and write the reports that its recipe asks for; the files written."""
    from recipelang.report.context import build

    context = build(report)
    _print_table(context)
    return []


def _print_table(context: Any) -> None:
    from rich.console import Console

    from recipelang.report.terminal import print_table

    colour = coloured(sys.stdout)
    width = None if sys.stdout.isatty() else 100
    print_table(context, Console(file=sys.stdout, no_color=not colour, width=width, highlight=False))


def _write(context: Any, forms: Iterable[str], folder: Path) -> None:
    from recipelang.report.render import write

    for file in write(context, tuple(forms), folder):
        say(f"wrote {file}")
