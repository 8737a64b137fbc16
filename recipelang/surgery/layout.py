"""The memory order of images and weights.

Convolutions are fastest with channels last. Code that joins axes with `view`, or views a parameter as complex
numbers, depends on torch's default order, channels first.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from recipelang.surgery import answers
from recipelang.surgery.chance import random_numbers
from recipelang.surgery.network import Habits
from recipelang.surgery.tracing import evaluating

#: how far an answer may change with the order of sums, as a part of the largest score
ROUNDING = 1e-3


def wants_channels_last(module: nn.Module) -> bool:
    """Whether channels last is worthwhile, and the network computes correctly in it."""
    habits: Habits = getattr(module, "_recipelang_habits", Habits())
    return not habits.contiguous and any(isinstance(part, nn.Conv2d) for part in module.modules())


def laid_out(module: nn.Module) -> nn.Module:
    """The module, its convolutions in place with channels last where worthwhile; nothing else changes."""
    return _channels_last(module) if wants_channels_last(module) else module


def channels_first(images: Tensor) -> Tensor:
    """The images in torch's default order; also those with one channel or one pixel, whose strides are ambiguous."""
    return images.contiguous().view(-1).view(images.shape)


def takes_channels_last(module: nn.Module, example: Tensor, scores: Tensor, path: answers.Path) -> bool:
    """Whether a network runs with channels last, in both modes, and gives the same scores.

    Args:
        module: is not changed.
        example: an input, B×C×H×W.
        scores: its answer in evaluation mode in the default order, B×n.
        path: their path in its answer.
    """
    if example.ndim != 4:
        return True  # there is nothing to lay out
    images = example.contiguous(memory_format=torch.channels_last)
    try:
        with random_numbers(device=example.device):
            twin = _channels_last(copy.deepcopy(module))
            with evaluating(twin):
                found = answers.at(twin(images.clone()), path)
            with torch.no_grad():
                twin.train()(images.clone())
    except Exception:  # the module is the user's
        return False
    margin = ROUNDING * float(scores.abs().nan_to_num(0, 0, 0).max())
    return bool(torch.allclose(found, scores, rtol=0, atol=margin, equal_nan=True))


def _channels_last(module: nn.Module) -> nn.Module:
    for part in module.modules():
        weight = part._parameters.get("weight") if isinstance(part, nn.Conv2d | nn.ConvTranspose2d) else None
        if weight is not None:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return module
