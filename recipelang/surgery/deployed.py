"""The deployed form: the copy of a network that is timed, counted and exported; healthy goes the same way."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from recipelang.surgery.masks import matrices
from recipelang.surgery.network import Network
from recipelang.surgery.parity import TOLERANCE, relative_difference
from recipelang.surgery.tracing import evaluating, example_input, hooked, record_calls

# Exact types: a subclass may compute something else, such as a convolution that standardises its weight.
FOLDABLE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def deployed(network: Network, *, compiled: bool = False, device: str = "cpu") -> nn.Module:
    """A copy for inference: evaluation mode, float32, BatchNorm folded where that is exact, channels_last.

    Args:
        network: stands as it is.
        compiled: whether to put `torch.compile` around it.
        device: where it shall run.
    """
    # Folded on the CPU, where float32 is float32: a GPU may multiply with fewer digits.
    module = copy.deepcopy(network.module).cpu().float().eval().requires_grad_(False)
    module = _fold(module, example_input(network).cpu())
    if any(isinstance(part, nn.Conv2d) for part in module.modules()):
        module = module.to(memory_format=torch.channels_last)
    module = module.to(device)
    return torch.compile(module) if compiled else module  # type: ignore[return-value]


def execution(network: Network) -> list[dict[str, Any]]:
    """How each layer of the deployed form executes, in the order of the network, removed layers first.

    Returns:
        rows `{"layer", "shape", "executes", "why"}`; `executes` is `removed`, `masked only` (zeros are multiplied
        like other numbers) or `dense`.
    """
    rows: list[dict[str, Any]] = [
        {"layer": getattr(edit, "name", str(edit)), "shape": [], "executes": "removed", "why": str(edit)}
        for edit in network.edits
    ]
    asked = network.accelerated is not None
    for name, (_, _, weight) in matrices(network.module).items():
        mask = network.masks.get(name)
        if mask is None:
            executes, why = "dense", "no mask"
        else:
            executes = "masked only"
            why = (
                f"no sparse kernel for {mask.pattern} on this machine"
                if asked
                else "the recipe does not say `accelerate`"
            )
        rows.append(
            {"layer": name.removesuffix(".weight"), "shape": list(weight.shape), "executes": executes, "why": why}
        )
    return rows


def _fold(module: nn.Module, example: Tensor) -> nn.Module:
    """The module with every BatchNorm folded that directly follows a convolution or linear layer."""
    pairs = _foldable(module, example)
    if not pairs:
        return module
    folded = copy.deepcopy(module)
    for layer, norm in pairs:
        _fold_pair(folded, layer, norm)
    with torch.no_grad():
        exact = relative_difference(folded(example), module(example)) <= TOLERANCE
    # A variance next to zero makes folded weights so large that float32 cannot hold the network's answer.
    return folded if exact else module


class _CountUses(TorchDispatchMode):
    """Counts how many operations read each of the watched tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.watched: dict[int, tuple[str, Tensor]] = {}  # holds the tensors, so that an id stays one tensor's
        self.uses: Counter[str] = Counter()

    def watch(self, path: str, tensor: Tensor) -> None:
        """Count the reads of the output of the layer at `path`."""
        self.watched[id(tensor)] = (path, tensor)

    def of(self, tensor: Any) -> str | None:
        """The path of the layer that this very tensor came out of."""
        return self.watched.get(id(tensor), (None,))[0]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        for leaf in tree_leaves((args, kwargs)):
            if (path := self.of(leaf)) is not None:
                self.uses[path] += 1
        return func(*args, **(kwargs or {}))


def _foldable(module: nn.Module, example: Tensor) -> list[tuple[str, str]]:
    """(layer, norm) paths where the norm is the one and only reader of what the layer computes.

    Found by running, and so without regard to how the forward functions are written.
    """
    calls = record_calls(module, example)
    once = {path: module.get_submodule(path) for path, call in calls.items() if call.once}
    reads = _CountUses()
    pairs: list[tuple[str, str]] = []
    handles = []
    for path, part in once.items():
        if type(part) in FOLDABLE and "parametrizations" not in part._modules:
            handles.append(part.register_forward_hook(lambda _, args, output, path=path: reads.watch(path, output)))
        elif type(part) in BATCH_NORMS and part.running_mean is not None:

            def pair(norm: nn.Module, args: tuple[Tensor], path: str = path) -> None:
                layer = reads.of(args[0])
                if layer is not None and _same_channels(once[layer], norm, args[0]):
                    pairs.append((layer, path))

            handles.append(part.register_forward_pre_hook(pair))
    with hooked(handles), evaluating(module), reads:
        module(example)
    return [(layer, norm) for layer, norm in pairs if reads.uses[layer] == 1]


def _same_channels(layer: nn.Module, norm: nn.Module, activation: Tensor) -> bool:
    """Whether the norm, which looks at axis 1, works along the output features, which a linear layer puts last."""
    return bool(norm.num_features == activation.shape[1] and (not isinstance(layer, nn.Linear) or activation.ndim == 2))


def _fold_pair(module: nn.Module, layer_path: str, norm_path: str) -> None:
    """Scale the layer's weight and bias by the norm, and put an Identity in the norm's place."""
    layer: Any = module.get_submodule(layer_path)
    norm: Any = module.get_submodule(norm_path)
    fuse = fuse_linear_bn_weights if isinstance(layer, nn.Linear) else fuse_conv_bn_weights
    weight, bias = fuse(layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    layer.weight, layer.bias = weight.requires_grad_(False), bias.requires_grad_(False)
    parent, _, leaf = norm_path.rpartition(".")
    setattr(module.get_submodule(parent), leaf, nn.Identity().eval())
