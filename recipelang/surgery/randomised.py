"""Parameters that hide nothing: a copy of a network on which a wrong cut shows."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recipelang.surgery.parity import answers_in
from recipelang.surgery.tracing import evaluating

#: what is multiplied with less than this cannot be seen in the output
SMALL = 1e-4
#: how many numbers are drawn; larger networks get them again, always at other places of a matrix, as it is a prime
DRAWN = 1_048_573


def hiding_nothing(module: nn.Module, example: Tensor) -> nn.Module:
    """A copy with random parameters; where it gives no finite answers, one in which those that are constant are random;
    and where that gives none either, one with its own.

    Args:
        module: is not changed.
        example: an input, B×C×H×W.
    """
    for copied in (_random_copy, _varied_copy):
        candidate = copied(module, example)
        if _is_sound(candidate, example):
            return candidate
        del candidate  # before the next one is made: a network may be large
    return copy.deepcopy(module)


def _random_copy(module: nn.Module, example: Tensor) -> nn.Module:
    plain = [p for p in module.parameters() if type(p) is nn.Parameter and p.is_floating_point() and not vars(p)]
    # Their values are not copied, only to be replaced.
    candidate = copy.deepcopy(module, {id(p): nn.Parameter(torch.empty_like(p), p.requires_grad) for p in plain})
    randomised(candidate, example)
    return candidate


def _varied_copy(module: nn.Module, example: Tensor) -> nn.Module:
    candidate = copy.deepcopy(module)
    without_constants(candidate)
    return candidate


def _is_sound(module: nn.Module, example: Tensor) -> bool:
    """Whether the module gives finite answers."""
    try:
        with evaluating(module):
            return all(bool(tensor.isfinite().all()) for tensor in answers_in(module(example)))
    except Exception:  # the module is the user's, and may not take other weights
        return False


class _Normal:
    """Normal numbers, drawn once and handed out again and again: to draw as many as large networks have takes long."""

    def __init__(self, generator: torch.Generator) -> None:
        self.numbers, self.at = torch.empty(DRAWN).normal_(generator=generator), 0

    def fill(self, tensor: Tensor, deviation: float) -> None:
        """Fill a tensor, in place."""
        direct = tensor.is_contiguous() and tensor.dtype == torch.float32 and tensor.device.type == "cpu"
        flat = tensor.view(-1) if direct else torch.empty(tensor.numel())
        done = 0
        while done < len(flat):
            count = min(len(flat) - done, DRAWN - self.at)
            torch.mul(self.numbers[self.at : self.at + count], deviation, out=flat[done : done + count])
            done, self.at = done + count, (self.at + count) % DRAWN
        if not direct:
            tensor.copy_(flat.view(tensor.shape))


@torch.no_grad()
def randomised(module: nn.Module, example: Tensor) -> None:
    """Give every parameter random values of the usual size, in place, and BatchNorm the statistics of this example.

    With those of a new network the activations of a deep one grow from block to block, and so do rounding errors.
    """
    generator = torch.Generator().manual_seed(0)
    normal = _Normal(generator)
    for parameter in module.parameters():
        if not parameter.is_floating_point():
            continue
        if parameter.ndim > 1 and parameter.numel() > len(parameter):
            normal.fill(parameter.data, math.sqrt(2 * len(parameter) / parameter.numel()))
        else:
            parameter.copy_(torch.empty(parameter.shape).uniform_(0.5, 1.5, generator=generator))
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
def hide_something(module: nn.Module) -> bool:
    """Whether parameters may hide what is done to others: all of their numbers are equal, or very small."""
    for parameter in module.parameters():
        if parameter.is_floating_point() and parameter.numel():
            low, high = (float(end) for end in parameter.aminmax())
            if (low == high and parameter.numel() > 1) or max(-low, high) < SMALL:
                return True
    return False


@torch.no_grad()
def without_constants(module: nn.Module) -> None:
    """Give every parameter whose numbers are all equal random ones, in place."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        if parameter.is_floating_point() and parameter.numel() and bool(parameter.min() == parameter.max()):
            parameter.copy_(torch.empty(parameter.shape).uniform_(0.5, 1.5, generator=generator))
