"""`recipe init`: a first recipe for your own network, data, device and budget; without any of them, the starter."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recipelang import paths
from recipelang.commands.boundary import DONE, INTERRUPTED, WrongUsage, say
from recipelang.commands.networks import task_of
from recipelang.commands.questions import ASKED, OPTION, asked, condition, points, runtime, stand_in
from recipelang.commands.sources import PathArgument, Source, device_of, pointing_at, profile_for
from recipelang.errors import Diagnostic, RecipeError, Refusal, StepFailed, typed
from recipelang.files import used_text
from recipelang.profile import FILE_NAME, Profile, locate, parse_profile

if TYPE_CHECKING:
    from recipelang.drafting.facts import Wish
    from recipelang.plan import Condition, Plan

RECIPE = "first.rcp"
#: codes of conditions that hold from the start or must never hold: their help is about clauses, which the option lacks
NO_GOAL = ("RCP0607", "RCP0608")


def _points(context: click.Context, option: click.Parameter, text: str | None) -> float | None:
    try:
        return None if text is None else points(text)
    except ValueError as wrong:
        raise click.BadParameter(f"{wrong}.") from None


@click.command()
@click.argument("folder", default=".", type=PathArgument())
@click.option("--model", metavar="MODEL", help="The network: resnet56, 'torchvision.resnet18(weights=\"DEFAULT\")'.")
@click.option("--data", metavar="DATA", help="The data: 'folder(\"photos\", size=224)'.")
@click.option("--task", metavar="TASK", help="What MODEL is for; default: as MODEL or the data say.")
@click.option("--device", callback=device_of, metavar="DEVICE", help="Where it will be executed: cpu, cuda, cuda:N.")
@click.option("--runtime", metavar="RUNTIME", help="What executes it: torch, onnxruntime, openvino.")
@click.option("--batch", type=click.IntRange(1, 100_000), metavar="N", help="Inputs in one call; default 1.")
@click.option("--threads", type=click.IntRange(1, 1024), metavar="N", help="CPU threads of a call; default 1.")
@click.option("--budget", metavar="CONDITION", help="What to reach: 'latency < 0.7', 'size < 5MB', 'flops < 0.5'.")
@click.option("--drop", callback=_points, metavar="POINTS", help="Quality to give up.")
@click.option("--trust", is_flag=True, help='Run Python code that MODEL or DATA names: python("file.py:build").')
@click.option("--yes", is_flag=True, help="Ask nothing: take the defaults of what is not given.")
def init(folder: Path, trust: bool, yes: bool, **given: Any) -> int:
    """Write a first recipe for your network, with comments that say why each line is there.

    It looks at the network and the data, and writes FOLDER/first.rcp, and FOLDER/recipe.yaml where files need names.
    On a terminal it asks for what no option says. Without a terminal and options, it writes a commented example. No
    file is ever overwritten.
    """
    _require_free(folder, (RECIPE, FILE_NAME))
    asks = not yes and sys.stdin is not None and sys.stdin.isatty()
    if not asks and not any(value is not None for value in given.values()):
        return _starter(folder)
    if asks:
        try:
            given = asked(given, profile_for(folder, None).aliases)
        except click.Abort:  # Ctrl-C or the end of the input
            say("\nleft: nothing was written")
            return INTERRUPTED
    wish, named = _wish(given), given["data"] is not None
    return _written(folder, *_drafted(folder, wish, str(given["budget"] or ""), trust=trust, named_data=named))


# -- files -------------------------------------------------------------------------------------------


def _require_free(folder: Path, files: tuple[str, ...]) -> None:
    """Refuse a folder that has one of the files, before anything is asked.

    Raises:
        WrongUsage: RCP1205, one for each file that is there.
    """
    taken = [folder / name for name in files if (folder / name).exists() or (folder / name).is_symlink()]
    if folder.exists() and not folder.is_dir():
        taken = [folder]
    if taken:
        help = "choose another folder, or move the file"
        raise WrongUsage([Diagnostic("RCP1205", f"`{target}` already exists", help=help) for target in taken])


def _starter(folder: Path) -> int:
    """The example: it needs no network to be looked at."""
    starters = paths.folder("recipes") / "starter"
    return _written(folder, *((starters / name).read_text(encoding="utf-8") for name in (RECIPE, FILE_NAME)))


def _written(folder: Path, recipe: str, profile: str) -> int:
    """Write the files, all of them or none."""
    texts = {folder / RECIPE: recipe, **({folder / FILE_NAME: profile} if profile else {})}
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    try:
        for target, text in texts.items():
            with target.open("x", encoding="utf-8") as file:
                made.append(target)
                file.write(text)
    except BaseException as error:
        for target in made:
            target.unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            _require_free(folder, tuple(target.name for target in texts))
        raise
    for target in texts:
        click.echo(str(target))
    say(f"\nNow: recipe check {folder / RECIPE}, then recipe run {folder / RECIPE}")
    return DONE


def _wish(given: Mapping[str, Any]) -> Wish:
    """The options as what the rules read; the budget is read later, when the task is known."""
    from recipelang.drafting.facts import Wish

    model = given["model"] or str(ASKED["model"][1])
    task = given["task"] or task_of(model, given["data"])
    return Wish(
        model=model,
        data=given["data"] or stand_in(task, model),
        task=task,
        device=given["device"] or "cpu",
        batch=given["batch"] or 1,
        threads=given["threads"] or 1,
        runtime=runtime(given["runtime"] or "torch"),
        drop=given["drop"] or 3.0,
    )


# -- the recipe --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Place:
    """Where the recipe will be: what its text is checked and planned with."""

    folder: Path
    profile: Profile
    trust: bool

    def plan(self, text: str, path: str = RECIPE) -> Plan:
        """A recipe of this folder, checked."""
        from recipelang.check import check
        from recipelang.syntax.parse import read

        tree, mistakes = read(text, path)
        there = lambda name: used_text(self.folder / name)  # noqa: E731
        return check(tree, profile=self.profile.aliases, read=there, mistakes=mistakes)

    def _resolved(self, name: str) -> Path:
        """A path of the recipe; its folder may not exist yet, so `..` is taken out of the text."""
        return Path(os.path.normpath(self.profile.resolve(name, self.folder)))

    @property
    def options(self) -> Any:
        """Of the plan."""
        from recipelang.run.options import Options

        return Options(
            store=self.folder / ".recipe",
            device=self.profile.device,
            threads=self.profile.threads,
            trust=self.trust,
            resolve=self._resolved,
            recipe_dir=self.folder,
            follow_links=self.profile.links == "follow",
        )


def _drafted(folder: Path, wish: Wish, budget: str, *, trust: bool, named_data: bool) -> tuple[str, str]:
    """The texts of the recipe and of the profile.

    Raises:
        StepFailed: the data cannot be opened, or the network cannot be built; RCP1232: no data was named.
        Refusal: RCP1230, RCP1231: the budget is out of reach, or nothing can be gained.
    """
    here = Path.cwd()
    wish, profile, text = _placed(wish, here, folder)
    place = _Place(folder, profile, trust)
    lines = [*([f"task {wish.task}"] if wish.task else []), f"data {wish.data}", f"model {wish.model}"]
    named = Source("\n".join([*lines, "measure params"]), "<command line>", folder)
    with pointing_at(named):
        plan = place.plan(named.text, named.path)
        conditions = _budgets(budget, wish)
        if budget:
            wish = replace(wish, budget=conditions[0])
            _require_budget(place, lines, budget)
        from recipelang.drafting.looking import look  # it loads torch
        from recipelang.run.progress import progress

        say("looking at the network and the data")
        try:
            facts = look(plan, wish, place.options, progress())
        except StepFailed as failed:
            raise (failed if named_data else _no_data(wish, failed)) from None
    from recipelang.drafting.choosing import choose

    chosen = choose(facts, conditions, place.plan, place.options, RECIPE, say)
    for line in (*facts.found.notes, *chosen.told):
        say(f"note: {line}")
    return chosen.text, text


def _no_data(wish: Wish, failed: StepFailed) -> Refusal:
    """The network does not take the embedded data, and no others were named."""
    why = failed.diagnostics[0].message
    message = f"`{wish.model}` needs data to be looked at, and the embedded `{wish.data}` do not fit it: {why}"
    forms = "`--data 'folder(\"photos\", size=224)'`, `--data 'cifar10(\"path/to/cifar10\")'`"
    help = f"name yours: {forms}; `recipe list data` shows more"
    return Refusal("RCP1232", message, help)


def _placed(wish: Wish, here: Path, folder: Path) -> tuple[Wish, Profile, str]:
    """The wish with its paths as the recipe names them, the profile that the recipe will have, and its text."""
    from recipelang.drafting.places import moved
    from recipelang.drafting.writing import profile_text

    above = locate(folder)  # a profile above would be hidden by one here, so paths need no names then
    model, data = (moved(text, here, folder, profile=above is None) for text in (wish.model, wish.data))
    wish = replace(wish, model=model.text, data=data.text)
    if above is not None:
        return wish, profile_for(folder, None), ""
    text = profile_text(data.named, model.named, wish.device)
    return wish, parse_profile(text, folder.absolute() / FILE_NAME) if text else Profile(), text


def _budgets(text: str, wish: Wish) -> list[Condition]:
    """The user's budget, or those of the default.

    Raises:
        WrongUsage: it cannot be read, at its place in the option.
    """
    from recipelang.drafting.rules import DEFAULT_BOUNDS

    texts = [text] if text else [f"latency < {bound}" for bound in DEFAULT_BOUNDS]
    return [condition(each, wish.task) for each in texts]


def _require_budget(place: _Place, lines: list[str], budget: str) -> None:
    """Refuse a condition that removing parts cannot lead to, such as `latency > 0.7`.

    Raises:
        WrongUsage: at the option.
    """
    try:
        place.plan("\n".join([*lines, f"prune layers by random until {budget}"]))
    except RecipeError as error:
        shown = typed(f"{OPTION}{budget}", len(OPTION))
        found = [replace(wrong, span=shown, path="") for wrong in error.diagnostics]
        help = "name what becomes smaller, such as `--budget 'size < 0.5'`; `--drop 2` says how many points may be lost"
        raise WrongUsage([replace(wrong, help=help) if wrong.code in NO_GOAL else wrong for wrong in found]) from None
