"""Commands about the text alone: check, fmt, list, explain. None of them imports torch."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from recipelang import verbs
from recipelang.catalogue import FOLDERS, find, names, summary
from recipelang.commands.boundary import DONE, USAGE, WRONG_RECIPE, coloured, print_diagnostics, say
from recipelang.commands.sources import Request, Source, checked, pointing_at, source, sources
from recipelang.errors import Diagnostic, RecipeError, nearest
from recipelang.files import write_text
from recipelang.lazy import difflib
from recipelang.plan import steps_of


@click.command()
@click.argument("files", nargs=-1)
@click.option("-e", "oneliner", metavar="TEXT", help="Check this recipe instead of a file.")
@click.option("--profile", metavar="FILE", help="Where things are on this machine; default the nearest recipe.yaml.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def check(files: tuple[str, ...], oneliner: str | None, profile: str | None, as_json: bool) -> int:
    """Check recipes: words, units, order, budgets. Every mistake at once, each under its word.

    FILES are recipes; `-` reads standard input. Exit code 1 where there is a mistake.
    """
    request = Request(profile=profile)
    if files and oneliner is None:
        results = [_checked_file(name, request) for name in files]
    else:
        results = [_checked(recipe, request) for recipe in sources(files, oneliner)]
    if as_json:
        report = [
            {"path": recipe.path, "ok": code == DONE, "steps": steps, "diagnostics": [d.json() for d in diagnostics]}
            for recipe, code, steps, diagnostics in results
        ]
        click.echo(json.dumps({"format": "recipelang.check/1", "files": report}, indent=2))
    else:
        for recipe, code, steps, diagnostics in results:
            print_diagnostics(diagnostics, recipe.text_at)
            if code == DONE:
                click.echo(f"{recipe.path}: ok, {steps} statement{'s' if steps != 1 else ''}")
    return max(code for _, code, _, _ in results)


def _checked_file(name: str, request: Request) -> tuple[Source, int, int, tuple[Diagnostic, ...]]:
    """The same as `_checked` of a file; where it cannot be read, the other files are still checked."""
    try:
        recipe = source(name)
    except RecipeError as error:
        return Source("", name, Path.cwd()), error.exit_code, 0, error.diagnostics
    return _checked(recipe, request)


def _checked(recipe: Source, request: Request) -> tuple[Source, int, int, tuple[Diagnostic, ...]]:
    """(recipe, exit code, number of steps, diagnostics with warnings)."""
    try:
        plan, _ = checked(recipe, request)
    except RecipeError as error:
        return recipe, error.exit_code, 0, error.diagnostics
    return recipe, DONE, sum(1 for _ in steps_of(plan.nodes)), plan.warnings


@click.command()
@click.argument("files", nargs=-1, required=True)
@click.option("--check", "only_check", is_flag=True, help="Write nothing; exit code 1 if a file is not formatted.")
@click.option("--diff", is_flag=True, help="Write nothing; print what would change.")
def fmt(files: tuple[str, ...], only_check: bool, diff: bool) -> int:
    """Format recipes in place. Comments and meaning are kept, and there is nothing to configure.

    FILES are recipes; `-` formats standard input to standard output.
    """
    code = DONE
    for name in files:
        try:
            recipe = source(name)
            with pointing_at(recipe):
                changed = _format_one(recipe, write=not (only_check or diff), diff=diff)
        except (RecipeError, click.exceptions.Exit) as wrong:  # the other files are still formatted
            if isinstance(wrong, RecipeError):
                print_diagnostics(wrong.diagnostics, lambda path: "")
            code = max(code, wrong.exit_code)
            continue
        if changed and only_check:
            code = max(code, WRONG_RECIPE)
    return code


def _format_one(recipe: Source, *, write: bool, diff: bool) -> bool:
    """Format one recipe; whether it was not formatted."""
    from recipelang.syntax.format import format

    formatted = format(recipe.text, recipe.path)
    if "\r\n" in recipe.text:  # a Windows file keeps its line endings
        formatted = formatted.replace("\r\n", "\n").replace("\n", "\r\n")
    changed = formatted != recipe.text
    if diff:
        before, after = recipe.text.splitlines(keepends=True), formatted.splitlines(keepends=True)
        for line in difflib.unified_diff(before, after, recipe.path, recipe.path):
            click.echo(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n", nl=False)
    elif write and recipe.file is None:
        click.echo(formatted, nl=False)
    elif changed and recipe.file:
        if write:
            file = recipe.file.resolve()
            write_text(file, formatted, mode=file.stat().st_mode & 0o7777)
        say(f"{'formatted' if write else 'would format'} {recipe.path}")
    elif changed:
        say(f"would format {recipe.path}")
    return changed


@click.command(name="list")
@click.argument("kind", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the catalogue, settings included, as JSON.")
def list_words(kind: str | None, as_json: bool) -> int:
    """List verbs and methods, each with a one-line description.

    KIND is `verb` or a kind of method: criterion, loss, metric, model, data, …
    """
    kinds = {"verb": "verbs", **FOLDERS}
    if as_json:
        from recipelang import vocabulary

        told = vocabulary.catalogue_json(_kind(kind, kinds) if kind else "")
        click.echo(json.dumps({"format": "recipelang.catalogue/1", **told}, indent=2))
        return DONE
    shown = [_kind(kind, kinds)] if kind else list(kinds)
    listed = {name: _summaries(name) for name in shown}
    width = max(len(word) for entries in listed.values() for word, _ in entries)
    for name, entries in listed.items():
        click.echo(click.style(kinds[name], bold=coloured(sys.stdout)))
        for word, line in entries:
            click.echo(f"  {word:<{width}}  {line}")
    if not kind:
        say("\n`recipe explain WORD` says what one of them does and what can be set.")
    return DONE


def _kind(word: str, kinds: Mapping[str, str]) -> str:
    """The kind that a word means, singular or plural."""
    found = {**{folder: kind for kind, folder in kinds.items()}, **{kind: kind for kind in kinds}}.get(word)
    if found is None:
        close = nearest(word, kinds)
        hint = f" Did you mean `{close}`?" if close else ""
        raise click.UsageError(f"There is no kind `{word}`.{hint} Kinds: {', '.join(kinds)}.")
    return found


def _summaries(kind: str) -> list[tuple[str, str]]:
    """(name, first line of the card) of every verb or of every method of a kind."""
    if kind == "verb":
        found = ((name, verbs.find(name)) for name in verbs.names())
        return [(name, verb.summary) for name, verb in found if verb]
    methods = ((name, find(kind, name)) for name in names(kind))
    return [(name, summary(method)) for name, method in methods if method]


@click.command()
@click.argument("words", nargs=-1, metavar="[WORD]")
@click.option("--json", "as_json", is_flag=True, help="Print what the word is as JSON.")
def explain(words: tuple[str, ...], as_json: bool) -> int:
    """Explain a word of recipes or an error code, with examples.

    WORD is whatever can stand in a recipe: a verb, a method, a setting, a clause word, a unit, a state, a sign (`'<'`),
    or a code. Without it, everything that can be explained is listed by kind.
    """
    from recipelang import vocabulary

    word = " ".join(words)
    if not word.strip():
        return _explainable(as_json)
    text = vocabulary.explain(word)
    if text is None:
        strange, close = _strange(word)
        say(f"error: `{strange}` is neither a word of recipes nor an error code")
        say(f" = help: did you mean `{close}`?" if close else " = help: `recipe list` shows verbs and methods")
        return USAGE
    if as_json:
        told = {"format": "recipelang.explain/1", "word": word, "cards": vocabulary.card_json(word)}
        click.echo(json.dumps(told, indent=2))
    else:
        click.echo(text.rstrip())
    return DONE


def _strange(word: str) -> tuple[str, str | None]:
    """The first of several words that is unknown, and the known one that is most similar."""
    from recipelang import vocabulary

    strange = next((part for part in word.split() if vocabulary.explain(part) is None), word)
    return strange, nearest(strange, vocabulary.known()) or nearest(strange.lower(), vocabulary.known())


def _explainable(as_json: bool) -> int:
    """List the kinds of words."""
    from recipelang import vocabulary

    rows = vocabulary.sorts()
    if as_json:
        told = {"format": "recipelang.explain/1", "words": sorted(vocabulary.known())}
        click.echo(json.dumps(told, indent=2))
        return DONE
    width = max(len(what) for what, _ in rows)
    for what, examples in rows:
        click.echo(f"{what:<{width}}  {examples}")
    say("\n`recipe explain WORD` explains one of them, `recipe list KIND` lists all methods of a kind.")
    return DONE
