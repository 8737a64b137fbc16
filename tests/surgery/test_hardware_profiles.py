"""Hardware profiles: what a statement leaves open follows them, and what they do not have is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from checked import refused, step

from recipelang.catalogue import find, names
from recipelang.kinds import BITS, Observed, Scheme
from recipelang.surgery.network import Network
from recipelang.surgery.quantizing import activation_grids, weight_grids
from recipelang.surgery.restrictions.grid import Grid

NAMES = names("hardware")


@pytest.mark.parametrize("name", NAMES)
def test_a_profile_says_what_there_is(name: str) -> None:
    profile: Any = find("hardware", name)
    assert profile.bits and set(profile.bits) <= set(BITS)
    assert profile.per and set(profile.per) <= {"channel", "tensor", "group"}
    for forms in (profile.weights, profile.activations):
        assert forms and set(forms) <= {"symmetric", "affine"}
    assert profile().executes
    assert profile.signed <= (profile.activations == ("symmetric",)), "affine grids have a zero point instead"


@pytest.mark.parametrize("name", NAMES)
def test_what_is_left_open_becomes_what_it_has(name: str, digits: Network) -> None:
    """Every profile, from the plainest statement to the grids: nothing is outside of what it says."""
    profile: Any = find("hardware", name)
    bits = profile.bits[0]
    asked = step(f"quantize weights, activations to {bits} bits with {name}").operation
    assert asked.hardware.name == name
    weights = weight_grids(digits, {"conv1.weight": 0, "linear.weight": 0}, bits, asked.estimator, asked.hardware)
    values = torch.rand(100)
    seen = {place: Observed(x.min(), x.max(), x) for place, x in (("a", values), ("b", values - 0.5))}
    activations = activation_grids(seen, bits, asked.estimator, asked.hardware)
    for part, grids in (("weights", weights), ("activations", activations)):
        for grid in grids.values():
            assert isinstance(grid, Grid) and grid.scheme.bits == bits
            assert ("symmetric" if grid.scheme.symmetric else "affine") in getattr(profile, part)
            if part == "weights":
                assert {0: "tensor", 1: "channel", 2: "group"}[grid.scale.ndim] in profile.per
            elif profile.signed:
                assert grid.scheme.signed
            if profile.powers:
                assert torch.equal(grid.scale.log2(), grid.scale.log2().round())
    assert weights.keys() | activations.keys() == {"conv1.weight", "linear.weight", "a", "b"}


def test_tflite_is_what_quantize_has_without_hardware() -> None:
    plain, tflite = (
        step(f"quantize weights, activations to 8 bits{with_}").operation for with_ in ("", " with tflite")
    )
    assert plain.estimator == tflite.estimator


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("quantize weights to 4 bits with tensorrt", [("RCP1408", "4 bits")]),
        ("quantize weights to 8 bits by minmax(per=group) with tensorrt", [("RCP1408", "group")]),
        ("quantize weights to 8 bits by minmax(per=channel) with snpe", [("RCP1408", "channel")]),
        ("quantize weights to 8 bits by mse(form=affine) with tensorrt", [("RCP1408", "affine")]),
        ("quantize activations to 8 bits by mse(form=symmetric) with snpe", [("RCP1408", "symmetric")]),
        ("quantize weights to 8 bits by lsq with ristretto", [("RCP1408", "lsq")]),
        ("quantize weights to 4 bits by uniq with nart_arm", [("RCP1408", "uniq")]),
        ("quantize weights until size < 30% with tensorrt", [("RCP1408", "quantize")]),
        ("quantize weights to 8 bits with tensorrt, snpe", [("RCP0408", "snpe")]),
        ("quantize weights to 8 bits with tensort", [("RCP0202", "tensort")]),
        ("quantize weights to 8 bits with sgd", [("RCP0203", "sgd")]),
    ],
)
def test_what_the_hardware_does_not_have_is_refused(text: str, expected: list[tuple[str, str]]) -> None:
    assert refused(text) == expected


def test_a_search_for_widths_stays_within_the_hardware() -> None:
    assert step("quantize weights until size < 30% with nart_gpu").operation.able == (4, 8)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_scales_that_are_powers_of_two_reach_as_far(bits: int) -> None:
    for seed in range(20):
        values = torch.randn(50, generator=torch.Generator().manual_seed(seed)) * 3 + seed / 10 - 1
        for scheme in (Scheme(bits), Scheme(bits, signed=True, symmetric=True)):
            grid = Grid.between(values.min(), values.max(), scheme)
            shifting = grid.shifting()
            exponent = shifting.scale.log2()
            assert torch.equal(exponent, exponent.round()) and grid.scale <= shifting.scale * (1 + 1e-6)
            assert shifting.scale < 2 * grid.scale
            assert float(shifting.apply(torch.zeros(1))) == 0
            low, high = (shifting.scale * (end - shifting.zero) for end in (scheme.low, scheme.high))
            slack = shifting.scale * 1.01  # zero points are whole, here and before
            assert low <= values.min() + slack and high >= values.max() - slack
    assert torch.equal(Grid(torch.tensor(0.25), torch.tensor(0), Scheme(4)).shifting().scale, torch.tensor(0.25))
