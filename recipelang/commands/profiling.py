"""`recipe profile MODEL`: where the time of a network is, layer by layer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from recipelang.commands.boundary import DONE, say
from recipelang.commands.machine import print_rows
from recipelang.commands.networks import network_of
from recipelang.commands.sources import device_of
from recipelang.errors import Refusal, StepFailed
from recipelang.kinds.layer_times import JOINED
from recipelang.units import counted, show

FORMAT = "recipelang.profile/1"
#: layers of a table without `--all`
MOST = 25


@click.command()
@click.argument("model")
@click.option("--data", metavar="DATA", help="Data that give the input shape and the classes: 'cifar10'.")
@click.option("--task", metavar="TASK", help="What MODEL is for; default: as MODEL or the data say.")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Inputs in one call.")
@click.option("--threads", type=click.IntRange(1, 1024), default=1, show_default=True, help="CPU threads.")
@click.option("--device", callback=device_of, metavar="DEVICE", help="cpu, cuda or cuda:N.")
@click.option(
    "--runtime", default="torch", metavar="RUNTIME", show_default=True, help="torch, onnxruntime or openvino."
)
@click.option("--precision", default="float32", show_default=True, help="float32, float16 or bfloat16, on a GPU.")
@click.option("--all", "every", is_flag=True, help=f"Show all layers, not only the {MOST} that take longest.")
@click.option("--profile", metavar="FILE", help="Where things are; default the nearest recipe.yaml.")
@click.option("--trust", is_flag=True, help='Run Python code that MODEL names: python("file.py:build").')
@click.option("--json", "as_json", is_flag=True, help="Print the layers as JSON, in the order of computation.")
def profile(
    model: str,
    data: str | None,
    task: str | None,
    batch: int,
    threads: int,
    device: str | None,
    runtime: str,
    precision: str,
    every: bool,
    profile: str | None,
    trust: bool,
    as_json: bool,
) -> int:
    """Show where the time of MODEL is: what each of its layers takes.

    MODEL is written as in a recipe: resnet56, 'timm.vit_tiny_patch16_224', 'resnet20(weights="w.pt")'; or it is the
    folder of a saved network, or an ONNX file. It is called as it would be deployed, as by `measure profile`.
    """
    how = {"batch": batch, "threads": threads, "device": f'"{device or "cpu"}"', "precision": precision}
    measures = f"profile({', '.join(f'{name}={value}' for name, value in how.items())}, runtime={runtime})"
    network, metric = network_of(model, data, task, profile, trust, measures)
    try:
        found = _measured(network, metric)
    except Refusal as refusal:
        raise StepFailed([refusal.at(None)]) from refusal
    rows, told = _rows(found.layers, _forms(network)), _told(found, metric, network)
    if as_json:
        click.echo(json.dumps({"format": FORMAT, **told, "layers": rows}, indent=2))
    else:
        _show(rows, told, every)
    for line in network.habits.notes:
        say(line)
    return DONE


def _measured(network: Any, metric: Any) -> Any:
    """The profile of a network alone, on a clock that alternates watched and unwatched calls."""
    from recipelang.run.progress import progress

    shown = progress()
    metric.runtime.require()
    executable = metric.runtime.prepare(network, metric.deployment, shown)
    return metric.measure(executable, executable, network.input_shape, shown)


def _forms(network: Any) -> Mapping[str, Any]:
    """Layer → what it is; {} where its products cannot be observed."""
    from recipelang.measuring.forms import forms_of

    try:
        return {form.layer: form for form in forms_of(network)}
    except Refusal as refusal:
        say(f"parameters and FLOPs of its layers are not shown: {refusal.message}")
        return {}


def _rows(times: Any, forms: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The layers as JSON, in the order in which they are computed."""
    whole = sum(layer.own.seconds for layer in times.layers if layer.own)
    rows = []
    for layer in times.layers:
        own, parts = layer.own, [forms[part] for part in layer.layer.split(JOINED) if part in forms]
        if own is None:
            continue
        rows.append(
            {
                "layer": layer.layer,
                "kind": layer.kind,
                "seconds": own.seconds,
                "low": own.low,
                "high": own.high,
                "share": own.seconds / whole if whole else 0.0,
                "calls": own.calls,
                "parameters": _sum([form.parameters for form in parts]),
                "flops": _sum([form.flops for form in parts]),
            }
        )
    return rows


def _sum(numbers: Sequence[int | None]) -> int | None:
    """Of what one row stands for; None where it cannot be told."""
    known = [number for number in numbers if number is not None]
    return sum(known) if known and len(known) == len(numbers) else None


def _told(found: Any, metric: Any, network: Any) -> dict[str, Any]:
    """What the times are of, as JSON."""
    from recipelang.run.layers import where

    return {
        "on": where(metric),
        "input_shape": [metric.batch, *network.input_shape],
        "seconds": found.value,
        "interval": [found.low, found.high],
        "unwatched": found.layers.own,
        "rounds": found.layers.n,
        "how": found.layers.how,
        "note": found.note,
    }


def _show(rows: list[dict[str, Any]], told: Mapping[str, Any], every: bool) -> None:
    """The table, the slowest layer first; what the times are of, on stderr."""
    slowest = sorted(rows, key=lambda row: -row["seconds"])
    shown = slowest if every else slowest[:MOST]
    print_rows(("layer", "type", "time", "share", "parameters", "FLOPs"), [_row(row) for row in shown])
    if rest := slowest[len(shown) :]:
        seconds, share = (sum(row[name] for row in rest) for name in ("seconds", "share"))
        say(f"{counted(len(rest), 'other layer')} take {show(seconds, 's')}, {share:.1%}; `--all` shows them")
    shape = "×".join(map(str, told["input_shape"]))
    low, high = (show(bound, "s") for bound in told["interval"])
    say(f"\nall layers take {show(told['seconds'], 's')} ({low} to {high}) on {told['on']}; inputs {shape}")
    say(f"times are taken {told['how']}; {told['note']}")


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    """A row as short texts; FLOPs are those of one input."""
    name = row["layer"] or "(the network itself)"
    calls = f" ({row['calls']} calls)" if row["calls"] > 1 else ""
    parameters, flops = (
        "" if row[key] is None else show(row[key], unit) for key, unit in (("parameters", "params"), ("flops", "FLOPs"))
    )
    return name, row["kind"], f"{show(row['seconds'], 's')}{calls}", f"{row['share']:.1%}", parameters, flops
