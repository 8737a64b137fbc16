"""The deployed form: the copy of a network that is timed, counted and exported; the healthy network's is made the same
way."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.kernels.nm.chooser import Chooser
from recipelang.kernels.nm.device import describe, no_sparse_tensor_cores
from recipelang.kernels.nm.reference import nm_holds
from recipelang.kernels.nm.table import table_of
from recipelang.kernels.nm.timer import CudaTimer
from recipelang.kinds import Progress
from recipelang.surgery.accelerated import accelerate, round_to_int8, ways
from recipelang.surgery.attention import unfold_attention
from recipelang.surgery.folding import fold
from recipelang.surgery.layout import laid_out
from recipelang.surgery.network import Network
from recipelang.surgery.products import idle_weights, products_of
from recipelang.surgery.tracing import evaluating, example_input, first_line

PRECISIONS = ("float32", "float16", "bfloat16")

#: Minimum number of images on which sparse and dense answers are compared: with few classes one alone shows little.
VERIFIED_IMAGES = 8


@dataclass(frozen=True)
class Deployment:
    """How a deployed network is called.

    Attributes:
        device: `cpu`, `cuda` or `cuda:N`.
        precision: one of PRECISIONS: for weights and activations.
        compiled: whether it is wrapped in `torch.compile`; on a GPU it is then replayed as a CUDA graph.
        batch: images in one call: sparse kernels are chosen for it, and accept smaller ones too.
    """

    device: str = "cpu"
    precision: str = "float32"
    compiled: bool = False
    batch: int = 1

    def __str__(self) -> str:
        compiled = ", compiled" if self.compiled else ""
        return f"{self.device}, {self.precision}, batch {self.batch}{compiled}"


ON_CPU = Deployment()


def deployed(network: Network, how: Deployment = ON_CPU, progress: Progress | None = None) -> nn.Module:
    """A copy for inference: evaluation mode, BatchNorm folded where that is exact, channels_last, in `how.precision`.

    Layers that the recipe accelerates hold packed weights where a measurement on the device shows that it pays off.

    Args:
        network: is not changed.
        how: where and how it will be called.
        progress: receives the progress of choosing kernels.

    Raises:
        Refusal: RCP1306: a sparse kernel gave a wrong answer; RCP0726: the network cannot compute in this precision.
    """
    # Folded on the CPU, where float32 is float32: a GPU may multiply with fewer bits.
    module = copy.deepcopy(network.module).cpu().float().eval().requires_grad_(False)
    module = fold(module, example_input(network).cpu())
    if network.accelerated and network.accelerated.int8:
        round_to_int8(module, network)
    module = laid_out(module)
    module = _accelerated(module, network, how, progress)
    return _compiled(module, how) if how.compiled else module


def _accelerated(module: nn.Module, network: Network, how: Deployment, progress: Progress | None) -> nn.Module:
    """The module on its device and in its precision, with sparse layers where asked for and worthwhile."""
    dtype, device = getattr(torch, how.precision), torch.device(how.device)
    if no_sparse_tensor_cores(describe(device)):
        return _computing(module.to(device, dtype), network, how)
    # The healthy network too: sparse is compared with dense, not one attention with another.
    module = unfold_attention(module, example_input(network).cpu())
    if not network.accelerated:
        return _computing(module.to(device, dtype), network, how)
    # Whole calls, so that what is verified is what was chosen for the batch.
    examples = example_input(network, how.batch * -(-VERIFIED_IMAGES // how.batch)).cpu()
    on_device = _computing(copy.deepcopy(module).to(device, dtype), network, how)

    def expected() -> Tensor:
        with evaluating(module):
            answer: Tensor = module(examples)
        return answer

    chooser = Chooser(
        device=device,
        goal=network.accelerated.goal,
        allowed=network.accelerated.kernels,
        timer=CudaTimer(graph=how.compiled, device=device),
        table=table_of(describe(device)),
        timing="graph" if how.compiled else "eager",
        resident_bytes=sum(parameter.nbytes for parameter in on_device.parameters()),
    )
    sparse, found = accelerate(on_device, network, examples.to(device, dtype), how.batch, chooser, expected, progress)
    sparse.execution = found  # type: ignore[assignment]
    return sparse


def _computing(module: nn.Module, network: Network, how: Deployment) -> nn.Module:
    """The module, after a test call where the precision is not that of training."""
    if how.precision == "float32":
        return module
    example = example_input(network).to(how.device, getattr(torch, how.precision))
    try:
        with evaluating(module):
            module(example)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # the module is the user's: it may hold float32 constants and raise anything
        raise Refusal(
            "RCP0726",
            f"the network cannot compute in {how.precision}: {type(error).__name__}: {first_line(error)}",
            "remove `precision`, or make the constants of `forward` follow its input: `dtype=x.dtype`",
        ) from error
    return module


def _compiled(module: nn.Module, how: Deployment) -> nn.Module:
    """`torch.compile`; on a GPU as CUDA graphs, since launching small layers takes longer than computing them."""
    cuda = torch.device(how.device).type == "cuda"
    return torch.compile(module, mode="reduce-overhead" if cuda else None)  # type: ignore[return-value]


def execution(network: Network, module: nn.Module | None = None) -> list[dict[str, Any]]:
    """How each layer of the deployed form executes, in the order of the network, removed layers first.

    Args:
        network: its masks and edits.
        module: the deployed form on the device in question; default: on a CPU.

    Returns:
        rows `{"layer", "shape", "executes", "why"}`, one for each weight that enters a product; `executes` is
        `removed`, `masked only` (zeros are multiplied like any other number), `dense`, a kernel, or `never` for weights
        of layers that take no part in evaluation.

    Raises:
        Refusal: RCP0731: the network's products cannot be observed.
    """
    rows: list[dict[str, Any]] = [
        {"layer": getattr(edit, "name", str(edit)), "shape": [], "executes": "removed", "why": str(edit)}
        for edit in network.edits
        if not edit.resizes  # what stays of a layer has a row of its own
    ]
    found = ways(module) if module is not None else {}
    products = products_of(network)
    for product in products:
        name, executes, why = product.name, "dense", "no mask" if product.parameter else product.why
        if mask := network.masks.get(name):
            way = found.get(name)
            weight = network.module.get_parameter(name)
            executes, why = "masked only", way.why if way else _masked_only(network, product.path, mask.pattern, weight)
            if way and way.executes != "dense":
                executes = way.executes
        rows.append(_row(name, product.shape, executes, why))
    idle = idle_weights(network.module, products)
    return rows + [_row(name, weight.shape, "never", "used in training only") for name, (_, weight) in idle.items()]


def _row(name: str, shape: Sequence[int], executes: str, why: str) -> dict[str, Any]:
    return {"layer": name.removesuffix(".weight"), "shape": list(shape), "executes": executes, "why": why}


def _masked_only(network: Network, path: str, pattern: str, weight: Tensor) -> str:
    """Why the zeros of a layer are multiplied where no kernel was chosen for it."""
    if network.accelerated is None:
        return "the recipe does not say `accelerate`"
    if path not in network.accelerated.layers:
        return "`accelerate` leaves it out"
    if not nm_holds(weight, 2, 4):
        return f"hardware executes 2:4, and the layer is {pattern}"
    return str(no_sparse_tensor_cores(describe(torch.device("cpu"))))
