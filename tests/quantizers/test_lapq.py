"""LAPQ: a naive version of its three steps, and brute force over the factors of two places."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from recipelang.kinds import Observed, Quiet, Restriction, Scheme
from recipelang.methods.quantizers._clipping import least_error
from recipelang.methods.quantizers.lapq import LAPQ, NORMS, parabola
from recipelang.surgery.restrictions.grid import Grid

WEIGHT, INPUT = Scheme(2, signed=True, symmetric=True), Scheme(2)


class Product:
    """One layer: the loss is how far its product is from that of the full-precision numbers."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.inputs = torch.randn(200, 8, generator=generator).relu() * torch.rand(8, generator=generator) * 3
        self.weight = torch.randn(4, 8, generator=generator) ** 3
        self.calls = 0

    def __call__(self, restrictions: Mapping[str, Restriction]) -> float:
        self.calls += 1
        return self.of(restrictions["weight"], restrictions["input"])

    def of(self, weight: Restriction, inputs: Restriction) -> float:
        made = inputs.apply(self.inputs) @ weight.apply(self.weight).T
        return float((made - self.inputs @ self.weight.T).square().mean())

    @property
    def sought(self) -> dict[str, tuple[Observed, Scheme]]:
        return {"weight": (seen(self.weight), WEIGHT), "input": (seen(self.inputs), INPUT)}


def seen(values: Tensor) -> Observed:
    flat = values.flatten()
    return Observed(flat.min(), flat.max(), flat)


def naive(loss: Product, steps: int) -> float:
    """Ranges by exponent, a parabola, Powell's method, written out."""

    def nearest(values: Tensor, scheme: Scheme, norm: float) -> tuple[Tensor, Tensor]:
        flat, best = values.flatten(), (float("inf"), 1.0)
        for k in range(1, steps + 1):
            grid = Grid.between(flat.min() * k / steps, flat.max() * k / steps, scheme)
            best = min(best, (float((grid.apply(flat) - flat).abs().pow(norm).mean()), k / steps))
        return flat.min() * best[1], flat.max() * best[1]

    def computed(norm: float, factors: tuple[float, float] = (1.0, 1.0)) -> float:
        ends = nearest(loss.weight, WEIGHT, norm), nearest(loss.inputs, INPUT, norm)
        grids = (
            Grid.between(low * f, high * f, scheme)
            for (low, high), f, scheme in zip(ends, factors, (WEIGHT, INPUT), strict=True)
        )
        return loss.of(*grids)

    losses = {norm: computed(norm) for norm in NORMS}
    a, b, _ = numpy.polyfit(list(losses), list(losses.values()), 2)
    if a > 0:
        middle = float(numpy.clip(-b / (2 * a), NORMS[0], NORMS[-1]))
        losses[middle] = computed(middle)
    start = min(losses, key=lambda norm: losses[norm])
    moved = minimize(lambda f: computed(start, tuple(f)), [1.0, 1.0], method="Powell", bounds=[(0.4, 1.6)] * 2)
    return min(float(moved.fun), *losses.values())


@pytest.mark.parametrize("seed", range(3))
def test_it_finds_what_a_naive_version_finds(seed: int) -> None:
    loss = Product(seed)
    best = LAPQ(evaluations=200, steps=20).joint(loss.sought, loss, Quiet())
    found = loss(best)
    each = {place: Grid.between(*least_error(*one, 2, 20), one[1]) for place, one in loss.sought.items()}
    assert found <= loss(each), "no worse than the places alone"
    assert found <= 1.05 * naive(loss, 20)
    factors = [k / 10 for k in range(4, 17)]
    grids = {
        factor: {
            place: Grid.between(low * factor, high * factor, loss.sought[place][1])
            for place, (low, high) in ((p, least_error(*one, 2, 20)) for p, one in loss.sought.items())
        }
        for factor in factors
    }
    brute = min(loss.of(grids[a]["weight"], grids[b]["input"]) for a, b in product(factors, repeat=2))
    assert found <= 1.25 * brute, "near the best of all pairs of factors"


def test_it_looks_as_often_as_it_may_and_decides_the_same_again() -> None:
    one, two = Product(5), Product(5)
    grids = [LAPQ(evaluations=9, steps=10).joint(loss.sought, loss, Quiet()) for loss in (one, two)]
    assert one.calls == two.calls == 9
    for place in ("weight", "input"):
        first, second = (grid[place].tensors()["scale"] for grid in grids)
        assert torch.equal(first, second)


def test_a_parabola_is_least_where_it_is() -> None:
    assert parabola({p: 3 * (p - 2.8) ** 2 + 1 for p in NORMS}) == pytest.approx(2.8)
    assert parabola({p: (p - 9) ** 2 for p in NORMS}) == 4.0
    assert parabola({p: -((p - 2.9) ** 2) for p in NORMS}) == 4.0
