"""Which layers can be removed, found by what modules do and never from a table of model names.

residual   a smallest module that is the identity on its own input when its parameters are zero
plain      a dense conv – [norm] – activation run of one Sequential that keeps its shape;
           offered only where a network has no residual candidates
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from recipelang.surgery.tracing import Call, evaluating, hooked, record_calls

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
FILTERS_FIRST_NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm)
FILTERS_LAST = (nn.Linear, nn.MultiheadAttention)
NORMS = (*FILTERS_FIRST_NORMS, nn.LayerNorm)
ACTIVATIONS = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.SiLU,
    nn.GELU,
    nn.Hardswish,
    nn.Hardsigmoid,
    nn.Hardtanh,
    nn.ELU,
    nn.CELU,
    nn.SELU,
    nn.Mish,
    nn.Softplus,
    nn.Sigmoid,
    nn.Tanh,
)


@dataclass(frozen=True)
class Candidate:
    """A layer that can be removed.

    Attributes:
        name: its path, for a plain candidate that of its convolution.
        paths: the modules that go, in order of execution.
        kind: `residual` or `plain`.
        filters_axis: the axis of its activations that counts filters: 1 for B×F×H×W, the last for B×T×F.
        width: number of filters.
    """

    name: str
    paths: tuple[str, ...]
    kind: str
    filters_axis: int
    width: int


def find_layers(module: nn.Module, example: Tensor) -> tuple[Candidate, ...]:
    """Every layer that can be removed, in order of execution.

    Args:
        module: the network; its weights and modes are left as they are.
        example: an input, B×C×H×W (`tracing.example_input`).
    """
    calls = record_calls(module, example)
    alone = _unshared(module)
    residual = _residual(module, example, {p: c for p, c in calls.items() if p in alone})
    return tuple(residual) or tuple(_plain(module, calls, alone))


def without_parameters(module: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    """Zeros for every parameter of the module, for `functional_call`; they take no memory."""
    return {prefix + name: p.new_zeros(()).expand(p.shape) for name, p in module.named_parameters()}


def _unshared(module: nn.Module) -> set[str]:
    """Paths of the modules that stand in one place only: others would be removed in one place and stay in another."""
    places = Counter(id(part) for _, part in module.named_modules(remove_duplicate=False))
    return {path for path, part in module.named_modules() if places[id(part)] == 1}


def _residual(module: nn.Module, example: Tensor, calls: Mapping[str, Call]) -> Iterator[Candidate]:
    """The smallest modules that are the identity without their parameters."""
    tested = [
        p
        for p, c in calls.items()
        if p and c.keeps_shape and next(module.get_submodule(p).parameters(), None) is not None
    ]
    for path in _identities(module, example, tested):
        shape = calls[path].input_shape or ()
        axis = _filters_axis(module, path, calls, len(shape))
        yield Candidate(path, (path,), "residual", axis, shape[axis])


def _identities(module: nn.Module, example: Tensor, tested: list[str]) -> list[str]:
    """Test modules while the network runs, each on its own input: nothing is copied, little is kept.

    A module ends after those inside it, so one that holds an identity need not be tested any more.
    """
    found: list[str] = []
    inputs: dict[str, Tensor] = {}  # of the modules that are running
    testing = False

    def watch(path: str) -> list[Any]:
        def before(part: nn.Module, args: tuple[Tensor]) -> None:
            if not testing:
                inputs[path] = args[0].clone()  # the module may change it in place

        def after(part: nn.Module, args: tuple[Tensor], output: Tensor) -> None:
            nonlocal testing
            if testing:  # a module inside the one that is being tested
                return
            x = inputs.pop(path)
            if any(inner.startswith(path + ".") for inner in found):
                return
            testing = True
            try:
                if _is_identity_without_parameters(part, x):
                    found.append(path)
            finally:
                testing = False

        part = module.get_submodule(path)
        return [part.register_forward_pre_hook(before), part.register_forward_hook(after)]

    with hooked(hook for path in tested for hook in watch(path)), evaluating(module):
        module(example)
    return found


def _is_identity_without_parameters(part: nn.Module, x: Tensor) -> bool:
    """Whether the module gives back its own input when its parameters are zero."""
    if not x.any():  # zeros come out of zeros whatever the module does
        return False
    try:
        output = functional_call(part, without_parameters(part), (x.clone(),))
    except (RuntimeError, ValueError, ArithmeticError):  # a module that cannot compute with zeros is no identity
        return False
    return isinstance(output, Tensor) and torch.equal(output, x)


def _filters_axis(module: nn.Module, path: str, calls: Mapping[str, Call], ndim: int) -> int:
    """The filters' axis, told by the first layer inside that reads an activation of so many axes."""
    for inner, call in calls.items():
        if not inner.startswith(path + ".") or len(call.input_shape or (0,) * ndim) != ndim:
            continue
        part = module.get_submodule(inner)
        if isinstance(part, CONVOLUTIONS + FILTERS_FIRST_NORMS):
            return 1
        # A subclass of LayerNorm may well permute first, as torchvision's LayerNorm2d does: it tells nothing.
        if isinstance(part, FILTERS_LAST) or type(part) is nn.LayerNorm:
            return ndim - 1
    return 1 if ndim == 4 else ndim - 1


def _plain(module: nn.Module, calls: Mapping[str, Call], alone: set[str]) -> Iterator[Candidate]:
    """The conv – [norm] – activation runs that keep their shape, in order of execution."""
    found = []
    for path, part in module.named_modules():
        # Only a Sequential that is called as one promises that its children follow each other.
        if isinstance(part, nn.Sequential) and type(part).forward is nn.Sequential.forward and path in calls:
            children = [(f"{path}.{name}".lstrip("."), child) for name, child in part.named_children()]
            found += [run for start in range(len(children)) if (run := _run(children[start : start + 3], calls))]
    for run in sorted(found, key=lambda paths: calls[paths[0]].order):
        if alone.issuperset(run):
            yield Candidate(run[0], run, "plain", 1, (calls[run[0]].input_shape or ())[1])


def _run(children: list[tuple[str, nn.Module]], calls: Mapping[str, Call]) -> tuple[str, ...]:
    """The paths of a removable run at the start of these children; empty where there is none."""
    conv = children[0][1]
    if not isinstance(conv, CONVOLUTIONS) or conv.groups != 1:
        return ()
    length = 3 if len(children) > 2 and isinstance(children[1][1], NORMS) else 2
    paths = tuple(path for path, _ in children[:length])
    if len(paths) < length or not isinstance(children[length - 1][1], ACTIVATIONS):
        return ()
    if not all(path in calls and calls[path].once for path in paths):
        return ()
    return paths if calls[paths[0]].input_shape == calls[paths[-1]].output_shape else ()
