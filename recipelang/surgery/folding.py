"""Folding BatchNorm into the layer before it, where that changes nothing."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from recipelang.surgery.consumers import sole_readers
from recipelang.surgery.parity import TOLERANCE, relative_difference
from recipelang.surgery.products import is_plain

FOLDABLE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def fold(module: nn.Module, example: Tensor) -> nn.Module:
    """The module with every BatchNorm folded that directly follows a convolution or linear layer."""
    pairs = _foldable(module, example)
    if not pairs:
        return module
    folded = copy.deepcopy(module)
    for layer, norm in pairs:
        _fold_pair(folded, layer, norm)
    with torch.no_grad():
        exact = relative_difference(folded(example), module(example)) <= TOLERANCE
    # A variance close to zero makes folded weights so large that float32 cannot hold the network's answer.
    return folded if exact else module


def _foldable(module: nn.Module, example: Tensor) -> list[tuple[str, str]]:
    """(layer, norm) paths where the norm is the only reader of the layer's output."""
    layers = [path for path, part in module.named_modules() if is_plain(part, *FOLDABLE)]
    readers = sole_readers(
        module,
        example,
        layers,
        wanted=lambda part: is_plain(part, *BATCH_NORMS) and part.running_mean is not None,
        fits=_same_channels,
    )
    return list(readers.items())


def _same_channels(layer: nn.Module, norm: nn.Module, activation: Tensor) -> bool:
    """Whether the norm, which uses axis 1, works along the output features, which a linear layer puts last."""
    return bool(norm.num_features == activation.shape[1] and (not isinstance(layer, nn.Linear) or activation.ndim == 2))


def _fold_pair(module: nn.Module, layer_path: str, norm_path: str) -> None:
    """Scale the layer's weight and bias by the norm, and replace the norm with an Identity."""
    layer: Any = module.get_submodule(layer_path)
    norm: Any = module.get_submodule(norm_path)
    fuse = fuse_linear_bn_weights if isinstance(layer, nn.Linear) else fuse_conv_bn_weights
    weight, bias = fuse(layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    layer.weight, layer.bias = weight.requires_grad_(False), bias.requires_grad_(False)
    module.set_submodule(norm_path, nn.Identity().eval())
