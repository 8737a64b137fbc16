"""`recipe migrate`: a recipe of another tool becomes one of ours, and what does not is told."""

from __future__ import annotations

from pathlib import Path

import click

from recipelang.commands.boundary import DONE, WORK_TO_DO, WrongUsage, say
from recipelang.commands.sources import PathArgument, Request, Source, checked, pointing_at, source
from recipelang.errors import Diagnostic
from recipelang.files import write_text
from recipelang.migrating.migrate import FORMATS
from recipelang.migrating.migrate import migrate as translated
from recipelang.migrating.reading import Wrong


@click.command()
@click.argument("file")
@click.option("-o", "--out", type=PathArgument(), help="Write the recipe there; by default it is printed.")
@click.option("--from", "kind", type=click.Choice(list(FORMATS)), help="The format, where the file looks like several.")
def migrate(file: str, out: Path | None, kind: str | None) -> int:
    """Translate a recipe of SparseML, LLM Compressor, Distiller or torchdistill.

    FILE is YAML; `-` reads standard input. The recipe says in comments what was not translated, with the line in FILE
    and what comes nearest here, what differs in meaning, and what FILE does not say, such as the network. The same is
    printed on stderr. No file is ever overwritten.

    Exit codes: 0 everything is translated, 5 something is not, 1 FILE is not such a recipe.
    """
    given = source(file)
    with pointing_at(given):
        try:
            found = translated(given.text, Path(given.path).name, kind or "")
        except Wrong as wrong:
            raise wrong.error(given.path, given.text) from None
    recipe = Source(found.recipe, str(out) if out else "<migrated>", out.parent if out else given.folder, out)
    with pointing_at(recipe):
        checked(recipe, Request())
    if out is None:
        click.echo(found.recipe, nl=False)
    else:
        if out.exists() or out.is_symlink():
            raise WrongUsage([Diagnostic("RCP1205", f"`{out}` already exists", help="name another file, or move it")])
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, found.recipe)
        click.echo(str(out))
    for note in found.notes:
        say(f"{given.path}{f':{note.line}' if note.line else ''}: {note.told()}")
    count = sum(note.kind == "missing" for note in found.notes)
    if count:
        items = f"{count} item{'s are' if count != 1 else ' is'}"
        say(f"\n{items} not translated; the comments of the recipe name what comes nearest.")
    return WORK_TO_DO if count else DONE
