"""What the tests of quantizers that learn share: the restrictions that they have for an example, and gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from recipelang import catalogue
from recipelang.kinds import Moment, Observed, Scheme
from recipelang.surgery.quantizing import activation_scheme, weight_scheme
from recipelang.surgery.restrictions.grid import Grid

NOW = Moment(0, 12, 4)


def method(name: str, **settings: Any) -> Any:
    return catalogue.find("quantizer", name)(**settings)  # type: ignore[misc]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def of_weight(quantizer: Any, weight: Tensor, bits: int) -> Any:
    """The restriction that it has for a weight O×I."""
    scheme = weight_scheme(quantizer, bits, 0)
    values = weight.flatten() if scheme.axis is None else weight.flatten(1)
    return made(quantizer, Observed(values.amin(-1), values.amax(-1), values), scheme)


def of_activation(quantizer: Any, values: Tensor, bits: int) -> Any:
    seen = Observed(values.min(), values.max(), values.flatten())
    return made(quantizer, seen, activation_scheme(quantizer, bits, bool(values.min() < 0)))


def made(quantizer: Any, seen: Observed, scheme: Scheme) -> Any:
    found = quantizer.restriction(seen, scheme)
    found = Grid.between(*quantizer.range(seen, scheme), scheme) if found is None else found
    return replace(found, trained=catalogue.spell(quantizer))


def gradient(computed: Any, value: Tensor, upstream: Tensor) -> Tensor:
    value = value.clone().requires_grad_()
    computed(value).backward(upstream)
    assert value.grad is not None
    return value.grad
