"""Choose how sparse layers execute in the deployed form.

A property of the deployed copy, not of the weights, so training may follow it. The choice itself is made by
measurement where the network is deployed: of kernels in `runtimes/sparse.py`, of runtimes in `run/chosen.py`. On a CPU
no kernel uses an N:M pattern: the layers run dense, and the report says "masked only".
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import torch

from recipelang.catalogue import names
from recipelang.errors import Refusal
from recipelang.kernels.nm.device import describe, no_sparse_tensor_cores
from recipelang.kernels.nm.problem import Device
from recipelang.kernels.nm.registry import CANDIDATES
from recipelang.kinds import Figure
from recipelang.runtimes.eager import execution
from recipelang.stages.context import Context, Foresight, Known, Outcome
from recipelang.surgery.network import Accelerated, Network
from recipelang.surgery.selectors import resolve
from recipelang.surgery.simulated import computing
from recipelang.verbs.accelerate import Accelerate


def run(operation: Accelerate, context: Context) -> Outcome:
    """Record the choice in the network; the deployed form reads it.

    Raises:
        Refusal: RCP0915: the selection holds no weight in an N:M pattern, and no runtime is asked for. RCP1305: the
            recipe demands a sparse kernel and this machine can run none.
    """
    network = context.network
    chosen = {"", *resolve(network.module, operation.selection)}  # "": a network that is one layer
    held = ((name, name.rpartition(".")[0]) for name, _ in network.module.named_parameters())
    paths = {name.removesuffix(".weight"): path for name, path in held if name in network.masks and path in chosen}
    runtimes = _runtimes(operation, network)
    if not paths and not runtimes:
        message, help = "there is no sparse layer to accelerate", "write `sparsify nm 2:4` above"
        if network.masks:
            message = "`in` and `except` select no sparse layer to accelerate"
            help = f"a sparse layer is, for example, `{next(iter(network.masks)).removesuffix('.weight')}`"
        raise Refusal("RCP0915", message, help)
    sparse_here = require_device(operation)
    before = "it replaces an earlier `accelerate`" if network.accelerated else ""
    accelerated = replace(
        network,
        accelerated=Accelerated(
            layers=tuple(sorted(set(paths.values()))),
            kernels=_kernels(operation),
            goal=operation.goal,
            int8=any(kernel.int8 for kernel in operation.kernels),
            runtimes=runtimes,
        ),
    )
    if runtimes:
        of = Figure("whichever is fastest where the network is timed", len(runtimes), noun="runtime")
        return Outcome(accelerated, reached=(of,), note="; ".join(filter(None, (", ".join(runtimes), before))))
    if sparse_here:
        chosen_there = Figure("chosen by measurement where the network is timed", len(paths), noun="layer")
        return Outcome(accelerated, reached=(chosen_there,), note=before)
    rows = [row for row in execution(accelerated) if row.layer in paths]
    ways = Counter(row.executes for row in rows).most_common()
    reached = tuple(Figure(way, number, noun="layer") for way, number in ways)
    why = sorted({row.why for row in rows if row.why})
    return Outcome(accelerated, reached=reached, note="; ".join([*why, before]).strip("; "))


def _runtimes(operation: Accelerate, network: Network) -> tuple[str, ...]:
    """The runtimes to choose from: those that are named, or all for a quantized network."""
    if operation.runtimes or operation.goal != "latency" or operation.kernels:
        return tuple(runtime.name for runtime in operation.runtimes)
    return names("runtime") if computing(network.restrictions) else ()


def foresee(operation: Accelerate, network: Network, known: Known) -> Foresight:
    """Nothing to say but whether this machine can do what the recipe demands.

    Raises:
        Refusal: RCP1305: it cannot.
    """
    require_device(operation)
    return Foresight()


def require_device(operation: Accelerate) -> bool:
    """Whether a device of this machine can execute 2:4 as sparse.

    Raises:
        Refusal: RCP1305: none can, and the recipe demands it.
    """
    reasons = [no_sparse_tensor_cores(device) for device in _devices()]
    if "dense" not in _kernels(operation) and None not in reasons:
        raise Refusal(
            "RCP1305",
            f"the recipe demands a sparse kernel and this machine can run none: {'; '.join(map(str, reasons))}",
            "write `accelerate`, or add `dense` to the kernels: layers then run dense where nothing else can",
        )
    return None in reasons


def _kernels(operation: Accelerate) -> tuple[str, ...]:
    """The names of the kernels that may be chosen."""
    named = [name for kernel in operation.kernels for name in kernel.executes]
    return tuple(dict.fromkeys(named)) or tuple(kernel.name for kernel in CANDIDATES)


def _devices() -> list[Device]:
    """Every device of this machine that a network may be timed on."""
    names = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    return [describe(torch.device(name)) for name in names]
