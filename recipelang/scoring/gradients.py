"""Gradients of the loss over the training data: their squares, and with their signs, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recipelang.errors import Refusal


@dataclass(frozen=True)
class Gradients:
    """Means over batches, of the shape of each tensor; L is the task's mean loss of a batch.

    Attributes:
        squares: name → mean of (∂L/∂w)².
        means: name → mean of ∂L/∂w; empty where it was not asked for.
    """

    squares: Mapping[str, Tensor]
    means: Mapping[str, Tensor]


def gather(
    tensors: Mapping[str, Tensor], batches: Iterable[Any], loss: Callable[[Any], Tensor], signed: bool
) -> Gradients:
    """The gradients of some tensors, in one pass over the batches.

    Args:
        tensors: name → parameter; they need no gradients before and after.
        batches: the first moment at which one is read is after the tensors need gradients.
        loss: of a batch.
        signed: whether means with their signs are gathered too.

    Raises:
        Refusal: RCP1005: a gradient is NaN or infinite.
    """
    squares = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    means = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()} if signed else {}
    count = 0
    for tensor in tensors.values():
        tensor.requires_grad_(True)
    try:
        for batch in batches:
            found = torch.autograd.grad(loss(batch), list(tensors.values()), allow_unused=True)
            for name, gradient in zip(tensors, found, strict=True):
                if gradient is not None:
                    squares[name].addcmul_(gradient, gradient)
                    if signed:
                        means[name].add_(gradient)
            count += 1
    finally:
        for tensor in tensors.values():
            tensor.requires_grad_(False)
    for name, total in squares.items():
        if not bool(torch.isfinite(total).all()):
            raise Refusal(
                "RCP1005",
                f"the gradient of `{name}` is NaN or infinite",
                "training has diverged: lower the learning rate, or start from other weights",
            )
    for total in (*squares.values(), *means.values()):
        total.div_(count)
    return Gradients(squares, means)
