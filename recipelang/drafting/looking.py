"""From a model and data to what a first recipe is decided from: built, opened, counted, timed briefly."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from recipelang.catalogue import find, names
from recipelang.drafting.facts import Facts, Found, Machine, Parts, Samples, Task, Wish
from recipelang.errors import Refusal, StepFailed
from recipelang.kinds import Dataset, Deployment, Progress, serves
from recipelang.kinds.unit import below
from recipelang.measuring.clock import check_device
from recipelang.measuring.doctor import INT8
from recipelang.measuring.flops import count
from recipelang.measuring.layer_clock import compare_layers
from recipelang.measuring.machine import cpu_features, gpus
from recipelang.measuring.structure import stored_bytes
from recipelang.plan import Built, Plan, Selection, Step, Tasked, steps_of
from recipelang.run import opening
from recipelang.run.building import build
from recipelang.run.options import Options
from recipelang.runtimes.eager import prepare
from recipelang.surgery.deployed import deployed
from recipelang.surgery.network import Network
from recipelang.surgery.provenance import memory_of
from recipelang.surgery.tasks import task_named
from recipelang.surgery.tracing import example_input

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
#: a network that takes longer for one call is not timed layer by layer
LONGEST_CALL = 0.5
#: seconds after which a profile is precise enough to say where the time goes
BRIEFLY = 1.0
SHOWN = 3
#: the compute capability from which tensor cores skip the zeros of 2:4
SPARSE_FROM = (8, 0)


def look(plan: Plan, wish: Wish, options: Options, progress: Progress | None = None) -> Facts:
    """Everything that the rules read.

    Args:
        plan: of a recipe that only names the task, the data and the model.
        wish: what the user wants; its model and data are those of the plan.
        options: of the run: where paths lead, and whether Python code is trusted.
        progress: where reading a large data set reports.

    Raises:
        StepFailed: the data cannot be opened, or the network cannot be built, at their lines of the plan.
        Refusal: RCP1001: this machine does not have the device; RCP1027: the runtime is not installed.
    """
    check_device(wish.device)
    runtime: Any = find("runtime", wish.runtime)
    runtime().require()
    effects = [one.operation.needs().writes for one in steps_of(plan.nodes)]
    task = next((effect.method for effect in effects if isinstance(effect, Tasked)), None) or task_named()
    data = opening.opened(*next(opening.asked(plan.nodes)), options, task, progress)
    network, built = _network(plan, data, options, task)
    return Facts(
        wish=wish,
        found=_found(network, built, wish),
        samples=_samples(data, len(network.classes)),
        task=_task(task),
        machine=_machine(wish),
    )


def _samples(data: Dataset, classes: int) -> Samples:
    return Samples(data.size("train"), data.size("val"), data.size("test"), data.batch, classes)


def _network(plan: Plan, data: Dataset, options: Options, task: Any) -> tuple[Network, Any]:
    """The network of the plan's first model, and its method."""
    step: Step
    step, effect = next((s, e) for s in steps_of(plan.nodes) if isinstance(e := s.operation.needs().writes, Built))
    try:
        network, note = build(effect.method, {"": data}, 0, options, task=task)
    except Refusal as refusal:
        raise StepFailed([refusal.at(step.span, step.path)]) from refusal
    return replace(network, habits=replace(network.habits, notes=(note,) if note else ())), effect.method


def _task(task: Any) -> Task:
    metric: Any = find("metric", task.metrics[0])
    one_class = serves(find("criterion", "imprint"), task.name)
    return Task(task.name, metric.name, metric.better, metric.unit, task.labelled, one_class)


def _machine(wish: Wish) -> Machine:
    there = []
    for name in names("runtime"):
        runtime: Any = find("runtime", name)
        if name != "torch" and _holds(runtime().require):
            there.append(name)
    multiplies = any(feature in INT8 for feature in cpu_features())
    if wish.device == "cpu":
        return Machine(tuple(there), multiplies)
    name, capability, _ = gpus()[int(wish.device.partition(":")[2] or 0)]
    sparse = torch.version.hip is None and capability >= SPARSE_FROM
    return Machine(tuple(there), multiplies, sparse, name)


def _holds(require: Callable[[], Any]) -> bool:
    try:
        require()
    except Refusal:
        return False
    return True


def _found(network: Network, built: Any, wish: Wish) -> Found:
    parts, paths = _parts(network)
    flops, convolved = _counted(network)
    found = Found(
        parameters=sum(parameter.numel() for parameter in network.module.parameters()),
        size=round(stored_bytes(network.module, network.restrictions)),
        flops=flops,
        convolved=convolved,
        pretrained=bool(built.pretrained),
        parts=parts,
        notes=network.habits.notes,
    )
    return _timed(found, network, wish, paths)


def _parts(network: Network) -> tuple[Mapping[str, Parts], tuple[str, ...]]:
    """What each unit can remove, and the paths of the layers that can go."""
    found, layers = {}, tuple[str, ...]()
    for name in names("unit"):
        unit: Any = find("unit", name)
        try:
            offer = unit().find(network, Selection())
        except Refusal:
            continue
        found[name] = Parts(len(offer.groups), offer.size, offer.most)
        if name == "layers":
            layers = tuple(group.name for group in offer.groups)
    return found, layers


def _counted(network: Network) -> tuple[int | None, float]:
    """FLOPs of one input, and the share of them that convolutions compute."""
    module = deployed(network)
    weights = [memory_of(part.weight) for part in module.modules() if isinstance(part, CONVOLUTIONS)]
    try:
        counted = count(module, example_input(network, batch=1), weights=weights)
    except Refusal:
        return None, 1.0 if weights else 0.0
    return counted.flops, sum(counted.of.values()) / counted.flops if counted.flops else 0.0


def _timed(found: Found, network: Network, wish: Wish, removable: tuple[str, ...]) -> Found:
    """With the time of a call, and where it goes, as far as that can be had in a few seconds."""
    example = example_input(network, batch=wish.batch)
    try:
        ready = prepare(network, Deployment(device=wish.device, batch=wish.batch, threads=wish.threads))
        seconds = _one_call(ready, example.to(wish.device), wish.threads)
        if seconds > LONGEST_CALL:
            return replace(found, seconds=seconds)
        how = {"threads": wish.threads, "device": wish.device, "budget_s": BRIEFLY}
        profile = compare_layers(ready, ready, example, **how).layers  # type: ignore[arg-type]
    except (Refusal, RuntimeError):
        return found
    rows = {row.layer: row.own.seconds for row in profile.layers if row.own} if profile else {}
    whole = sum(rows.values())
    if not profile or not whole:
        return replace(found, seconds=seconds)
    gone = sum(own for layer, own in rows.items() if any(below(layer, path) for path in removable))
    longest = sorted(rows, key=lambda layer: -rows[layer])[:SHOWN]
    shares = tuple((layer or "the network itself", rows[layer] / whole) for layer in longest)
    return replace(found, seconds=profile.own, removable=gone / whole if removable else 0.0, slowest=shares)


def _one_call(ready: Any, example: torch.Tensor, threads: int) -> float:
    """Seconds of the faster of two calls."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            return min(_seconds(ready, example), _seconds(ready, example))
    finally:
        torch.set_num_threads(before)


def _seconds(ready: Any, example: torch.Tensor) -> float:
    began = time.perf_counter()
    ready(example)
    if example.is_cuda:
        torch.cuda.synchronize(example.device)
    return time.perf_counter() - began
