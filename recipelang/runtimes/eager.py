"""Networks executed by torch, each layer by torch's kernels or by a sparse one that a measurement chose."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.kernels.nm.chooser import Chooser
from recipelang.kernels.nm.device import describe, no_sparse_tensor_cores, triton_version
from recipelang.kernels.nm.reference import nm_holds
from recipelang.kernels.nm.table import VERSION, table_of
from recipelang.kernels.nm.timer import CudaTimer
from recipelang.kinds import Deployment, Inputs, LayerExecution, Progress
from recipelang.measuring.clock import check_device
from recipelang.runtimes.layers import VERIFIED_IMAGES, ExecutedAs, executed, not_asked
from recipelang.runtimes.module_watch import ModuleWatch, watch_of
from recipelang.runtimes.sparse import accelerate, require_sparse
from recipelang.surgery.attention import unfold_attention
from recipelang.surgery.calls import leave_to_python
from recipelang.surgery.deployed import deployed
from recipelang.surgery.network import Network
from recipelang.surgery.products import Product
from recipelang.surgery.simulated import computing
from recipelang.surgery.tracing import device_of, evaluating, example_input, first_line
from recipelang.surgery.tracing import placed as on

ON_CPU = Deployment()

SIMULATED = "of the simulation, which is slow: torch does not compute in integers, a runtime such as onnxruntime does"


@dataclass(frozen=True)
class Eager:
    """A module on its device, and what was chosen for the layers that the recipe accelerates."""

    network: Network = field(repr=False)
    module: nn.Module = field(repr=False)
    ways: Mapping[str, ExecutedAs] = field(default_factory=dict)

    @property
    def note(self) -> str:
        """That the time of simulated grids is not that of integers."""
        return SIMULATED if computing(self.network.restrictions) else ""

    @property
    def inputs(self) -> Inputs:
        """What it is called with."""
        return self.network.inputs

    def __call__(self, inputs: Tensor) -> Any:
        """Inputs B×… on the module's device and in its precision → the network's answer."""
        return self.module(inputs)

    def watch(self) -> ModuleWatch:
        """A watch of its modules; one that torch has compiled has none."""
        return watch_of(self.module, device_of(self.module))

    def execution(self) -> tuple[LayerExecution, ...]:
        """How each layer executes."""
        return execution(self.network, self.ways)


def versions(network: Network) -> Mapping[str, Any]:
    """The software that determines how fast torch executes a network."""
    kernels = {"kernels": [VERSION, triton_version()]} if network.accelerated else {}
    return {"torch": torch.__version__, **kernels}


def prepare(network: Network, how: Deployment = ON_CPU, progress: Progress | None = None) -> Eager:
    """The deployed form on its device and in its precision.

    Layers that the recipe accelerates hold packed weights where a measurement on the device shows that it pays off.

    Args:
        network: is not changed.
        how: where and how it will be called.
        progress: receives the progress of choosing kernels.

    Raises:
        Refusal: RCP1001: this machine lacks the device; RCP1305: the recipe demands a sparse kernel and none can run;
            RCP1306: one gave a wrong answer; RCP0726: the network cannot compute in this precision; RCP1013: torch
            cannot compile it.
    """
    check_device(how.device)
    ready = placed(network, how, progress)
    require_sparse(network, ready.ways, str(how))
    return replace(ready, module=_compiled(ready.module, network, how)) if how.compiled else ready


def execution(network: Network, ways: Mapping[str, ExecutedAs] | None = None) -> tuple[LayerExecution, ...]:
    """How each layer executes in torch.

    Args:
        network: its masks and edits.
        ways: what was chosen on the device in question; default: nothing, as on a CPU.
    """
    return executed(network, {**(ways or {}), **_simulated(network)}, lambda product: _masked_only(network, product))


def _simulated(network: Network) -> dict[str, ExecutedAs]:
    """Parameter name → what torch does with a weight that is on a grid."""
    return {
        place: ExecutedAs(f"{one.name} simulated", "torch computes it in floating point")
        for place, each in computing(network.restrictions).items()
        for one in each
    }


def placed(network: Network, how: Deployment, progress: Progress | None = None) -> Eager:
    """The deployed form on its device and in its precision, with sparse layers where asked for and worthwhile.

    Unlike what `prepare` gives, it is not compiled.
    """
    module = deployed(network)
    dtype, device = getattr(torch, how.precision), torch.device(how.device)
    if computing(network.restrictions) or no_sparse_tensor_cores(describe(device)):
        return Eager(network, _computing(module.to(device, dtype), network, how))
    # The healthy network too: sparse is compared with dense, not one attention with another.
    module = unfold_attention(module, example_input(network).cpu())
    if not network.accelerated:
        return Eager(network, _computing(module.to(device, dtype), network, how))
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
    images = on(examples, device, dtype)
    return Eager(network, *accelerate(on_device, network, images, how.batch, chooser, expected, progress))


def _computing(module: nn.Module, network: Network, how: Deployment) -> nn.Module:
    """The module, after a test call where the precision is not that of training."""
    if how.precision == "float32":
        return module
    example = on(example_input(network), how.device, getattr(torch, how.precision))
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


def _compiled(module: nn.Module, network: Network, how: Deployment) -> nn.Module:
    """`torch.compile`; on a GPU as CUDA graphs, since launching small layers takes longer than computing them.

    It is called once, which compiles it.
    """
    from torch._dynamo.exc import TorchDynamoException

    cuda = torch.device(how.device).type == "cuda"
    leave_to_python(module)
    compiled: Any = torch.compile(module, mode="reduce-overhead" if cuda else None)
    example = on(example_input(network, how.batch), how.device, getattr(torch, how.precision))
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # a missing GPU is not worth a warning
    try:
        with torch.inference_mode():  # as the clock calls it, which would compile it again otherwise
            compiled(example)
    except TorchDynamoException as error:
        inner = getattr(error, "inner_exception", error)
        raise Refusal(
            "RCP1013",
            f"torch.compile cannot compile the network here: {type(inner).__name__}: {first_line(inner)}",
            "leave `compiled=true` out; `recipe doctor` says what this machine lacks",
        ) from error
    return compiled


def _masked_only(network: Network, product: Product) -> str:
    """Why the zeros of a layer are multiplied where no kernel was chosen for it."""
    if network.accelerated is None or not nm_holds(network.module.get_parameter(product.name), 2, 4):
        return not_asked(network, product)
    if product.path not in network.accelerated.layers:
        return "`accelerate` leaves it out"
    return str(no_sparse_tensor_cores(describe(torch.device("cpu"))))
