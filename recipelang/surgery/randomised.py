"""Parameters that hide nothing: a copy of a network on which a wrong cut shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from recipelang.surgery.parity import answers_in
from recipelang.surgery.tracing import evaluating


def is_sound(module: nn.Module, example: Tensor, change: Callable[[nn.Module, Tensor], None]) -> bool:
    """Whether the changed module still gives finite answers."""
    change(module, example)
    try:
        with evaluating(module):
            return all(bool(tensor.isfinite().all()) for tensor in answers_in(module(example)))
    except Exception:  # the module is the user's, and may not take other weights
        return False


@torch.no_grad()
def randomised(module: nn.Module, example: Tensor) -> None:
    """Give every parameter random values of the usual size, in place, and BatchNorm the statistics of this example.

    With those of a new network the activations of a deep one grow from block to block, and so do rounding errors.
    """
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        if parameter.is_floating_point():
            values = torch.empty(parameter.shape)
            if parameter.ndim > 1 and parameter.numel() > len(parameter):
                fan = parameter.numel() // len(parameter)
                values.normal_(0, math.sqrt(2 / fan), generator=generator)
            else:
                values.uniform_(0.5, 1.5, generator=generator)
            parameter.copy_(values)
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._NormBase)]
    norms = [part for part in norms if part.running_mean is not None]
    for part in norms:
        part.reset_running_stats()
    if norms:
        _calibrated(module, norms, example)


def _calibrated(module: nn.Module, norms: Sequence[nn.modules.batchnorm._NormBase], example: Tensor) -> None:
    """Run once in training mode, so that the statistics are those of the example; new ones where it does not train."""
    modes, momenta = [(part, part.training) for part in module.modules()], [part.momentum for part in norms]
    try:
        for part in norms:
            part.momentum = 1.0
        with torch.random.fork_rng(devices=[]):
            module.train()(example)
    except Exception:  # the module is the user's, and may not train on images of this size
        for part in norms:
            part.reset_running_stats()
    finally:
        for part, momentum in zip(norms, momenta, strict=True):
            part.momentum = momentum
        for each, training in modes:
            each.training = training


@torch.no_grad()
def without_constants(module: nn.Module, example: Tensor) -> None:
    """Give every parameter whose numbers are all equal random ones, in place."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        if parameter.is_floating_point() and parameter.numel() and bool(parameter.min() == parameter.max()):
            parameter.copy_(torch.empty(parameter.shape).uniform_(0.5, 1.5, generator=generator))
