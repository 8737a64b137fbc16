"""What a network answers, as tensors to compare."""

from __future__ import annotations

from torch import Tensor, nn

from recipelang.surgery.tracing import evaluating


def outputs(module: nn.Module, example: Tensor) -> list[Tensor]:
    """Every tensor of the answer, in evaluation mode."""
    with evaluating(module):
        answer = module(example)
    return [answer] if isinstance(answer, Tensor) else list(answer)
