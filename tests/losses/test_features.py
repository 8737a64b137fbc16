"""Losses of features against their formulas written naively, and what they refuse."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recipelang.errors import Refusal, SettingError
from recipelang.kinds import Moment, Pairing, Point, Points, Seen
from recipelang.methods.losses._positions import as_maps, resized
from recipelang.methods.losses.at import At
from recipelang.methods.losses.fitnet import FitNet
from recipelang.methods.tasks.classification import Classification

NOW = Moment(0, 10, 5)


def seen(*features: Tensor) -> Seen:
    return Seen(None, None, features, None)


def point(path: str, *shape: int, depth: float = 0.5, through: bool = True) -> Point:
    return Point(path, shape, depth, through, True, 2 if len(shape) == 2 else 1)


def value(loss: Any, student: Seen, teachers: tuple[Seen, ...], parts: Any = None) -> Tensor:
    found: Tensor = loss(student, teachers, None, Classification(), parts, NOW)
    return found


def numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def attention(image: Any, p: float) -> list[float]:
    """C×H×W nested lists → the map, flat and of length one."""
    height, width = len(image[0]), len(image[0][0])
    flat = [sum(abs(channel[y][x]) ** p for channel in image) for y in range(height) for x in range(width)]
    length = math.sqrt(sum(v * v for v in flat))
    return [v / length for v in flat]


@settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1.0, 2.0, 3.0]), st.integers(1, 3), st.integers(1, 2))
def test_at_is_the_formula_of_the_paper(seed: int, p: float, positions: int, count: int) -> None:
    mine = [numbers(seed + k, 2, 3, 4, 2 + k) for k in range(positions)]
    theirs = [[numbers(seed + 10 * n + k, 2, 5, 4, 2 + k) for k in range(positions)] for n in range(1, count + 1)]
    got = value(At(beta=7.0, p=p), seen(*mine), tuple(seen(*maps) for maps in theirs))
    wanted = 0.0
    for maps in theirs:
        for one, two in zip(mine, maps, strict=True):
            squares = [
                (q - r) ** 2
                for a, b in zip(one.tolist(), two.tolist(), strict=True)
                for q, r in zip(attention(a, p), attention(b, p), strict=True)
            ]
            wanted += 7.0 * sum(squares) / len(squares) / count
    assert float(got) == pytest.approx(wanted, rel=1e-9)


def test_at_compares_tokens_with_tokens_and_with_maps() -> None:
    tokens, others, maps = numbers(0, 2, 10, 4), numbers(1, 2, 10, 6), numbers(2, 2, 5, 3, 3)
    whole = At(beta=1.0)
    got = value(whole, seen(tokens), (seen(others),))
    one, two = (t.square().sum(2) for t in (tokens, others))
    both = (one / one.norm(dim=1, keepdim=True) - two / two.norm(dim=1, keepdim=True)).square().mean()
    torch.testing.assert_close(got, both)
    got = value(whole, seen(tokens), (seen(maps),))
    one, two = tokens[:, 1:].square().sum(2), maps.square().sum(1).flatten(1)
    both = (one / one.norm(dim=1, keepdim=True) - two / two.norm(dim=1, keepdim=True)).square().mean()
    torch.testing.assert_close(got, both)
    torch.testing.assert_close(value(whole, seen(maps), (seen(tokens),)), both)


def test_at_averages_the_larger_map_down() -> None:
    large, small = numbers(0, 2, 3, 8, 4), numbers(1, 2, 3, 4, 4)
    pooled = torch.nn.functional.adaptive_avg_pool2d(large.square().sum(1, keepdim=True), (4, 4))
    one, two = pooled.flatten(1), small.square().sum(1).flatten(1)
    wanted = (one / one.norm(dim=1, keepdim=True) - two / two.norm(dim=1, keepdim=True)).square().mean()
    torch.testing.assert_close(value(At(beta=1.0), seen(large), (seen(small),)), wanted)
    torch.testing.assert_close(value(At(beta=1.0), seen(small), (seen(large),)), wanted)


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (2, 5, 6)])
def test_the_gradient_of_at_is_that_of_finite_differences(shape: tuple[int, ...]) -> None:
    theirs = numbers(1, *shape)
    leaf = numbers(0, *shape).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: value(At(beta=5.0), seen(x), (seen(theirs),)), (leaf,))


def test_at_is_zero_for_the_same_map_and_finite_for_none() -> None:
    maps = numbers(0, 2, 3, 4, 4)
    assert float(value(At(), seen(maps), (seen(3 * maps),))) == pytest.approx(0, abs=1e-20)
    dead = torch.zeros(2, 3, 4, 4, requires_grad=True)
    lost = value(At(), seen(dead), (seen(maps.float()),))
    lost.backward()
    assert lost.isfinite() and dead.grad is not None and dead.grad.isfinite().all()


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        ((3, 4, 4), (5, 4, 4)),
        ((3, 8, 4), (5, 4, 6)),
        ((10, 4), (10, 6)),
        ((10, 4), (5, 3, 3)),
        ((6, 3, 3), (17, 4)),
        ((4,), (7,)),
    ],
    ids=["maps", "other size", "tokens", "tokens to map", "map to tokens", "vectors"],
)
def test_fitnet_is_half_the_mean_square_of_what_an_adapter_misses(mine: Any, theirs: Any) -> None:
    loss = FitNet(student="a")
    pairing = Pairing(point("a", *mine), (point("b", *theirs), point("c", *theirs)))
    parts: Any = loss.parts((pairing,)).double()
    student, first, second = numbers(0, 2, *mine), numbers(1, 2, *theirs), numbers(2, 2, *theirs)
    got = value(loss, seen(student), (seen(first), seen(second)), parts)
    wanted = torch.zeros((), dtype=torch.float64)
    for adapter, hint in zip(parts, (first, second), strict=True):
        weight, bias = adapter.weight.flatten(1), adapter.bias
        if len(mine) == len(theirs) and len(mine) < 3:  # tokens and vectors: channels last
            adapted, hint = student @ weight.T + bias, hint
        else:
            maps, hint = square(student), square(hint)
            adapted = torch.einsum("oc,bchw->bohw", weight, maps) + bias[:, None, None]
            adapted = by_torch(adapted, hint.shape[2:])
        wanted = wanted + (hint - adapted).square().mean() / 2 / 2
    torch.testing.assert_close(got, wanted)
    got.backward()
    assert all(p.grad is not None and p.grad.any() for p in parts.parameters())


def square(features: Tensor) -> Tensor:
    """B×(1 + n²)×D → B×D×n×n, by hand."""
    if features.ndim == 4:
        return features
    side = math.isqrt(features.shape[1] - 1)
    return features[:, 1:].permute(0, 2, 1).reshape(len(features), -1, side, side)


def by_torch(maps: Tensor, size: Any) -> Tensor:
    """One axis after the other: averaged where it shrinks, interpolated where it grows."""
    for axis in (2, 3):
        to = (size[0], maps.shape[3]) if axis == 2 else (maps.shape[2], size[1])
        if to[axis - 2] < maps.shape[axis]:
            maps = torch.nn.functional.adaptive_avg_pool2d(maps, to)
        else:
            maps = torch.nn.functional.interpolate(maps, to, mode="bilinear", align_corners=False)
    return maps


@pytest.mark.parametrize("size", [(3, 3), (7, 2), (2, 9), (12, 12), (5, 4)])
def test_resizing_is_that_of_torch(size: tuple[int, int]) -> None:
    maps = numbers(0, 2, 3, 5, 4)
    torch.testing.assert_close(resized(maps, size), by_torch(maps, size))


def test_tokens_become_maps_row_by_row() -> None:
    tokens = numbers(0, 2, 10, 3)
    assert torch.equal(as_maps(tokens)[1, :, 2, 1], tokens[1, 1 + 2 * 3 + 1])
    assert torch.equal(as_maps(tokens[:, :9])[1, :, 2, 1], tokens[1, 2 * 3 + 1])


# where they look --------------------------------------------------------------------------------------------------


def offer(whose: str, *shapes: tuple[int, ...]) -> Points:
    """A network with a stage for each shape, and a layer that its shortcut bypasses in each."""
    every = []
    for n, shape in enumerate(shapes, start=1):
        every.append(point(f"s{n}.inner", *shape, depth=(n - 0.5) / len(shapes), through=False))
        every.append(point(f"s{n}", *shape, depth=n / len(shapes)))
    return Points(whose, tuple(every))


STUDENT = offer("the network", (8, 16, 16), (16, 8, 8), (32, 4, 4))


def shown(pairings: tuple[Pairing, ...]) -> list[str]:
    return [" ".join(p.path for p in (pairing.student, *pairing.teachers)) for pairing in pairings]


def test_at_pairs_stages_of_one_size_and_near_depth_with_every_teacher() -> None:
    wide = offer("the teacher `wide`", (64, 32, 32), (64, 16, 16), (128, 8, 8), (256, 4, 4))
    deep = offer("the teacher `deep`", (8, 16, 16), (16, 8, 8))
    assert shown(At().points(STUDENT, (wide,))) == ["s1 s2", "s2 s3", "s3 s4"]
    assert shown(At().points(STUDENT, (wide, deep))) == ["s1 s2 s1", "s2 s3 s2"]
    assert shown(FitNet().points(STUDENT, (wide, deep))) == ["s2 s2 s1"]


def test_named_positions_are_taken_in_their_order() -> None:
    wide = offer("the teacher `wide`", (64, 32, 32), (64, 2, 2))
    for loss in (At(student="s3, s1", teacher="s2,s1"), FitNet(student="s3, s1", teacher="s2,s1")):
        assert shown(loss.points(STUDENT, (wide,))) == ["s3 s2", "s1 s1"]
    assert shown(At(student="s2.inner").points(STUDENT, (STUDENT,))) == ["s2.inner s2.inner"]


def test_what_cannot_be_compared_is_refused_with_what_there_is() -> None:
    small = offer("the teacher `small`", (8, 2, 2), (8, 1, 1))
    with pytest.raises(Refusal) as refused:
        At().points(STUDENT, (small,))
    assert refused.value.code == "RCP0821"
    assert refused.value.message == (
        "`at` finds no positions to compare: the network has `s1` (8×16×16), `s2` (16×8×8), `s3` (32×4×4); "
        "the teacher `small` has `s1` (8×2×2)"
    )
    with pytest.raises(Refusal) as refused:
        FitNet(student="s9").points(STUDENT, (small,))
    assert refused.value.code == "RCP0822" and "`s9` is not a position of the network" in refused.value.message
    assert "`s1` (8×16×16)" in refused.value.help
    with pytest.raises(Refusal) as refused:
        At(student="s1", teacher="s2").points(STUDENT, (small,))
    assert refused.value.code == "RCP0823" and "`s2` has no map" in refused.value.message
    flat = Points("the network", (point("2", 300),))  # plain layers: a position can be named, but there is no stage
    with pytest.raises(Refusal) as refused:
        At().points(flat, (flat,))
    assert refused.value.help.endswith("or take a loss of outputs, such as `kd`")
    with pytest.raises(Refusal) as refused:
        At(student="2").points(flat, (flat,))
    assert refused.value.code == "RCP0823"
    assert refused.value.help == "stages of the network: none; stages of the network: none"
    assert shown(FitNet(student="2").points(flat, (flat,))) == ["2 2"]
    words = Points("the teacher `words`", (point("t", 7, 8),))
    for loss in (At(student="s1", teacher="t"), FitNet(student="s1", teacher="t")):
        with pytest.raises(Refusal) as refused:
            loss.points(STUDENT, (words,))
        assert refused.value.code == "RCP0823"


@pytest.mark.parametrize("kind", [At, FitNet])
def test_positions_are_named_in_pairs(kind: Any) -> None:
    for student, teacher in (("", "s1"), ("s1", "s1, s2")):
        with pytest.raises(SettingError, match="`teacher` names"):
            kind(student=student, teacher=teacher)


def test_at_is_that_of_torchdistill() -> None:
    library: Any = pytest.importorskip("torchdistill.losses.mid_level", reason="torchdistill is not installed")
    mine, theirs = (numbers(0, 4, 3, 8, 8), numbers(1, 4, 7, 4, 4)), (numbers(2, 4, 5, 8, 8), numbers(3, 4, 7, 4, 4))
    pairs = {f"{n}": {role: {"io": "output", "path": f"{n}"} for role in ("student", "teacher")} for n in (0, 1)}
    reference = library.ATLoss({name: {**pair, "weight": 1} for name, pair in pairs.items()}, mode="code")
    student, teacher = ({f"{n}": {"output": maps} for n, maps in enumerate(of)} for of in (mine, theirs))
    wanted = reference(student, teacher)
    torch.testing.assert_close(value(At(beta=1000.0), seen(*mine), (seen(*theirs),)), 1000 * wanted)
