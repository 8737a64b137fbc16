"""Wrappers that help a training script but obstruct everything else: DataParallel, torch.compile, and SyncBatchNorm,
which is BatchNorm across processes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from recipelang.surgery.tracing import evaluating, hooked

#: wrapper → the attribute that holds the network
_INSIDE: dict[type[nn.Module], str] = {
    nn.DataParallel: "module",
    DistributedDataParallel: "module",
    torch.optim.swa_utils.AveragedModel: "module",
}
_BATCH_NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


def unwrapped(module: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """The network without wrappers, around it or around parts of it, and the names of those removed.

    `DataParallel`, `DistributedDataParallel`, `AveragedModel`, `torch.compile(…)` and `module.compile()` are
    removed. What is inside computes the same; the names of its weights lose the wrapper's prefix. The module is changed
    in place where a part of it was wrapped.
    """
    names: list[str] = []
    module = _bare(module, names)
    for parent in list(module.modules()):
        for name, child in list(parent._modules.items()):
            if child is not None:
                parent._modules[name] = _bare(child, names)
    for part in module.modules():
        if getattr(part, "_compiled_call_impl", None) is not None:
            part._compiled_call_impl = None
            names.append("torch.compile")
    return module, tuple(dict.fromkeys(names))


def _bare(module: nn.Module, names: list[str]) -> nn.Module:
    while inside := _inside(module):
        name, module = inside
        names.append(name)
    return module


def _inside(module: nn.Module) -> tuple[str, nn.Module] | None:
    if isinstance(getattr(module, "_orig_mod", None), nn.Module):  # what torch.compile returns; its class is private
        return "torch.compile", module._orig_mod  # type: ignore[return-value]
    for kind, attribute in _INSIDE.items():
        if isinstance(module, kind):
            return kind.__name__, getattr(module, attribute)
    return None


def plain_batchnorms(module: nn.Module, example: Tensor) -> bool:
    """Replace SyncBatchNorm with BatchNorm, in place; returns whether there was any.

    In one process they compute the same, and BatchNorm can be folded. The number of axes of its input is found in one
    forward pass in evaluation mode; a layer that the pass does not reach is kept.

    Args:
        module: the network. example: an input, B×C×H×W.
    """
    found = {path: part for path, part in module.named_modules() if type(part) is nn.SyncBatchNorm}
    if not found:
        return False
    axes: dict[str, int] = {}

    def hooks() -> Iterator[torch.utils.hooks.RemovableHandle]:
        for path, part in found.items():

            def see(_: nn.Module, args: tuple[Tensor, ...], path: str = path) -> None:
                axes[path] = args[0].ndim

            yield part.register_forward_pre_hook(see)

    with hooked(hooks()), evaluating(module):
        module(example.clone())
    for path, part in found.items():
        if path and path in axes:
            module.set_submodule(path, _batchnorm(part, _BATCH_NORMS[axes[path]]))
    return True


def _batchnorm(part: nn.SyncBatchNorm, kind: type[nn.modules.batchnorm._BatchNorm]) -> nn.Module:
    """BatchNorm with the layer's own parameters and buffers."""
    norm = kind(part.num_features, part.eps, part.momentum, part.affine, part.track_running_stats)
    norm._parameters, norm._buffers = part._parameters, part._buffers
    return norm.train(part.training)
