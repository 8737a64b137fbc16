"""Commands about this machine and what is on it: doctor, layers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from recipelang.catalogue import find, names
from recipelang.commands.boundary import DONE, say
from recipelang.commands.networks import network_of
from recipelang.commands.sources import profile_for
from recipelang.errors import Refusal
from recipelang.plan import Selection
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

    MODEL is written as in a recipe: resnet56, 'torchvision.resnet18', 'artifact("runs/quickstart-1/main")'; or it is
    the folder of a saved network, or an ONNX file.
    """
    from recipelang.surgery.listing import describe_layers

    network = network_of(model, data, task, profile, trust)[0]
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


def print_rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table of short texts on stdout; the last column is not padded."""
    table = [tuple(head), *(tuple(str(cell) for cell in row) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(head) - 1)]
    for row in table:
        padded = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False))
        click.echo("  ".join([*padded, row[-1]]).rstrip())
