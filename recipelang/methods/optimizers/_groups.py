"""What the optimizers share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def first_lr(lr: Any) -> float:
    """A number for the optimizer to be built with; the training loop sets the ramp's value at every step."""
    return lr.value_at(0, 1, 1) if hasattr(lr, "value_at") else float(lr)


def decay_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters in two groups: matrices and kernels decay, biases and norms (one axis or none) do not."""
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [g for g in groups if g["params"]]
