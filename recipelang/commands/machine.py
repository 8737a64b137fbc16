"""Commands about this machine and what is on it: doctor, layers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from recipelang.catalogue import find, names
from recipelang.commands.boundary import DONE, say
from recipelang.commands.sources import Request, Source, checked, pointing_at, profile_for
from recipelang.editor import modules
from recipelang.errors import Refusal, StepFailed
from recipelang.kinds import DEFAULT_TASK, ModelRequest, inputs_of, names_of, offered
from recipelang.plan import Built, Opened, Selection, Tasked, steps_of
from recipelang.profile import FILE_NAME, Profile
from recipelang.units import listed, show


@click.command()
@click.option("--profile", metavar="FILE", help="Where things are; default the nearest recipe.yaml.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON.")
def doctor(profile: str | None, as_json: bool) -> int:
    """Show what this machine can do.

    Cores, CPU features, GPU, sparse support, versions, and whether the data that recipe.yaml names is there.
    """
    from recipelang.measuring.doctor import doctor as examine

    rows = [*examine(Path.cwd()), *_found(profile_for(Path.cwd(), profile))]
    if as_json:
        keys = ("what", "value", "verdict", "advice")
        told = [dict(zip(keys, row, strict=True)) for row in rows]
        click.echo(json.dumps({"format": "recipelang.doctor/1", "rows": told}, indent=2))
    else:
        print_rows(("what", "value", "verdict", "advice"), rows)
    return DONE


def _found(profile: Profile) -> list[tuple[str, str, str, str]]:
    """One row for the profile and one for each file or folder that it names."""
    if profile.path is None:
        return [("profile", "none", "ok", f"a {FILE_NAME} beside the recipe says where data and weights are")]
    rows = [("profile", str(profile.path), "ok", "")]
    for name, place in profile.paths.items():
        what = "data" if name in profile.data else "weights"
        there = place.is_dir() if name in profile.data else place.is_file()
        advice = "" if there else f"no such {'folder' if name in profile.data else 'file'}: fix {profile.path}"
        rows.append((f"{what} {name}", str(place), "ok" if there else "missing", advice))
    return rows


@click.command()
@click.argument("model")
@click.option("--data", metavar="DATA", help="Data that give the input shape and the classes: 'cifar10'.")
@click.option("--task", metavar="TASK", help="What MODEL is for; default: as MODEL or the data say.")
@click.option("--profile", metavar="FILE", help="Where things are; default the nearest recipe.yaml.")
@click.option("--trust", is_flag=True, help='Run Python code that MODEL names: python("file.py:build").')
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON.")
def layers(model: str, data: str | None, task: str | None, profile: str | None, trust: bool, as_json: bool) -> int:
    """Show the layers of MODEL: what can be selected, removed, made 2:4.

    MODEL is written as in a recipe: resnet56, 'torchvision.resnet18', 'artifact("runs/quickstart-1/main")'.
    """
    from recipelang.surgery.listing import describe_layers

    network = _network(model, data, task, profile, trust)
    rows = describe_layers(network)
    groups, whole, notes = _groups(network)
    if as_json:
        told = {"format": "recipelang.layers/1", "layers": rows, "groups": groups, "whole": whole}
        click.echo(json.dumps(told, indent=2))
        return DONE
    pattern = rows[0]["pattern"] if rows else ""
    shown = [row for row in rows if row["parameters"] or row["removable"]]
    head = ("layer", "type", "parameters", "weight", "prune layers", f"sparsify nm {pattern}")
    print_rows(head, [_layer(row) for row in shown])
    removable = sum(bool(row["removable"]) for row in rows)
    eligible = sum(bool(row["eligible"]) for row in rows)
    layers, weights = f"layer{'s' * (removable != 1)}", f"weight{'s' * (eligible != 1)}"
    say(f"\n{removable} {layers} can be removed, {eligible} {weights} can be {pattern}")
    if groups:
        click.echo()
        print_rows(("group", "unit", "how many", "multiple of", "coupled layers"), [_group(row) for row in groups])
    for why in dict.fromkeys(whole.values()):
        say(f"stays whole ({why}): {listed(name for name in whole if whole[name] == why)}")
    for note in notes:
        say(note)
    for note in network.habits.notes:
        say(note)
    return DONE


def _layer(row: dict[str, Any]) -> tuple[str, ...]:
    """A row of `describe_layers` as short texts."""
    shape = "×".join(str(length) for length in row["shape"])
    pattern = {True: "yes", False: f"no: {row['why']}", None: ""}[row["eligible"]]
    removable = row["removable"] or (f"no: {row['stays']}" if row["stays"] else "")
    return row["layer"], row["type"], show(row["parameters"], "params"), shape, removable, pattern


def _groups(network: Any) -> tuple[list[dict[str, Any]], dict[str, str], list[str]]:
    """The groups of coupled channels that `prune` can make smaller, as JSON; why other layers stay whole; and which
    unit finds nothing."""
    rows: list[dict[str, Any]] = []
    whole: dict[str, str] = {}
    notes: list[str] = []
    for name in names("unit"):
        unit: Any = find("unit", name)
        if not unit.many:
            continue
        try:
            offer = unit().find(network, Selection())
        except Refusal as refusal:
            notes.append(refusal.message)
            continue
        rows += [
            {
                "unit": name,
                "group": group.name,
                "size": group.size,
                "multiple": group.step,
                "layers": list(group.layers),
            }
            for group in offer.groups
        ]
        whole |= offer.stay
    return rows, whole, notes


def _group(row: dict[str, Any]) -> tuple[str, ...]:
    """A row of `_groups` as short texts."""
    first, *others = row["layers"]
    more = f" and {len(others)} more, to `{others[-1]}`" if len(others) > 1 else f" and {others[0]}" if others else ""
    return row["group"], row["unit"], str(row["size"]), str(row["multiple"]), f"{first}{more}"


def _network(model: str, data: str | None, task: str | None, profile: str | None, trust: bool) -> Any:
    """Build the network that a model expression of the command line means."""
    file = Path(model)
    if file.suffix and file.is_file():
        kinds = "'artifact(\"DIR\")', 'python(\"FILE.py:FUNCTION\")' or 'resnet20(weights=\"FILE\")'"
        raise click.UsageError(f"MODEL is written as in a recipe, but `{model}` is a file; write {kinds}.")
    # A recipe names model and data together; where only the model matters, the embedded data are used.
    own = task or task_of(model, data)
    embedded = getattr(find("task", own.partition("(")[0].strip()), "stand_in", ("digits",))[0]
    lines = [f"model {model}", f"data {data or embedded}", *([f"task {own}"] if own else []), "measure params"]
    recipe = Source("\n".join(lines), "<command line>", Path.cwd())
    with pointing_at(recipe):
        plan, known = checked(recipe, Request(profile=profile))
    resolve = partial(known.resolve, recipe_dir=recipe.folder)
    steps = [(step, step.operation.needs().writes) for step in steps_of(plan.nodes)]
    asked, opens = next((step, effect) for step, effect in steps if isinstance(effect, Opened))
    named, builds = next((step, effect) for step, effect in steps if isinstance(effect, Built))
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
            return network
        except Refusal as refusal:
            raise StepFailed([refusal.at(step.span, step.path)]) from refusal


def task_of(model: str, data: str | None) -> str:
    """The task of a model expression, or of its data; "" for classification, or where neither says."""
    tasks = getattr(find("model", re.split(r"\W", model.strip(), maxsplit=1)[0]), "tasks", ())
    offers = offered(find("data", re.split(r"\W", (data or "").strip(), maxsplit=1)[0]))
    fitting = [name for name in names("task") if getattr(find("task", name), "target", "") in offers]
    said = [each for each in (tasks, fitting) if each and DEFAULT_TASK not in each]
    return said[0][0] if said else ""


def print_rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table of short texts on stdout; the last column is not padded."""
    table = [tuple(head), *(tuple(str(cell) for cell in row) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(head) - 1)]
    for row in table:
        padded = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False))
        click.echo("  ".join([*padded, row[-1]]).rstrip())
