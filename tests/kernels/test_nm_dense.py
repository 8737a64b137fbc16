"""The dense path: what every other kernel is measured against computes exactly what torch does."""

from __future__ import annotations

import pytest
import torch

from recipelang.kernels.nm.dense import Dense
from recipelang.kernels.nm.format import pack
from recipelang.kernels.nm.problem import ACTIVATIONS, Device, Problem, activate
from recipelang.kernels.nm.reference import nm_mask

FORMULAS = {
    "none": lambda z: z,
    "relu": lambda z: z.clamp(min=0),
    "gelu": lambda z: z * torch.special.ndtr(z),
    "gelu_tanh": lambda z: z / 2 * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (z + 0.044715 * z**3))),
    "silu": lambda z: z / (1 + torch.exp(-z)),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_it_is_the_linear_layer_with_its_activation(activation: str, int8: bool, biased: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(12, 20, generator=generator, dtype=torch.float64)
    packed = pack(weight * nm_mask(weight.abs(), 2, 4), int8=int8)
    x = torch.randn(5, 20, generator=generator, dtype=torch.float64)
    bias = torch.randn(12, generator=generator, dtype=torch.float64) if biased else None
    problem = Problem(5, 12, 20, x.dtype, Device("cpu"), packed.values.dtype, biased, activation)
    dense = Dense()
    assert dense.why_not(problem) is None
    (operand,) = operands = dense.operands(packed, x.dtype, x.device)
    (configuration,) = dense.configurations(problem)
    y = dense.run(x, operands, bias, problem, configuration)
    assert operand.dtype is torch.float64 and operand.shape == (12, 20)
    z = x @ operand.T + (0 if bias is None else bias)
    torch.testing.assert_close(y, FORMULAS[activation](z), rtol=1e-12, atol=1e-12)


def test_activations_hand_nan_on() -> None:
    assert all(activate(torch.tensor([torch.nan]), name).isnan().all() for name in ACTIVATIONS)
