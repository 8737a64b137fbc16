"""Commands that do the work or predict it: plan, run, gc."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from recipelang.commands.boundary import DONE, FAILED, NOT_MET, WORK_TO_DO, print_diagnostics, say
from recipelang.commands.results import finish, stay_inside
from recipelang.commands.sources import (
    PathArgument,
    Request,
    Source,
    checked,
    device_of,
    pointing_at,
    profile_for,
    seeds_of,
    sets_of,
    sources,
    trackers_of,
)
from recipelang.making import many_objects
from recipelang.units import counted, show

if TYPE_CHECKING:
    from recipelang.plan import Plan
    from recipelang.profile import Profile
    from recipelang.run.options import Options

F = TypeVar("F", bound=Callable[..., Any])

_RECIPE = (
    click.argument("file", required=False),
    click.option("-e", "oneliner", metavar="TEXT", help="Use this recipe instead of a file."),
)
#: Options of both `plan` and `run`, and of a notebook's cell, in the order of --help.
_SHARED = (
    click.option("--set", "sets", multiple=True, callback=sets_of, metavar="NAME=VALUE", help="Set a `let`."),
    click.option("--model", metavar="MODEL", help="The network, instead of the recipe's: 'torchvision.resnet18'."),
    click.option("--data", metavar="DATA", help="The data, instead of the recipe's: 'folder(\"photos\")'."),
    click.option("--seeds", callback=seeds_of, metavar="0,1,2", help="The seeds, instead of the recipe's."),
    click.option("--control", is_flag=True, help="Add a control: the same training without the surgery."),
    click.option("--profile", metavar="FILE", help="Where things are; default the nearest recipe.yaml."),
    click.option("--out", metavar="DIR", type=PathArgument(), help="Output; default runs/<recipe>-<n>."),
    click.option("--store", metavar="DIR", type=PathArgument(), help="Stored steps; default .recipe."),
    click.option("--device", callback=device_of, metavar="DEVICE", help="cpu, cuda or cuda:N, for training."),
    click.option(
        "--threads",
        type=click.IntRange(1, 1024),
        metavar="N",
        help="Default $OMP_NUM_THREADS, else all cores.",
    ),
    click.option("--smoke", is_flag=True, help="A few batches per stage, to see whether the whole recipe runs."),
    click.option("--fresh", is_flag=True, help="Compute and measure again what the store holds."),
    click.option("--trust", is_flag=True, help='Run Python code that the recipe names: python("file.py:build").'),
    click.option("--outside", is_flag=True, help="Let `export … to` and `report … to` leave the output folder."),
    click.option(
        "--track",
        "tracking",
        multiple=True,
        callback=trackers_of,
        metavar="TRACKER",
        help="Tell mlflow, tensorboard or wandb of the run, or `none`; default: as recipe.yaml. May be repeated.",
    ),
)


def shared(command: F) -> F:
    """A command with the options that a run and a plan of any recipe have."""
    for option in reversed(_SHARED):
        command = option(command)
    return command


def _of_recipe(command: F) -> F:
    """A command with the recipe that it names, and the shared options."""
    command = shared(command)
    for option in reversed(_RECIPE):
        command = option(command)
    return command


@dataclass(frozen=True)
class _Prepared:
    recipe: Source
    plan: Plan
    options: Options


def _prepare(arguments: dict[str, Any], command: str) -> _Prepared:
    """From the options of `plan` and `run` to a checked plan and the options of the engine."""
    from recipelang.run.following import require

    recipe = sources([arguments["file"]] if arguments["file"] else [], arguments["oneliner"])[0]
    with pointing_at(recipe):
        plan, profile = checked(recipe, request_of(arguments))
        stay_inside(plan, outside=arguments["outside"])
    print_diagnostics(plan.warnings, recipe.text_at)
    options = options_of(arguments, recipe, profile, command)
    require(options.tracking)
    return _Prepared(recipe, plan, options)


def request_of(arguments: Mapping[str, Any]) -> Request:
    """What the shared options add to a recipe."""
    return Request(**{name: arguments[name] for name in ("profile", "model", "data", "sets", "control", "seeds")})


def options_of(arguments: Mapping[str, Any], recipe: Source, profile: Profile, command: str) -> Options:
    """The options of the engine; the shared options override the profile."""
    from recipelang.run.options import Options

    return Options(
        out=arguments["out"],
        store=arguments["store"] or profile.store,
        device=arguments["device"] or profile.device,
        threads=arguments["threads"] or profile.threads,
        fresh=arguments["fresh"],
        smoke=arguments["smoke"],
        trust=arguments["trust"],
        resolve=partial(profile.resolve, recipe_dir=recipe.folder),
        recipe_dir=recipe.folder,
        command=command,
        follow_links=profile.links == "follow",
        outside=arguments["outside"],
        tracking=profile.tracking if (asked := arguments.get("tracking")) is None else asked,
    )


@click.command()
@_of_recipe
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 5 where there is work to do, with 0 where none.")
@click.pass_obj
def plan(command: str, as_json: bool, detailed_exitcode: bool, **arguments: Any) -> int:
    """Show what a run would do, without doing it.

    Steps in words, what is stored and why the rest is not, resolved layers, the reach of each budget, a rough time.
    Exit code 3 where a step is known to fail.
    """
    prepared = _prepare(arguments, command)
    return _show_plan(prepared, as_json=as_json, detailed=detailed_exitcode)


def _show_plan(prepared: _Prepared, *, as_json: bool = False, detailed: bool = False) -> int:
    from recipelang.run import answers
    from recipelang.run.progress import progress

    with pointing_at(prepared.recipe):
        report = answers.recall_plan(prepared.plan, prepared.options, progress())
        if report is None:
            with many_objects():
                from recipelang.run import planning  # it loads torch

            report = planning.make(prepared.plan, prepared.options, progress=progress())
    click.echo(json.dumps(report.json(), indent=2) if as_json else report.text().rstrip())
    print_diagnostics(report.problems, prepared.recipe.text_at)
    if report.problems:
        return FAILED
    return WORK_TO_DO if detailed and report.work_to_do else DONE


@click.command()
@_of_recipe
@click.option("--dry-run", is_flag=True, help="Only show what would be done: the same as `recipe plan`.")
@click.option("--json", "as_json", is_flag=True, help="Print the result of the run as JSON; all else goes to stderr.")
@click.pass_obj
def run(command: str, dry_run: bool, as_json: bool, **arguments: Any) -> int:
    """Carry out a recipe and write the comparison report.

    Finished steps are stored: after an interruption, or a changed line, the same command continues from there.
    Exit code 3 where a step failed, 4 where an `expect` was not met.
    """
    prepared = _prepare(arguments, command)
    if dry_run:
        return _show_plan(prepared, as_json=as_json)
    from recipelang.run import answers

    with pointing_at(prepared.recipe):
        result = answers.recall(prepared.plan, prepared.options)
        if result is None:
            with many_objects():
                from recipelang.run import engine  # it loads torch

            result = engine.execute(prepared.plan, prepared.options)
    written = finish(result, prepared.plan, outside=prepared.options.outside)
    say(result.summary)
    if as_json:
        written.show_json(result)
    else:
        written.show()
    print_diagnostics(result.diagnostics, prepared.recipe.text_at)
    if result.exit_code == NOT_MET:
        for line in unmet(result.report):
            say(line)
    return result.exit_code


def unmet(report: Mapping[str, Any]) -> Iterator[str]:
    """A line on every `expect` of a record that does not hold, or that could not be decided."""
    from recipelang.kinds.figure import read, words

    for verdict in report["expectations"]:
        if not verdict["holds"]:
            where = ", ".join(filter(None, (f"line {verdict['line']}", verdict["variant"])))
            outcome = "undecided" if verdict["holds"] is None else "not met"
            measured = words(read(verdict["figures"])) or verdict["value"]
            yield f"{outcome}: `{verdict['text']}` ({where}): {measured}"


@click.command()
@click.option("--store", metavar="DIR", type=PathArgument(), help="The store; default .recipe.")
@click.option("--profile", metavar="FILE", help="Where things are; default the nearest recipe.yaml.")
@click.option("--all", "everything", is_flag=True, help="Also free what existing runs use; they compute it again.")
@click.option("--dry-run", is_flag=True, help="Only show what would be freed.")
def gc(store: Path | None, profile: str | None, everything: bool, dry_run: bool) -> int:
    """Free stored steps that no run folder uses any more.

    What a running command works on is kept. What the user's cache holds of images, charts, libraries and measured
    times and nothing has used for 30 days is freed as well, and what was planned before.
    """
    from recipelang.images.cache import free_unused
    from recipelang.run.answers import free_plans
    from recipelang.run.store import Store

    verb = "would free" if dry_run else "freed"
    folder = store or profile_for(Path.cwd(), profile).store or Path(".recipe")
    if folder.is_dir():
        kept = Store(folder)
        before = kept.size()
        freed = kept.gc(everything=everything, dry_run=dry_run)
        click.echo(
            f"{folder}: {show(before, 'B')}, {verb} {show(freed.bytes, 'B')} "
            f"({counted(freed.entries, 'step')}, {freed.unfinished} unfinished)"
        )
    else:
        say(f"there is no store at {folder}")
    if unused := free_unused(everything=everything, dry_run=dry_run):
        click.echo(f"cache of images, charts and measured times: {verb} {show(unused, 'B')}")
    if plans := free_plans(dry_run=dry_run):
        click.echo(f"cache of plans: {verb} {show(plans, 'B')}")
    return DONE
