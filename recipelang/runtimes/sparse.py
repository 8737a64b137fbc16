"""Putting packed 2:4 layers into a deployed network, each where a measurement shows that it pays off."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.kernels.nm.chooser import Choice, Chooser, rows_alike
from recipelang.kernels.nm.device import describe
from recipelang.kernels.nm.format import Packed, pack, packable, rows
from recipelang.kernels.nm.layers import SparseLinear, SparsePointwise, not_pointwise
from recipelang.kernels.nm.operations import Way
from recipelang.kernels.nm.problem import Problem
from recipelang.kernels.nm.reference import nm_holds
from recipelang.kinds import Progress
from recipelang.runtimes.layers import ExecutedAs
from recipelang.surgery.consumers import sole_readers
from recipelang.surgery.network import Network
from recipelang.surgery.products import is_plain
from recipelang.surgery.restrictions.mask import Mask
from recipelang.surgery.rounding import asked
from recipelang.surgery.tracing import evaluating, record_calls

#: The pattern that hardware executes.
PATTERN = "2:4"
#: How much further from the float32 answer the network may be than the dense one in the same precision, and a floor in
#: units of the precision: with few classes the dense one may be close by chance.
FURTHER, FLOOR = 3.0, 4.0


def accelerate(
    module: nn.Module,
    network: Network,
    examples: Tensor,
    batch: int,
    chooser: Chooser,
    expected: Callable[[], Tensor],
    progress: Progress | None = None,
) -> tuple[nn.Module, dict[str, ExecutedAs]]:
    """The deployed module with sparse layers where they were chosen, and how the layer of each parameter executes.

    Args:
        module: deployed form on its device and in its precision; returned unchanged where no layer changes.
        network: its masks and `accelerated` settings.
        examples: inputs for one or more calls.
        batch: images in one call.
        chooser: decides, for the device of the module.
        expected: gives the dense network's answer to `examples` in float32, which both are compared with; called only
            where a layer has changed.

    Raises:
        Refusal: RCP1306: the accelerated network's answer differs from the dense one's.
    """
    sparse, example = copy.deepcopy(module), examples[:batch]
    calls = record_calls(sparse, example)
    wanted = asked(sparse, network)
    activations = _activations(sparse, example, [layer.path for layer in wanted])
    int8 = network.accelerated is not None and network.accelerated.int8
    found: dict[str, ExecutedAs] = {}
    changed = False
    if progress:
        progress.start("choosing kernels, layers", len(wanted))
    try:
        for layer in wanted:
            count, part = _rows(calls.get(layer.path)), layer.part
            if reason := _why_not(part, layer.weight, count, network.masks.get(layer.parameter)):
                found[layer.parameter] = ExecutedAs("dense", reason)
            else:
                activation, follower = activations.get(layer.path, ("none", ""))
                packed = pack(rows(layer.weight.detach()), int8=int8)
                choice = chooser.choose(_problem(part, packed, count, activation), packed)
                found[layer.parameter] = _say(choice, int8)
                if choice.kernel != "dense":
                    sparse.set_submodule(layer.path, _layer(part, packed, activation, chooser.goal, choice, count))
                    if follower:
                        sparse.set_submodule(follower, nn.Identity())
                    changed = True
            if progress:
                progress.advance()
    finally:
        if progress:
            progress.stop()
    if not changed:
        return module, found
    _verify(sparse, module, examples.split(batch), expected())
    return sparse, found


def _why_not(part: nn.Module, weight: Tensor, count: int, mask: Mask | None) -> str | None:
    """Why the layer cannot hold a packed weight on any device; None where it can."""
    if not is_plain(part, nn.Linear, nn.Conv2d):
        return f"a {type(part).__name__} uses its weights directly"
    if not count:
        return "the network uses its weight directly and never calls the layer"
    if isinstance(part, nn.Conv2d) and (reason := not_pointwise(part)):
        return reason
    if mask is not None and not nm_holds(weight, 2, 4) and mask.pattern != PATTERN:
        return f"hardware executes {PATTERN} and the layer is {mask.pattern}"
    return packable(weight)


def _rows(call: Any) -> int:
    """Rows of the product in one call: all axes except the features, which are axis 1 in a convolution."""
    if call is None or call.input_shape is None:
        return 0
    shape = call.input_shape
    return prod(shape) // shape[1 if len(shape) == 4 and call.output_shape[2:] == shape[2:] else -1]


def _activations(module: nn.Module, example: Tensor, paths: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Layer → (activation, its path), where one activation module is the only reader of the layer's output."""
    followers = sole_readers(module, example, paths, lambda part: activation_of(part) is not None)
    return {path: (str(activation_of(module.get_submodule(after))), after) for path, after in followers.items()}


def activation_of(part: nn.Module) -> str | None:
    """The name that kernels know an activation module by; None where they do not know it."""
    if type(part) is nn.ReLU:
        return "relu"
    if type(part) is nn.SiLU:
        return "silu"
    if type(part) is nn.GELU:
        return "gelu" if part.approximate == "none" else "gelu_tanh"
    return None


def _problem(part: Any, packed: Packed, count: int, activation: str) -> Problem:
    weight, bias = part.weight, part.bias is not None
    device = describe(weight.device)
    return Problem(count, *packed.shape, weight.dtype, device, packed.values.dtype, bias, activation)


def _say(choice: Choice, int8: bool) -> ExecutedAs:
    if choice.kernel == "dense":
        return ExecutedAs("dense", choice.why)
    return ExecutedAs(f"{choice.kernel} {PATTERN}{' int8' if int8 else ''}", choice.why)


def _layer(part: Any, packed: Packed, activation: str, goal: str, choice: Choice, count: int) -> SparseLinear:
    """The packed layer: the chosen kernel up to the number of rows it was measured for, dense or unpacked beyond."""
    kind = SparsePointwise if isinstance(part, nn.Conv2d) else SparseLinear
    layer = kind(packed, part.bias, activation, part.weight.dtype)
    layer.use((Way(choice.kernel, choice.configuration, rows_alike(count)), *_beyond(choice, goal)))
    return layer.eval()


def _beyond(choice: Choice, goal: str) -> tuple[Way, ...]:
    """What computes batches larger than the measured one.

    With memory as the goal no second form of the weight is kept: the kernel takes them too, or the weight is unpacked
    each time.
    """
    if goal == "memory":
        return Way(choice.kernel, choice.configuration, None), Way("unpacked", {}, None)
    return (Way("dense", {}, None),)


def _verify(sparse: nn.Module, dense: nn.Module, calls: Sequence[Tensor], expected: Tensor) -> None:
    """Refuse a network whose answer is further from the float32 one than rounding explains.

    Two networks that round differently are equally far from it, averaged over the whole answer. In bfloat16 the
    distance was 1.5 to 1.9 % for ViT-L/16 with layers summed in different orders, in float16 0.2 %; none was 1.2 times
    as far as another. So the norm of the whole answer is compared, not its worst element.
    """
    with evaluating(sparse), evaluating(dense):
        off, usual = (_distance(torch.cat([m(images) for images in calls]), expected) for m in (sparse, dense))
    if not off <= FURTHER * usual + FLOOR * torch.finfo(calls[0].dtype).eps:
        raise Refusal(
            "RCP1306",
            f"the accelerated network's answer is {off:.1e} from the float32 network's, the dense one's {usual:.1e}",
            "a kernel is wrong on this device: `accelerate with dense` avoids it; please report it",
        )


def _distance(answer: Tensor, expected: Tensor) -> float:
    """Norm of the difference divided by the norm of the expected answer; NaN where either contains NaN."""
    size = expected.double().norm().clamp_min(torch.finfo(torch.float32).tiny)
    return float((answer.cpu().double() - expected.double()).norm() / size)


def demands_sparse(network: Network) -> bool:
    """Whether the recipe names kernels, `dense` not among them."""
    return network.accelerated is not None and "dense" not in network.accelerated.kernels


def require_sparse(network: Network, found: Mapping[str, ExecutedAs], where: str) -> None:
    """Refuse a network on a GPU in which no layer executes as sparse, where the recipe does not allow `dense`.

    Args:
        found: what was chosen for the layers; empty on a device without sparse kernels.
        where: what executes it.

    Raises:
        Refusal: RCP1305.
    """
    if found and demands_sparse(network) and all(way.executes == "dense" for way in found.values()):
        reasons = "; ".join(list(dict.fromkeys(way.why for way in found.values()))[:3])
        raise Refusal(
            "RCP1305",
            f"the recipe demands a sparse kernel and no layer can use one on {where}: {reasons}",
            'write `latency(device="cuda", precision=float16)`, or `accelerate with …, dense`',
        )
