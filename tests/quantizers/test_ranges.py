"""Range estimators: torch's observers, scipy's entropy, published constants, and brute force over clipping points."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy
from torch import Tensor

from recipelang.catalogue import find, names
from recipelang.kinds import Observed, Scheme
from recipelang.methods.quantizers._clipping import errors, least_error
from recipelang.methods.quantizers.aciq import ratio
from recipelang.surgery.restrictions.grid import Grid

WEIGHTS = Scheme(4, signed=True, symmetric=True, axis=0)


def _chooses(name: str) -> bool:
    """Whether a method only chooses ranges, from the values of a place alone."""
    cls: Any = find("quantizer", name)
    return not cls.learns and cls.needs != "loss" and cls.observes and "range" in vars(cls)


CHOOSING = [name for name in names("quantizer") if _chooses(name)]


def made(name: str, **given: Any) -> Any:
    return find("quantizer", name)(**given)  # type: ignore[misc]


def seen(values: Tensor) -> Observed:
    return Observed(values.amin(-1), values.amax(-1), values)


def draws(sort: str, *shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    if sort == "normal":
        return torch.randn(*shape, generator=generator)
    if sort == "relu":
        return torch.randn(*shape, generator=generator).relu()
    uniform = torch.rand(*shape, generator=generator) - 0.5
    return -uniform.sign() * (1 - 2 * uniform.abs()).clamp_min(1e-7).log()  # Laplace


@pytest.mark.parametrize("name", CHOOSING)
@pytest.mark.parametrize("sort", ["normal", "relu", "laplace"])
@pytest.mark.parametrize("scheme", [Scheme(8), Scheme(4), Scheme(4, signed=True, symmetric=True)], ids=str)
def test_a_range_is_inside_the_extremes_and_holds_most_values(name: str, sort: str, scheme: Scheme) -> None:
    values = draws(sort, 4096)
    low, high = made(name).range(seen(values), scheme)
    grid = Grid.between(torch.as_tensor(low), torch.as_tensor(high), scheme)
    slack = 1e-5
    assert values.min() - slack <= low <= high <= values.max() + slack
    assert ((values >= low) & (values <= high)).float().mean() > 0.9
    assert grid.scale > 0


@pytest.mark.parametrize("name", CHOOSING)
@settings(max_examples=8, deadline=None)
@given(factor=st.floats(1e-3, 1e3), seed=st.integers(0, 50))
def test_ranges_scale_with_the_values(name: str, factor: float, seed: int) -> None:
    values = draws("laplace", 600, seed=seed)
    quantizer, scheme = made(name), Scheme(4)
    plain = torch.stack([torch.as_tensor(end) for end in quantizer.range(seen(values), scheme)])
    scaled = torch.stack([torch.as_tensor(end) for end in quantizer.range(seen(values * factor), scheme)])
    assert torch.allclose(scaled, plain * factor, rtol=0.06), "of two that are nearly as good, either may be chosen"


@pytest.mark.parametrize("name", CHOOSING)
def test_values_of_zero_width_have_a_grid(name: str) -> None:
    for value in (0.0, 3.0, -2.0):
        values = torch.full((100,), value)
        for scheme in (Scheme(8), Scheme(4, signed=True, symmetric=True)):
            low, high = made(name).range(seen(values), scheme)
            grid = Grid.between(torch.as_tensor(low), torch.as_tensor(high), scheme)
            assert torch.allclose(grid.apply(values), values, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in CHOOSING if name not in ("minmax", "mse")])
@pytest.mark.parametrize("bits", [4, 8])
def test_one_outlier_does_not_decide_the_range(name: str, bits: int) -> None:
    values = draws("relu", 30_000)
    values[0] = 500.0
    _, high = made(name).range(seen(values), Scheme(bits))
    assert 1.5 < high < (100 if name == "kl" else 50)


# minmax: torch's observers ----------------------------------------------------------------------


def test_minmax_has_the_scales_of_torchs_observers() -> None:
    from torch.ao.quantization.observer import MinMaxObserver, PerChannelMinMaxObserver

    values = draws("normal", 2000) + 0.5
    observer = MinMaxObserver(dtype=torch.quint8, reduce_range=False)
    observer(values)
    scale, zero = observer.calculate_qparams()
    grid = Grid.between(*made("minmax").range(seen(values), Scheme(8)), Scheme(8))
    assert torch.allclose(grid.scale, scale[0]) and int(grid.zero) == int(zero[0])
    weight = draws("normal", 8, 27)
    rows = PerChannelMinMaxObserver(ch_axis=0, dtype=torch.qint8, qscheme=torch.per_channel_affine)
    rows(weight)
    scales, zeros = rows.calculate_qparams()
    affine = Scheme(8, signed=True, axis=0)
    each = Grid.between(*made("minmax", form="affine").range(seen(weight), affine), affine)
    assert torch.allclose(each.scale, scales) and torch.equal(each.zero.long(), zeros.long())


# percentile: numpy ------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.5, 0.9, 0.999, 1.0])
def test_percentiles_are_numpys(share: float) -> None:
    values = draws("normal", 3, 501)
    low, high = made("percentile", share=share).range(seen(values), Scheme(8, signed=True, axis=0))
    tail = (1 - share) / 2
    for row, (one, other) in zip(values.numpy(), zip(low, high, strict=True), strict=True):
        assert float(one) == pytest.approx(numpy.quantile(row, tail), abs=1e-5)
        assert float(other) == pytest.approx(numpy.quantile(row, 1 - tail), abs=1e-5)
    _, end = made("percentile", share=share).range(seen(values), WEIGHTS)
    assert numpy.allclose(
        end, numpy.minimum(numpy.quantile(values.abs().numpy(), share, axis=1), values.amax(1).numpy()), atol=1e-5
    )


# mse: brute force and torch's histogram observer ------------------------------------------------


@pytest.mark.parametrize("norm", [2.0, 2.4])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_mse_of_symmetric_grids_is_the_best_of_all_clipping_points(bits: int, norm: float) -> None:
    weight = draws("laplace", 4, 300, seed=bits)
    scheme = Scheme(bits, signed=True, symmetric=True, axis=0)
    low, high = least_error(seen(weight), scheme, norm, 50)
    for row, one, other in zip(weight, low, high, strict=True):
        most = float(row.abs().max())
        top = scheme.high

        def naive(limit: float, row: Tensor = row, top: int = top) -> float:
            step = limit / top
            return float(((row / step).round().clamp(-top, top) * step - row).abs().pow(norm).mean())

        best = min(naive(most * k / 50) for k in range(1, 51))
        assert naive(float(torch.maximum(-one, other))) == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_mse_of_affine_grids_is_nearly_the_best_of_all_pairs_of_ends(bits: int) -> None:
    values = torch.cat([draws("normal", 300), draws("laplace", 300) * 0.7 + 1.5])
    scheme, observed = Scheme(bits), seen(values)
    low, high = least_error(observed, scheme, 2, 20)
    found = float(errors(values, low, high, scheme, 2))
    pairs = product(range(1, 21), repeat=2)
    best = min(float(errors(values, observed.low * a / 20, observed.high * b / 20, scheme, 2)) for a, b in pairs)
    assert best <= found + 1e-9 and found <= 1.03 * best


@pytest.mark.parametrize("sort", ["normal", "relu", "laplace"])
@pytest.mark.parametrize("bits", [4, 8])
def test_mse_loses_no_more_than_torchs_histogram_observer(sort: str, bits: int) -> None:
    from torch.ao.quantization.observer import HistogramObserver

    values, scheme = draws(sort, 20_000, seed=3), Scheme(bits)
    observer = HistogramObserver(dtype=torch.quint8, quant_min=scheme.low, quant_max=scheme.high, reduce_range=False)
    observer(values)
    scale, zero = observer.calculate_qparams()
    theirs = torch.fake_quantize_per_tensor_affine(values, float(scale), int(zero), scheme.low, scheme.high)
    ours = float(errors(values, *made("mse").range(seen(values), scheme), scheme, 2))
    assert ours <= 1.01 * float((theirs - values).square().mean())


# kl: the published steps, written naively, with scipy's entropy ---------------------------------


def naive_threshold(values: numpy.ndarray, bins: int, levels: int, first: int) -> float:
    """Of the slides, step by step: P is clipped, Q is merged and spread again, scipy tells how far apart they are."""
    top = float(numpy.abs(values).max())
    counts, _ = numpy.histogram(numpy.abs(values[values != 0]), bins=bins, range=(0, top))
    best, least = bins, math.inf
    for stop in range(first, bins + 1):
        p = counts[:stop].astype(float)
        p[stop - 1] += counts[stop:].sum()
        q = numpy.zeros(stop)
        for level in range(levels):
            members = [k for k in range(stop) if k * levels // stop == level]
            filled = [k for k in members if counts[k] > 0]
            for k in filled:
                q[k] = sum(counts[m] for m in members) / len(filled)
        if q.any() and (apart := entropy(p, q + 1e-9)) < least:
            best, least = stop, apart
    return top * best / bins


@pytest.mark.parametrize("sort", ["relu", "laplace"])
def test_kl_is_the_published_search(sort: str) -> None:
    values = draws(sort, 3000, seed=5)
    scheme = Scheme(5) if sort == "relu" else Scheme(6, signed=True, symmetric=True)
    levels = 32
    observed = seen(values)
    low, high = made("kl", bins=512).range(observed, scheme)
    expected = naive_threshold(values.numpy(), 512, levels, max(2**scheme.bits, 32))
    assert float(torch.maximum(-low, high)) == pytest.approx(min(expected, float(values.abs().max())), rel=1e-5)


def test_kl_does_not_count_the_zeros_of_a_relu() -> None:
    values = draws("relu", 20_000)
    both = torch.cat([values, torch.zeros(200_000)])
    ends = [made("kl").range(seen(one), Scheme(8))[1] for one in (values, both)]
    assert torch.equal(*ends) and ends[0] > 2.5, "more zeros change nothing"


def test_kl_keeps_the_extremes_of_rows() -> None:
    weight = draws("normal", 4, 90)
    low, high = made("kl").range(seen(weight), WEIGHTS)
    assert torch.equal(low, weight.amin(1)) and torch.equal(high, weight.amax(1))


# aciq: the published constants, the formulas as they are printed, and the clipping that is best in fact ---------


def test_the_ratios_are_the_published_ones() -> None:
    laplace = {2: 2.83, 3: 3.89, 4: 5.03, 5: 6.20, 6: 7.41, 7: 8.64, 8: 9.89}
    normal = {2: 1.71, 3: 2.15, 4: 2.55, 5: 2.93, 6: 3.28, 7: 3.61, 8: 3.92}
    for bits in range(2, 9):
        assert ratio("laplace", bits) == pytest.approx(laplace[bits], abs=0.01)
        assert ratio("normal", bits) == pytest.approx(normal[bits], abs=0.01)


@pytest.mark.parametrize("bits", range(2, 9))
def test_the_ratios_are_where_the_printed_errors_are_least(bits: int) -> None:
    def laplace(a: float) -> float:
        return 2 * math.exp(-a) + a * a / (3 * 4**bits)

    def normal(a: float) -> float:
        inside = (a * a + 1) * (1 - math.erf(a / math.sqrt(2)))
        return inside - math.sqrt(2 / math.pi) * a * math.exp(-a * a / 2) + a * a / (3 * 4**bits)

    points = numpy.linspace(0.5, 15, 20_000)
    for distribution, error in (("laplace", laplace), ("normal", normal)):
        best = points[numpy.argmin([error(float(a)) for a in points])]
        assert ratio(distribution, bits) == pytest.approx(float(best), abs=2e-3)


@pytest.mark.parametrize("bits", [3, 4])
@pytest.mark.parametrize("sort", ["normal", "laplace", "relu"])
def test_aciq_clips_nearly_where_it_is_best(sort: str, bits: int) -> None:
    """On values of the distributions that it assumes: within a few percent of the least error there is."""
    values = draws(sort, 60_000, seed=bits) + (0.7 if sort != "relu" else 0)
    scheme, observed = Scheme(bits), seen(values)
    best = float(errors(values, *least_error(observed, scheme, 2, 60), scheme, 2))
    found = float(errors(values, *made("aciq").range(observed, scheme), scheme, 2))
    assert found < 1.12 * best
    if sort != "relu":
        other = made("aciq", distribution={"normal": "laplace", "laplace": "normal"}[sort])
        assert found < float(errors(values, *other.range(observed, scheme), scheme, 2)), "it knows which one it is"
