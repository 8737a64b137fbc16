"""What the tests of quantizers with few values share: restrictions of an example, and a step with them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recipelang.kinds import Moment, Observed, Scheme

NOW = Moment(0, 10, 5)


def weight(shape: tuple[int, ...] = (5, 3, 3, 3), seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.3 + 0.02


def of_weight(method: Any, value: Tensor, bits: int | None = None) -> Any:
    axis = 0 if method.per == "channel" else None
    rows = value.detach().flatten(1) if axis == 0 else value.detach().flatten()
    scheme = Scheme(bits or method.bits[0], signed=True, symmetric=True, axis=axis)
    return method.restriction(Observed(rows.amin(-1), rows.amax(-1), rows), scheme)


def of_input(method: Any, value: Tensor, bits: int | None = None) -> Any:
    flat = value.detach().flatten()
    return method.restriction(Observed(flat.min(), flat.max(), flat), Scheme(bits or method.bits[0]))


def trained(method: Any, value: Tensor, one: Any, is_weight: bool = True) -> tuple[Tensor, Tensor, Any]:
    """What computes in a step, its gradient for a weighted sum, and the state."""
    value = value.clone().requires_grad_()
    state = method.begin(one, nn.Parameter(value.detach()) if is_weight else None)
    made = method.computed(value, one, state, NOW)
    made.backward(upstream(value))
    assert value.grad is not None
    return made.detach(), value.grad, state


def upstream(value: Tensor) -> Tensor:
    return torch.randn(value.shape, generator=torch.Generator().manual_seed(7))


def numpied(value: Tensor) -> Any:
    return value.detach().double().numpy()
