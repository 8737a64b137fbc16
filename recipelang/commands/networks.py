"""The network that an expression of the command line means."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from recipelang.catalogue import find, names
from recipelang.commands.sources import Request, Source, checked, pointing_at
from recipelang.editor import modules
from recipelang.errors import Refusal, StepFailed
from recipelang.kinds import DEFAULT_TASK, ModelRequest, inputs_of, names_of, offered
from recipelang.plan import Built, Opened, Shown, Tasked, steps_of

#: the file by which the folder of a saved network is known
SAVED = "model.json"


def network_of(
    model: str, data: str | None, task: str | None, profile: str | None, trust: bool, measures: str = "params"
) -> tuple[Any, Any]:
    """Build the network that a model expression of the command line means.

    Args:
        model: as in a recipe; or the path of an ONNX file, or of the folder of a saved network.
        data: as in a recipe; gives the input shape and the classes.
        task: as in a recipe; default: as the model or the data say.
        profile: the file; default the nearest `recipe.yaml`.
        trust: whether Python code that it names may run.
        measures: a metric, as in a recipe.

    Returns:
        the network, and the metric.

    Raises:
        RecipeError: an expression is wrong, at its place.
        StepFailed: it cannot be built.
    """
    model = written(model)
    # A recipe names model and data together; where only the model matters, the embedded data are used.
    own = task or task_of(model, data)
    embedded = getattr(find("task", own.partition("(")[0].strip()), "stand_in", ("digits",))[0]
    lines = [f"model {model}", f"data {data or embedded}", *([f"task {own}"] if own else []), f"measure {measures}"]
    recipe = Source("\n".join(lines), "<command line>", Path.cwd())
    with pointing_at(recipe):
        plan, known = checked(recipe, Request(profile=profile))
    resolve = partial(known.resolve, recipe_dir=recipe.folder)
    steps = [(step, step.operation.needs().writes) for step in steps_of(plan.nodes)]
    asked, opens = next((step, effect) for step, effect in steps if isinstance(effect, Opened))
    named, builds = next((step, effect) for step, effect in steps if isinstance(effect, Built))
    metric = next(effect.readings[0].metric for _, effect in steps if isinstance(effect, Shown))
    purpose = next((effect.method for _, effect in steps if isinstance(effect, Tasked)), None)
    request = ModelRequest(resolve=resolve, trust=trust, task=purpose)
    with pointing_at(recipe):
        step = asked
        try:
            if data:
                from recipelang.images.access import reading

                with reading(known.links == "follow", trust=trust, task=purpose):
                    opened = opens.method.open(resolve)
                request = replace(
                    request,
                    classes=names_of(opened),
                    input_shape=opened.input_shape,
                    inputs=inputs_of(opened),
                    target_shape=opened.target_shape,
                )
            step = named
            network = builds.method.build(request)
            modules.remember(builds.method, recipe.folder, network.module)
            return network, metric
        except Refusal as refusal:
            raise StepFailed([refusal.at(step.span, step.path)]) from refusal


def written(model: str) -> str:
    """A model expression as a recipe writes it: of a path, the method that reads it.

    Raises:
        UsageError: it is a file of another kind.
    """
    place = Path(model)
    try:
        folder, file = (place / SAVED).is_file(), place.is_file()
    except (OSError, ValueError):  # an expression may be too long for a path
        return model
    quoted = str(model).replace("\\", "/").replace('"', '\\"')
    if folder:
        return f'artifact("{quoted}")'
    if file and place.suffix == ".onnx":
        return f'onnx("{quoted}")'
    if place.is_dir() and place.parts[1:]:  # one name may be a model as well
        raise click.UsageError(
            f"the folder `{model}` holds no saved network: one is in `RUN/main`, beside `report.json`."
        )
    if place.suffix == ".onnx" and not file and "(" not in model:
        raise click.UsageError(f"there is no file `{model}`.")
    if file and place.suffix:
        kinds = "'artifact(\"DIR\")', 'python(\"FILE.py:FUNCTION\")' or 'resnet20(weights=\"FILE\")'"
        raise click.UsageError(f"MODEL is written as in a recipe, but `{model}` is a file; write {kinds}.")
    return model


def task_of(model: str, data: str | None) -> str:
    """The task of a model expression, or of its data; "" for classification, or where neither says."""
    tasks = getattr(find("model", re.split(r"\W", model.strip(), maxsplit=1)[0]), "tasks", ())
    offers = offered(find("data", re.split(r"\W", (data or "").strip(), maxsplit=1)[0]))
    fitting = [name for name in names("task") if getattr(find("task", name), "target", "") in offers]
    said = [each for each in (tasks, fitting) if each and DEFAULT_TASK not in each]
    return said[0][0] if said else ""
