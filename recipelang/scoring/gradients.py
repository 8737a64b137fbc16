"""Gradients of the loss over the training data: their squares, and with their signs, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from recipelang.scoring.passes import Collector
from recipelang.surgery.finite import finite


@dataclass(frozen=True)
class Gradients:
    """Means over batches, of the shape of each tensor; L is the task's mean loss of a batch.

    Attributes:
        squares: name → mean of (∂L/∂w)².
        means: name → mean of ∂L/∂w; empty where it was not asked for.
    """

    squares: Mapping[str, Tensor]
    means: Mapping[str, Tensor]


def gathering(tensors: Mapping[str, Tensor], signed: bool) -> tuple[Collector, Callable[[], Gradients]]:
    """What gathers the gradients of some tensors, and what they are after the pass.

    Args:
        tensors: name → parameter.
        signed: whether means with their signs are gathered too.

    Raises:
        Refusal: after the pass, RCP1005: a gradient is NaN or infinite.
    """
    squares = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    means = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()} if signed else {}
    count = 0

    def given(found: Mapping[str, Tensor]) -> None:
        nonlocal count
        count += 1
        for name, gradient in found.items():
            squares[name].addcmul_(gradient, gradient)
            if signed:
                means[name].add_(gradient)

    def after() -> Gradients:
        for name, total in squares.items():
            finite(f"the gradient of `{name}`", total, "RCP1005")
        for total in (*squares.values(), *means.values()):
            total.div_(count)
        return Gradients(squares, means)

    return Collector("gathering gradients", differentiating=nullcontext, tensors=tensors, given=given), after
