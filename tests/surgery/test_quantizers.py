"""What every range estimator of the catalogue promises, found by the folder so that none escapes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from recipelang import catalogue
from recipelang.kinds import Observed
from recipelang.surgery.network import Network
from recipelang.surgery.quantizing import activation_grids, weight_grids

NAMES = catalogue.names("quantizer")
BITS = [2, 4, 8]


def estimator(name: str) -> Any:
    return catalogue.find("quantizer", name)()  # type: ignore[misc]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bits", BITS)
def test_weights_lie_on_grids_that_hold_zero(name: str, bits: int, digits: Network) -> None:
    with torch.no_grad():
        digits.module.get_parameter("conv1.weight")[0] = 0  # a filter that is gone
    found = weight_grids(digits, {"conv1.weight": 0, "linear.weight": 0}, bits, estimator(name))
    for place, grid in found.items():
        weight = digits.module.get_parameter(place).detach()
        assert grid.why_not(weight) == "" and grid.scheme.bits == bits
        assert len(grid.apply(weight).unique(dim=None)) <= 2**bits * weight.shape[0]
        assert not grid.apply(torch.zeros_like(weight)).any() and not grid.zero.any()
        assert torch.equal(grid.apply(-weight), -grid.apply(weight))
    assert not found["conv1.weight"].apply(digits.module.get_parameter("conv1.weight"))[0].any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("shift", [-3.0, 0.0, 3.0])
def test_activations_lie_on_grids_that_hold_zero(name: str, bits: int, shift: float) -> None:
    values = torch.randn(4096, generator=torch.Generator().manual_seed(1)) + shift
    seen = Observed(values.min(), values.max(), values)
    (grid,) = activation_grids({"here": seen}, bits, estimator(name)).values()
    assert len(grid.apply(values).unique()) <= 2**bits
    assert float(grid.apply(torch.zeros(1))) == 0
    error = (grid.apply(values) - values).square().mean() / values.square().mean()
    assert error < {2: 0.5, 4: 0.05, 8: 0.001}[bits]


@pytest.mark.parametrize("name", NAMES)
def test_it_lists_what_it_needs(name: str) -> None:
    found = estimator(name)
    assert found.needs in ("extremes", "samples") and found.per in ("channel", "tensor")
    if found.needs == "extremes":
        seen = Observed(torch.tensor(-1.0), torch.tensor(1.0))
        assert activation_grids({"here": seen}, 8, found)["here"].scheme.bits == 8
