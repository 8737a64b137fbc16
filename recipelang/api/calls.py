"""`check`, `plan` and `run`: the command line's commands as functions, with networks and data of the program."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from recipelang.api.asked import TEXT, Asked, asked
from recipelang.api.checked import Checked
from recipelang.api.finished import Result
from recipelang.api.variables import with_variables
from recipelang.commands.results import finish, stay_inside
from recipelang.commands.sources import checked
from recipelang.commands.work import options_of, unmet
from recipelang.errors import Diagnostic, ExpectationFailed, RecipeError, StepFailed
from recipelang.failures import one_exception, told
from recipelang.given import giving
from recipelang.kinds import Progress
from recipelang.kinds.progress import Quiet
from recipelang.making import many_objects
from recipelang.plan import Plan, steps_of
from recipelang.voiced import in_python

if TYPE_CHECKING:
    from torch import nn

    from recipelang.given import Given
    from recipelang.profile import Profile
    from recipelang.run.options import Options
    from recipelang.run.planlines import PlanReport

#: an nn.Module, a function that builds one, or text as after `model` in a recipe
Model: TypeAlias = "nn.Module | Callable[[], nn.Module] | str"


def check(
    recipe: str | Path,
    *,
    model: Model | None = None,
    data: Any = None,
    variables: Mapping[str, Any] | None = None,
    sets: Mapping[str, Any] | None = None,
    seeds: Iterable[int] | None = None,
    control: bool = False,
    profile: str | Path | None = None,
) -> Checked:
    """Find every mistake in a recipe, without running anything.

    Args:
        recipe: the text, or the `Path` of a file.
        model, data, variables, sets, seeds, control, profile: as of `run`.

    Raises:
        RecipeError: the recipe is wrong; with all of its mistakes.
    """
    given = dict(locals())
    with _prepared(given.pop("recipe"), given) as (ready, plan, _):
        statements = tuple(step.text for step in steps_of(plan.nodes))
        return Checked(plan.name, statements, plan.warnings, ready.recipe.text)


def plan(
    recipe: str | Path,
    *,
    model: Model | None = None,
    data: Any = None,
    variables: Mapping[str, Any] | None = None,
    sets: Mapping[str, Any] | None = None,
    seeds: Iterable[int] | None = None,
    control: bool = False,
    profile: str | Path | None = None,
    store: str | Path | None = None,
    device: str | None = None,
    threads: int | None = None,
    smoke: bool = False,
    fresh: bool = False,
    trust: bool = False,
    outside: bool = False,
    progress: bool | Progress = False,
) -> PlanReport:
    """Say what `run` would do, without doing it: steps, what is stored, resolved layers, the reach of budgets, times.

    Args:
        recipe: the text, or the `Path` of a file.
        model: and all others: as of `run`.

    Returns:
        the plan: `rows`, `work_to_do`, and `problems`, the steps that are known to fail; `print` shows it.

    Raises:
        RecipeError: the recipe is wrong, or nothing of it is worth running.
    """
    given = dict(locals())
    with _prepared(given.pop("recipe"), given) as (ready, checked_plan, profile_found):
        options = _options(ready, profile_found)
        with _working(options, progress) as said:
            with many_objects():
                from recipelang.run import planning

            return planning.make(checked_plan, options, progress=said)


def run(
    recipe: str | Path,
    *,
    model: Model | None = None,
    data: Any = None,
    variables: Mapping[str, Any] | None = None,
    sets: Mapping[str, Any] | None = None,
    seeds: Iterable[int] | None = None,
    control: bool = False,
    profile: str | Path | None = None,
    out: str | Path | None = None,
    store: str | Path | None = None,
    device: str | None = None,
    threads: int | None = None,
    smoke: bool = False,
    fresh: bool = False,
    trust: bool = False,
    outside: bool = False,
    progress: bool | Progress = False,
) -> Result:
    """Carry out a recipe, and write its networks and its report.

    Finished steps are stored: after an interruption (Ctrl-C raises KeyboardInterrupt), in another process, or with a
    changed line, the same call continues from there. Afterwards the process is as before: random numbers, torch's
    threads and modes, warnings.

    Args:
        recipe: the text, or the `Path` of a file, whose folder is where its relative paths start; those of a text start
            at the current folder.
        model: the network, in place of the one that the recipe names: an nn.Module, which is never changed; a function
            without arguments that builds one, called under the seed that holds where the recipe says `model`; or text,
            `"torchvision.resnet18(classes=5)"`.
        data: the data, in place of what the recipe names: a torch Dataset with a length, whose samples are `(input,
            target)`; a DataLoader, which gives its data set and batch size; tensors `(inputs, targets)`; a list of
            samples `[(input, target), …]`; several of these as `{"train": …, "val": …, "test": …}`, `(train, test)` or
            `(train, val, test)`; or text,
            `'folder("photos")'`. Missing splits are cut from `train`.
        variables: name → value of what the recipe calls `$name` and does not define: numbers, text, lists, networks and
            data.
        sets: name → value of a `let` of the recipe, in place of its own: recipe text, a number, a truth value, a list.
        seeds: in place of the recipe's.
        control: whether to add a control: the same training without the surgery.
        profile: where things are; default the nearest `recipe.yaml`.
        out: output folder; default `runs/<recipe>-<n>`.
        store: folder of stored steps; default `.recipe`.
        device: for training: `cpu`, `cuda` or `cuda:N`.
        threads: of the CPU, for training; default `OMP_NUM_THREADS`, else all cores.
        smoke: a few batches per stage, to see whether the whole recipe runs.
        fresh: compute and measure again what the store holds.
        trust: whether Python files that the recipe names may run; `model` and `data` need no trust.
        outside: whether `export … to` and `report … to` may leave the output folder.
        progress: True shows a bar or lines; an object with `start`, `advance`, `stop` and `say` gets them; False prints
            nothing.

    Returns:
        the result: `networks`, `metrics`, `report`, `table()`.

    Raises:
        RecipeError: the recipe is wrong, a step failed, or an `expect` was not met; with `exit_code` as on the command
            line, and the `result` where the run wrote one.
    """
    given = dict(locals())
    with _prepared(given.pop("recipe"), given) as (ready, checked_plan, profile_found):
        stay_inside(checked_plan, outside=outside)
        options = _options(ready, profile_found)
        with _working(options, progress) as said:
            result, diagnostics = carried_out(checked_plan, options, said, ready.objects)
            said.say(result.summary)
        require_done(result, diagnostics, checked_plan, ready.recipe.text_at)
        return result


def carried_out(
    plan: Plan, options: Options, progress: Progress, objects: Mapping[str, Given]
) -> tuple[Result, tuple[Diagnostic, ...]]:
    """Carry out a plan and write its reports; what went wrong is beside the result.

    Args:
        objects: networks and data that the program has given.
    """
    from recipelang.run import answers

    found = answers.recall(plan, options, progress)
    if found is None:
        with many_objects():
            from recipelang.run import engine

        found = engine.execute(plan, options, progress)
    written = finish(found, plan, outside=options.outside, tell=progress.say)
    networks = {content: one for content, one in objects.items() if callable(one.value)}
    result = Result(
        found.folder, found.report, found.exit_code, written.context, written.files, found.summary, networks
    )
    return result, found.diagnostics


def require_done(result: Result, diagnostics: Iterable[Diagnostic], plan: Plan, texts: Callable[[str], str]) -> None:
    """Raise how a run ended, unless it is done as its recipe says.

    Raises:
        RecipeError: a step failed, or an `expect` was not met; it has the result.
    """
    if result.exit_code == 0:
        return
    wrong = tuple(map(in_python, diagnostics))
    error: RecipeError
    if result.exit_code == StepFailed.exit_code:
        error = StepFailed(wrong, plan.text)
    else:
        missed = (
            Diagnostic("RCP0920", line, None, "the run is written, see `error.result`") for line in unmet(result.record)
        )
        error = ExpectationFailed((*missed, *wrong), plan.text)
    error.told, error.result = told(error.diagnostics, texts), result
    raise error


@contextmanager
def _prepared(recipe: Any, given: dict[str, Any]) -> Iterator[tuple[Asked, Plan, Profile]]:
    """A checked recipe with the objects of the program, known for the duration of the block."""
    with one_exception():
        ready = asked(recipe, given)
    with giving(ready.objects):
        try:
            with one_exception(ready.recipe.text_at):
                plan, profile = checked(ready.recipe, ready.request)
        except RecipeError as error:
            objects = dict(ready.objects)
            with one_exception(ready.recipe.text_at):
                bound = with_variables(ready.recipe, error, given.get("variables") or {}, objects)
            ready = replace(ready, recipe=bound, objects=objects)
            with giving(ready.objects), one_exception(ready.recipe.text_at):
                plan, profile = checked(ready.recipe, ready.request)
        with giving(ready.objects), one_exception(ready.recipe.text_at):
            yield ready, plan, profile


def _options(ready: Asked, profile: Profile) -> Options:
    """The options of the engine.

    Raises:
        Refusal: RCP1027: a tracker of the profile is not installed.
    """
    from recipelang.run.following import require

    require(profile.tracking)
    recipe = ready.recipe
    text = f'Path("{recipe.path}")' if recipe.path != TEXT else "…"
    settings = {"out": None, **ready.settings}
    return options_of(settings, recipe, profile, f"recipelang.run({text})")


@contextmanager
def _working(options: Options, progress: Any) -> Iterator[Progress]:
    """The process, borrowed for a run, and where the run says how it goes."""
    from recipelang.api.process import borrowed

    said = shown(progress)
    with borrowed(options.device):
        try:
            yield said
        finally:
            said.stop()


def shown(progress: bool | Progress) -> Progress:
    """Where a run reports: nowhere, in the cell of a notebook, on the terminal, or to the caller's own object."""
    if progress is False or progress is None:
        return Quiet()
    if progress is not True:
        return progress
    from recipelang.run.progress import progress as of_terminal

    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return of_terminal()
    if hasattr(get_ipython(), "kernel"):
        from recipelang.api.live import Live

        return Live()
    return of_terminal()
