"""`%%recipe`: a cell that is a recipe. `%load_ext recipelang` brings it; the extra `jupyter` brings the kernel."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from functools import partial
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from IPython.display import display

from recipelang.api.calls import carried_out, shown
from recipelang.api.finished import Result
from recipelang.api.process import borrowed
from recipelang.api.variables import source, with_variables
from recipelang.commands.boundary import DONE, print_diagnostics
from recipelang.commands.results import stay_inside
from recipelang.commands.sources import Source, checked
from recipelang.commands.work import options_of, request_of, shared, unmet
from recipelang.errors import Diagnostic, RecipeError
from recipelang.given import Given, giving
from recipelang.kinds import Progress
from recipelang.notebook import completion
from recipelang.notebook.told import CellFailed, failed, telling
from recipelang.plan import Plan, steps_of
from recipelang.units import counted

if TYPE_CHECKING:
    from recipelang.run.options import Options

NAME = "recipe"
_NO_RUN = ("bound", "out", "store", "device", "threads", "smoke", "fresh", "trust", "outside", "tracking")
#: what a cell does → the parameters that would change nothing of it
IDLE = {"run": (), "plan": ("bound",), "check": _NO_RUN}


@click.command(f"%%{NAME}", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("what", type=click.Choice(["run", "plan", "check"]), default="run")
@click.option("--as", "bound", metavar="NAME", help="The variable that the result gets; also names the run.")
@shared
def _line(**arguments: Any) -> None:
    """Run the recipe in this cell and show its report; or only `plan` or `check` it.

    `$name` takes the variable `name` of the notebook where the recipe itself gives `name` no value.
    """


def register(shell: Any) -> None:
    """Bring the magic into a notebook or an IPython session."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, see `cli.main`
    magic = partial(_cell, shell)
    magic.__doc__ = _line.get_help(click.Context(_line, info_name=_line.name))
    shell.register_magic_function(magic, "cell", NAME)
    shell.Completer.custom_matchers.append(completion.words)


def withdraw(shell: Any) -> None:
    """Remove what `register` brought."""
    shell.magics_manager.magics["cell"].pop(NAME, None)
    while completion.words in shell.Completer.custom_matchers:
        shell.Completer.custom_matchers.remove(completion.words)


def _cell(shell: Any, line: str, cell: str) -> Result | None:
    """Do what a cell asks for; the result of a run.

    Raises:
        CellFailed: the recipe or the options are wrong, a step failed, or an `expect` was not met.
    """
    arguments = _arguments(line)
    if arguments is None:
        return None
    recipe = source(cell, arguments["bound"] or "cell")
    with telling(lambda path: recipe.text_at(path)):
        request = request_of(arguments)
        objects: dict[str, Given] = {}
        try:
            plan, profile = checked(recipe, request)
        except RecipeError as error:
            recipe = with_variables(recipe, error, shell.user_ns, objects)
            with giving(objects):
                plan, profile = checked(recipe, request)
        print_diagnostics(plan.warnings, recipe.text_at)
        if arguments["what"] == "check":
            print(f"{recipe.path}: ok, {counted(sum(1 for _ in steps_of(plan.nodes)), 'statement')}")
            return None
        stay_inside(plan, outside=arguments["outside"])
        options = options_of(arguments, recipe, profile, f"%%{NAME} {line}".strip())
        progress = shown(True)
        with giving(objects), borrowed(options.device):
            if arguments["what"] == "plan":
                _plan(recipe, plan, options, progress)
                return None
            result, diagnostics = carried_out(plan, options, progress, objects)
        print(result.summary)
        return _told(shell, recipe, result, diagnostics, arguments["bound"])


def _arguments(line: str) -> Mapping[str, Any] | None:
    """The options on the line of the magic; None where it asks for help, which is printed."""
    try:
        context = _line.make_context(_line.name, shlex.split(line))
        arguments = context.params
        _refuse_idle(context)
        bound = arguments["bound"]
        if bound is not None and (not bound.isidentifier() or iskeyword(bound)):
            raise click.BadParameter(f"`{bound}` is not a name for a variable.", param_hint="--as")
        return arguments
    except click.exceptions.Exit:
        return None
    except click.ClickException as error:
        raise CellFailed([f"error: {error.format_message()}", " = help: `%%recipe --help` lists the options"]) from None
    except ValueError as error:  # shlex: a quote that is not closed
        raise CellFailed([f"error: the options cannot be read: {error}"]) from None


def _refuse_idle(context: click.Context) -> None:
    """Refuse an option that what the cell does has no use for.

    Raises:
        click.UsageError: with the option.
    """
    what = context.params["what"]
    for parameter in context.command.params:
        given = context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
        if given and parameter.name in IDLE[what]:
            raise click.UsageError(f"`{parameter.opts[0]}` changes nothing of `%%{NAME} {what}`.")


def _plan(recipe: Source, plan: Plan, options: Options, progress: Progress) -> None:
    """Show what a run would do.

    Raises:
        CellFailed: a step is known to fail.
    """
    from recipelang.run import planning

    try:
        report = planning.make(plan, options, progress=progress)
    finally:
        progress.stop()
    print(report.text().rstrip())
    if report.problems:
        raise failed(report.problems, recipe.text_at)


def _told(shell: Any, recipe: Source, result: Result, diagnostics: Iterable[Diagnostic], bound: str | None) -> Result:
    """The result of a run, which gets its name.

    Raises:
        CellFailed: a step failed, or an `expect` was not met; the report is shown first.
    """
    if bound:
        shell.user_ns[bound] = result
    if result.exit_code == DONE:
        print_diagnostics(diagnostics, recipe.text_at)
        return result
    display(result)
    wrong = failed(diagnostics, recipe.text_at)
    raise CellFailed([*wrong.lines, *unmet(result.record)])
