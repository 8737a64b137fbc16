"""What every quantizer of the catalogue promises, found by the folder so that none escapes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from recipelang import catalogue
from recipelang.kinds import QUANTIZED, Observed, Quantizer
from recipelang.surgery.network import Network
from recipelang.surgery.quantizing import activation_grids, weight_grids
from recipelang.surgery.restrictions.grid import Grid, grouped

NAMES = catalogue.names("quantizer")
BITS = [1, 2, 4, 8]
#: the settings that say what has a range of its own, as every method with uniform grids has them
SHARED: list[dict[str, Any]] = [
    {},
    {"per": "tensor"},
    {"per": "group", "group": 16},
    {"form": "affine"},
    {"form": "symmetric"},
]


#: the forms of the grids of activations; the first one is the method's own
FORMS: list[dict[str, Any]] = [{}, {"form": "symmetric"}, {"form": "affine"}]


def cases(part: str, settings: list[dict[str, Any]]) -> list[Any]:
    """Every quantizer of this part, at each width and with each of these settings that it has."""
    found = []
    for name in NAMES:
        cls: Any = catalogue.find("quantizer", name)
        own = {setting.name for setting in catalogue.settings(cls)}
        widths = [bits for bits in BITS if bits in cls.bits] if part in cls.parts else []
        found += [(name, bits, given) for bits in widths for given in settings if given.keys() <= own]
    return [pytest.param(*case, id=f"{case[0]}-{case[1]}-{case[2]}") for case in found]


@pytest.mark.parametrize(("name", "bits", "shared"), cases("weights", SHARED))
def test_weights_lie_on_grids_that_hold_zero(name: str, bits: int, shared: dict[str, Any], digits: Network) -> None:
    with torch.no_grad():
        digits.module.get_parameter("conv1.weight")[0] = 0  # a filter that is gone
    quantizer = catalogue.find("quantizer", name)(**shared)  # type: ignore[misc]
    found = weight_grids(digits, {"conv1.weight": 0, "linear.weight": 0}, bits, quantizer)
    for place, grid in found.items():
        weight = digits.module.get_parameter(place).detach()
        assert grid.why_not(weight) == ""
        if isinstance(grid, Grid):
            assert grid.scheme.bits == bits
            shape = {"tensor": 0, "channel": 1, "group": 2}[getattr(quantizer, "per", "channel")]
            assert grid.scale.ndim == shape and bool(grid.scheme.group) == (shape == 2)
        assert all(len(row.unique()) <= 2**bits for row in _rows(grid, weight))
        assert not grid.apply(torch.zeros_like(weight)).any() or not quantizer.keeps_zero
        if shared.get("form") != "affine" and isinstance(grid, Grid):
            assert not grid.zero.any() and torch.equal(grid.apply(-weight), -grid.apply(weight))
        assert getattr(grid, "trained", "") == (catalogue.spell(quantizer) if quantizer.learns else "")
    if quantizer.keeps_zero:
        assert not found["conv1.weight"].apply(digits.module.get_parameter("conv1.weight"))[0].any()


def _rows(grid: Any, weight: Tensor) -> Tensor:
    """What a weight becomes, by the values that share a range."""
    snapped = grid.apply(weight)
    if isinstance(grid, Grid) and grid.scheme.group:
        return grouped(snapped, 0, grid.scheme.group).flatten(0, 1)
    return snapped.flatten(1)


@pytest.mark.parametrize(("name", "bits", "given"), cases("activations", FORMS))
@pytest.mark.parametrize("shift", [-3.0, 0.0, 3.0])
def test_activations_lie_on_grids_that_hold_zero(name: str, bits: int, given: dict[str, Any], shift: float) -> None:
    values = torch.randn(4096, generator=torch.Generator().manual_seed(1)) + shift
    seen = Observed(values.min(), values.max(), values)
    quantizer = catalogue.find("quantizer", name)(**given)  # type: ignore[misc]
    (grid,) = activation_grids({"here": seen}, bits, quantizer).values()
    assert len(grid.apply(values).unique()) <= 2**bits
    assert float(grid.apply(torch.zeros(1))) == 0 or not quantizer.keeps_zero
    if not isinstance(grid, Grid) or quantizer.learns:
        return
    symmetric = given.get("form") == "symmetric"
    assert grid.scheme.symmetric == symmetric
    error = (grid.apply(values) - values).square().mean() / values.square().mean()
    slack = 4 if symmetric else 1  # half of its numbers may be where nothing is
    assert error < {2: 0.5 * slack, 4: 0.05 * slack, 8: 0.001 * slack}[bits]


@pytest.mark.parametrize("name", NAMES)
def test_it_lists_what_it_needs(name: str) -> None:
    cls: Any = catalogue.find("quantizer", name)
    assert Quantizer in cls.__mro__ and cls.needs in ("extremes", "samples", "loss")
    assert cls.parts and set(cls.parts) <= set(QUANTIZED)
    assert cls.bits and sorted(set(cls.bits)) == list(cls.bits) and 1 <= cls.bits[0] <= cls.bits[-1] <= 8
    if cls.needs == "extremes" and "activations" in cls.parts:
        seen = Observed(torch.tensor(-1.0), torch.tensor(1.0))
        assert activation_grids({"here": seen}, cls.bits[-1], cls())["here"].kind in catalogue.names("restriction")
