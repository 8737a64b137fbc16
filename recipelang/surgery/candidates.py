"""Which layers can be removed, found by what modules compute, never from a table of model names.

residual   a smallest module that is the identity on its own input when its weights are zero, or that then returns
           zeros and is added to its input by its parent (`residual`)
plain      a dense conv – [norm] – activation run of one Sequential that keeps its shape;
           offered only where a network has no residual candidates
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from recipelang.surgery.residual import ResidualLayer, find_residual
from recipelang.surgery.tracing import ModuleCall, record_calls

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
FILTERS_FIRST_NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.GroupNorm)
FILTERS_LAST = (nn.Linear, nn.MultiheadAttention)
NORMS = (*FILTERS_FIRST_NORMS, nn.LayerNorm)
#: the wires of a layer that takes one tensor and returns one
PASSED_ON = {"argument": 0}
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
        paths: the modules that are removed, in order of execution.
        kind: `residual` or `plain`.
        filters_axis: the axis of its activations that counts filters: 1 for B×F×H×W, the last for B×T×F.
        width: number of filters.
        wires: what its stand-in returns, as JSON (`wiring`); empty where it takes one tensor and returns one.
        branch: whether its parent adds its output to its input: `x + layer(x)`.
    """

    name: str
    paths: tuple[str, ...]
    kind: str
    filters_axis: int
    width: int
    wires: str = ""
    branch: bool = False


@dataclass(frozen=True)
class RemovableLayers:
    """What a network offers for removal, in order of execution.

    Attributes:
        layers: those that can be removed.
        stay: path → why a layer that looks like one of them cannot.
    """

    layers: tuple[Candidate, ...]
    stay: Mapping[str, str]


def find_layers(module: nn.Module, example: Tensor) -> tuple[Candidate, ...]:
    """Every layer that looks removable, in order of execution; `trial.survey` tries them.

    Args:
        module: the network; its weights and modes are not changed.
        example: an input, B×C×H×W (`tracing.example_input`).
    """
    return look_for_layers(module, example).layers


def look_for_layers(module: nn.Module, example: Tensor) -> RemovableLayers:
    """Like `find_layers`, with the reasons why other blocks are not among them."""
    calls = record_calls(module, example)
    alone = _unshared(module)
    found, stay = find_residual(module, example, alone & set(calls) - _repeated(calls))
    residual = tuple(_candidate(module, layer, calls) for layer in found)
    return RemovableLayers(residual or tuple(_plain(module, calls, alone)), stay)


def _candidate(module: nn.Module, layer: ResidualLayer, calls: Mapping[str, ModuleCall]) -> Candidate:
    axis = _filters_axis(module, layer.path, calls, len(layer.shape))
    plain = layer.wires == PASSED_ON and calls[layer.path].once
    wires = "" if plain else json.dumps(layer.wires)
    return Candidate(layer.path, (layer.path,), "residual", axis, layer.shape[axis], wires, layer.branch)


def _repeated(calls: Mapping[str, ModuleCall]) -> set[str]:
    return {path for path, call in calls.items() if call.count > 1}


def _unshared(module: nn.Module) -> set[str]:
    """Paths of the modules used in one place only: others would be removed in one place and not in another."""
    places = Counter(id(part) for _, part in module.named_modules(remove_duplicate=False))
    return {path for path, part in module.named_modules() if places[id(part)] == 1}


def _filters_axis(module: nn.Module, path: str, calls: Mapping[str, ModuleCall], ndim: int) -> int:
    """The filters' axis, from the first layer inside that reads an activation with this many axes."""
    for inner, call in calls.items():
        if not (inner + ".").startswith(path + ".") or len(call.input_shape or (0,) * ndim) != ndim:
            continue
        part = module.get_submodule(inner)
        if isinstance(part, CONVOLUTIONS + FILTERS_FIRST_NORMS):
            return 1
        # A subclass of LayerNorm may well permute first, as torchvision's LayerNorm2d does, so it shows nothing.
        if isinstance(part, FILTERS_LAST) or type(part) is nn.LayerNorm:
            return ndim - 1
    return 1 if ndim == 4 else ndim - 1


def _plain(module: nn.Module, calls: Mapping[str, ModuleCall], alone: set[str]) -> Iterator[Candidate]:
    """The conv – [norm] – activation runs that keep their shape, in order of execution."""
    found = []
    for path, part in module.named_modules():
        # Only a Sequential that is called as a whole guarantees that its children follow each other.
        if isinstance(part, nn.Sequential) and type(part).forward is nn.Sequential.forward and path in calls:
            children = [(f"{path}.{name}".lstrip("."), child) for name, child in part.named_children()]
            found += [run for start in range(len(children)) if (run := _run(children[start : start + 3], calls))]
    for run in sorted(found, key=lambda paths: calls[paths[0]].order):
        if alone.issuperset(run):
            yield Candidate(run[0], run, "plain", 1, (calls[run[0]].input_shape or ())[1])


def _run(children: list[tuple[str, nn.Module]], calls: Mapping[str, ModuleCall]) -> tuple[str, ...]:
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
