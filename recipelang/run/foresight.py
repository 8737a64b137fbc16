"""What can be said of a step before it runs: what it finds on the network, how far it can go, how long it takes."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from recipelang.errors import Refusal
from recipelang.kinds import Dataset, Solver
from recipelang.measuring.flops import count
from recipelang.plan import CURRENT, All, Condition, Reading, Test, Training, tests_of
from recipelang.reading import schedules
from recipelang.run.options import Options
from recipelang.stages.accelerate import require_device
from recipelang.stages.conditions import name_of
from recipelang.stages.prune import reachable
from recipelang.surgery.deployed import deployed
from recipelang.surgery.masks import eligible
from recipelang.surgery.network import Network
from recipelang.surgery.permute import require_groups
from recipelang.surgery.products import products_of
from recipelang.surgery.selectors import resolve
from recipelang.surgery.tracing import example_input
from recipelang.units import counted, show

LATENCY_SECONDS = 6.0  # one interleaved measurement of a small network; at most 30 s


def foresee(operation: Any, network: Network, healthy: Network) -> tuple[str, ...]:
    """What a step will find on this network, in words; ratios are to `healthy`.

    Raises:
        Refusal: the step cannot apply to this network, or its budget is out of reach however much is removed.
    """
    criterion = getattr(operation, "criterion", None)
    if criterion is not None and "batchnorm" in criterion.needs and not _has_batchnorm(network.module):
        raise Refusal(
            "RCP0916", f"`{criterion.name}` needs BatchNorm, and this network has none", "`by magnitude` or `by taylor`"
        )
    if operation.verb == "prune":
        return _prune(operation, network, healthy)
    if operation.verb == "sparsify":
        names, dense = eligible(network, operation.pattern, operation.selection)
        if not names:
            raise Refusal(
                "RCP0910",
                f"no weight of this network can be {operation.pattern}",
                "`recipe layers MODEL` lists what can",
            )
        one, stays = len(names) == 1, len(dense) == 1
        found = f"{len(names)} weight{'s' * (not one)} can be {operation.pattern}, {len(dense)} stay{'s' * stays} dense"
        if operation.permutation is None:
            return (found,)
        groups = len(require_groups(network, names, operation.pattern))
        return (found, f"{groups} group{'s' * (groups != 1)} of input channels can be put in another order")
    if operation.verb == "accelerate":
        require_device(operation)
    if hasattr(operation, "selection"):
        resolve(network.module, operation.selection)
    return ()


def _has_batchnorm(module: nn.Module) -> bool:
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())


def _prune(operation: Any, network: Network, healthy: Network) -> tuple[str, ...]:
    candidates, smallest = reachable(operation, network)
    reach = Reach(smallest, network, healthy)
    if operation.count is not None and operation.count > len(candidates):
        are = "layers are" if operation.count > 1 else "layer is"
        raise Refusal(
            "RCP0911",
            f"{operation.count} {are} to be removed, and {len(candidates)} can be",
            "remove fewer; `recipe layers MODEL` lists them",
        )
    layers = counted(len(candidates), "layer")
    lines = [f"{layers} can be removed: {_some([c.name for c in candidates])}"]
    for test in tests_of(operation.until):
        lines.append(_range(test, reach))
    if operation.until is not None and not _could_hold(operation.until, reach):
        raise Refusal(
            "RCP0904",
            f"`until {operation.until.text}` is out of reach: {'; '.join(lines[1:])}",
            "ask for less, or leave more layers free to be removed",
        )
    return tuple(lines)


@dataclass(frozen=True)
class Reach:
    """How far a statement can go: the network without any candidate, as it stands, and what ratios are to."""

    smallest: Network
    network: Network
    healthy: Network


def _range(test: Test, reach: Reach) -> str:
    """How far a budget can be pushed: computed for structure, an estimate for clocks."""
    ends = _ends(test.reading, reach)
    if ends is None:
        return f"{name_of(test.reading)}: known by running"
    low, high = ends
    unit = "x" if test.reading.form == "ratio" else test.reading.metric.unit
    estimate = ", an estimate from FLOPs" if test.reading.metric.source == "clock" else ""
    return f"{name_of(test.reading)} can reach {show(low, unit)} (now {show(high, unit)}{estimate})"


def _ends(reading: Reading, reach: Reach) -> tuple[float, float] | None:
    """A reading with every candidate gone, and as the network stands; None where only a clock can say."""
    metric = reading.metric
    if reading.subject != CURRENT or reading.form not in ("value", "ratio"):
        return None
    if metric.source == "structure":

        def cost(network: Network) -> float:
            return float(metric.measure(deployed(network), network, network.input_shape).value)

    elif metric.source == "clock" and reading.form == "ratio":

        def cost(network: Network) -> float:
            return float(count(deployed(network), example_input(network, batch=1)).flops)

    else:
        return None
    try:
        whole = cost(reach.healthy) if reading.form == "ratio" else 1.0
        return (cost(reach.smallest) / whole, cost(reach.network) / whole) if whole else None
    except Refusal:
        if metric.source == "structure":
            raise
        return None  # an estimate that cannot be made is no reason to refuse


def _could_hold(condition: Condition, reach: Reach) -> bool:
    """False only where computed numbers prove that the budget cannot hold; clocks are left to the run."""
    if not isinstance(condition, Test):
        combine = all if isinstance(condition, All) else any
        return combine(_could_hold(inner, reach) for inner in condition.tests)
    if condition.reading.metric.source != "structure" or isinstance(condition.bound, Reading):
        return True
    ends = _ends(condition.reading, reach)
    if ends is None or condition.operator not in ("<", "<="):
        return True
    return ends[0] < condition.bound or (condition.operator == "<=" and ends[0] == condition.bound)


def fit_schedules(operation: Any, data: Dataset) -> None:
    """Hold the ramps of a step's training against its length on this data.

    Raises:
        Refusal: RCP0312: a milestone or a warm-up comes after its end.
    """
    training: Training = operation.training
    asked = getattr(operation.samples, "count", None) if operation.role == "training" else None
    count = min(asked or data.size("train"), data.size("train"))
    part = schedules.share(training.duration, getattr(operation, "rounds", 1))
    schedules.fit(replace(training, duration=part), count // min(data.batch, count))


def seconds(operation: Any, network: Network, data: Dataset | None, options: Options) -> float | None:
    """A rough time: images that pass through the network, three forward passes for a training step."""
    if data is None:
        return None
    if options.smoke:
        return 1.0
    per_image = _seconds_per_image(network, options)
    total = 0.0
    training: Training | None = getattr(operation, "training", None)
    if training:
        train = data.size("train")
        images = training.duration.count * (train if training.duration.unit == "epochs" else data.batch)
        passes = 3 + len(getattr(operation, "teachers", ()))
        total += images * passes * per_image
    criterion = getattr(operation, "criterion", None)
    if criterion is not None:
        samples = getattr(getattr(operation, "samples", None), "count", None) or data.size("train")
        total += _images_seen(criterion, min(samples, data.size("train")), network, data) * per_image
    clocks = sum(test.reading.metric.source == "clock" for test in tests_of(getattr(operation, "until", None)))
    return total + clocks * 5 * LATENCY_SECONDS


def _images_seen(criterion: Any, samples: int, network: Network, data: Dataset) -> float:
    """Forward passes of single images that a criterion costs; a gradient costs two more."""
    images = 0.0
    if isinstance(criterion, Solver):
        images += samples * len(products_of(network)) / 2  # for each weight a pass, up to that weight
    elif "activations" in criterion.needs:
        images += samples + (data.size("val") if criterion.unit == "layer" else 0)
    if "gradients" in criterion.needs:
        images += 3 * samples
    return images


_TIMES: dict[str, float] = {}


def _seconds_per_image(network: Network, options: Options) -> float:
    """Time of a forward pass per image, once for each kind of model: the least of three, since other work only adds."""
    kind = json.dumps(network.source, sort_keys=True)
    if kind not in _TIMES:
        module = deployed(network)
        images = torch.zeros(16, *network.input_shape)
        threads = torch.get_num_threads()
        torch.set_num_threads(options.threads or threads)
        try:
            with torch.no_grad():
                module(images[:2])
                marks = [time.perf_counter()]
                for _ in range(3):
                    module(images)
                    marks.append(time.perf_counter())
            _TIMES[kind] = min(after - before for before, after in pairwise(marks)) / len(images)
        finally:
            torch.set_num_threads(threads)
    return _TIMES[kind]


def _some(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:4])
    return shown if len(names) <= 4 else f"{shown}, {'… ' * (len(names) > 5)}`{names[-1]}`"
