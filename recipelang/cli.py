"""The command `recipe`: thin, one function for each command, in `commands/`.

Imports here are lean: `check`, `fmt`, `list` and `explain` start in about 0.1 s and never load torch.
"""

from __future__ import annotations

import gc
import importlib
import os
import shlex
import sys
from collections.abc import Sequence

import click

from recipelang import __version__
from recipelang.commands.boundary import ReaderGone, guarded, last_moments

#: command → where it is, in the order of use; a command is imported when it is called or listed
COMMANDS = {
    "check": "language.check",
    "fmt": "language.fmt",
    "plan": "work.plan",
    "run": "work.run",
    "report": "results.report",
    "compare": "results.compare",
    "list": "language.list_words",
    "explain": "language.explain",
    "layers": "machine.layers",
    "profile": "profiling.profile",
    "init": "init.init",
    "migrate": "migrate.migrate",
    "doctor": "machine.doctor",
    "lsp": "editor.lsp",
    "completion": "shells.completion",
    "gc": "work.gc",
}


class _Recipe(click.Group):
    """Lists commands in the order of use, not alphabetically; reports a reader that has closed the output."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except BrokenPipeError as error:
            raise ReaderGone from error

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, command = COMMANDS[name].partition(".")
        if module not in ("language", "results"):  # reports make many objects, and little garbage
            gc.enable()
        found: click.Command = getattr(importlib.import_module(f"recipelang.commands.{module}"), command)
        if "_RECIPE_COMPLETE" in os.environ:
            from recipelang.commands import shells

            shells.prepare(found)
        return found


@click.group(cls=_Recipe, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="recipelang")
def recipe() -> None:
    """Make neural networks smaller and faster with recipes that read like a lab protocol.

    \b
    recipe run -e 'prune layers by imprint until latency<0.7; sparsify nm 2:4; distill from healthy, recovered'

    Exit codes: 0 done, 1 the recipe is wrong, 2 wrong usage, 3 a step failed, 4 an `expect` was not met or a
    `--fail-if` holds, 5 work to do (plan --detailed-exitcode, migrate), 70 a bug in recipelang, 130 interrupted
    (and resumable), 141 the output was closed by its reader.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with the exit code of the result.

    Args:
        arguments: what follows `recipe`; default the process's own.
    """
    # Before torch is loaded: threads that wait for each other by spinning take each other's cores wherever
    # another process wants them as well, and a training takes ten times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    gc.disable()  # starting makes many objects and no garbage to look for
    typed = list(sys.argv[1:] if arguments is None else arguments)
    command = shlex.join(["recipe", *typed])
    try:
        sys.exit(guarded(lambda: recipe.main(typed, prog_name="recipe", standalone_mode=False, obj=command), command))
    finally:
        gc.enable()
        if arguments is None:
            last_moments()


if __name__ == "__main__":
    main()
