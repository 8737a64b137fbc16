"""Losses of similarities, distributions, boundaries and flows against their formulas written naively."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recipelang import catalogue
from recipelang.errors import Refusal
from recipelang.kinds import Moment, Pairing, Point, Points, Seen
from recipelang.methods.losses.ab import Ab
from recipelang.methods.losses.fsp import Fsp
from recipelang.methods.losses.nst import Nst
from recipelang.methods.losses.sp import Sp
from recipelang.methods.losses.vid import Vid
from recipelang.methods.tasks.classification import Classification

PAIRED = ["ab", "at", "fitnet", "fsp", "ft", "heo", "kp", "nst", "relational", "rkd", "sp", "svd", "vid"]


def seen(*features: Tensor) -> Seen:
    return Seen(None, None, features, None)


def point(path: str, *shape: int, depth: float = 0.5) -> Point:
    return Point(path, shape, depth, True, True, 2 if len(shape) == 2 else 1)


def value(loss: Any, student: Seen, teachers: tuple[Seen, ...], parts: Any = None) -> Tensor:
    found: Tensor = loss(student, teachers, None, Classification(), parts, Moment(0, 10, 5))
    return found


def numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unit(row: list[float]) -> list[float]:
    length = math.sqrt(sum(v * v for v in row))
    return [v / length for v in row]


def dot(one: list[float], two: list[float]) -> float:
    return sum(a * b for a, b in zip(one, two, strict=True))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 2))
def test_sp_is_the_formula_of_the_paper(seed: int, batch: int, count: int) -> None:
    mine = numbers(seed, batch, 3, 4, 4)
    theirs = [numbers(seed + n, batch, 5, 2) for n in range(1, count + 1)]  # tokens: any shape will do

    def gram(features: Tensor) -> list[list[float]]:
        rows = features.flatten(1).tolist()
        return [unit([dot(a, b) for b in rows]) for a in rows]

    wanted = 0.0
    for other in theirs:
        pairs = zip(gram(mine), gram(other), strict=True)
        wanted += sum((a - b) ** 2 for one, two in pairs for a, b in zip(one, two, strict=True)) / batch**2 / count
    got = value(Sp(gamma=7.0), seen(mine), tuple(seen(other) for other in theirs))
    assert float(got) == pytest.approx(7 * wanted, rel=1e-8, abs=1e-12)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.booleans())
def test_nst_is_the_formula_of_the_paper(seed: int, tokens: bool) -> None:
    mine, theirs = (
        (numbers(seed, 2, 6, 3), numbers(seed + 1, 2, 6, 4))
        if tokens
        else (numbers(seed, 2, 3, 2, 3), numbers(seed + 1, 2, 4, 2, 3))
    )

    def selective(image: Tensor) -> list[list[float]]:
        return [unit(channel) for channel in (image.T if tokens else image.flatten(1)).tolist()]

    def mean(one: list[list[float]], two: list[list[float]]) -> float:
        return sum(dot(a, b) ** 2 for a in one for b in two) / len(one) / len(two)

    wanted = 0.0
    for a, b in zip(mine, theirs, strict=True):
        one, two = selective(a), selective(b)
        wanted += (mean(one, one) + mean(two, two) - 2 * mean(one, two)) / 2
    assert float(value(Nst(beta=3.0), seen(mine), (seen(theirs),))) == pytest.approx(3 * wanted, rel=1e-8)


def test_nst_is_nothing_between_the_same_channels_in_another_order() -> None:
    maps = numbers(0, 2, 5, 4, 4)
    assert float(value(Nst(), seen(maps[:, torch.randperm(5)] * 3), (seen(maps),))) == pytest.approx(0, abs=1e-12)


SHAPES = pytest.mark.parametrize(
    ("mine", "theirs"),
    [((3, 4, 4), (5, 4, 4)), ((10, 4), (10, 6)), ((4,), (7,))],
    ids=["maps", "tokens", "vectors"],
)


@SHAPES
def test_vid_is_the_likelihood_of_a_gaussian(mine: Any, theirs: Any) -> None:
    loss = Vid(student="a")
    parts: Any = loss.parts((Pairing(point("a", *mine), (point("b", *theirs), point("c", *theirs))),)).double()
    student, hints = numbers(0, 2, *mine), (numbers(1, 2, *theirs), numbers(2, 2, *theirs))
    got = value(loss, seen(student), tuple(seen(hint) for hint in hints), parts)
    axis = 1 if len(theirs) == 3 else -1
    wanted = torch.zeros((), dtype=torch.float64)
    for adapter, hint in zip(parts, hints, strict=True):
        variance = torch.nn.functional.softplus(adapter["spread"].weight[0]) + 1e-5
        torch.testing.assert_close(variance, torch.full_like(variance, 5.0), rtol=1e-5, atol=0)
        shape = [-1 if n == axis % hint.ndim else 1 for n in range(hint.ndim)]
        gaussian = torch.distributions.Normal(adapter["mean"](student), variance.sqrt().view(shape))
        wanted = wanted - (gaussian.log_prob(hint) + math.log(2 * math.pi) / 2).mean() / 2
    torch.testing.assert_close(got, wanted)
    got.backward()
    assert all(p.grad is not None and p.grad.any() for p in parts.parameters())


@SHAPES
def test_ab_is_the_margin_to_the_boundary(mine: Any, theirs: Any) -> None:
    loss = Ab(margin=0.5, student="a")
    parts: Any = loss.parts((Pairing(point("a", *mine), (point("b", *theirs),)),)).double().eval()
    student, hint = numbers(0, 2, *mine), numbers(1, 2, *theirs).relu()
    lead = parts[0][0]
    led = lead(student) / math.sqrt(1 + parts[0][1].eps)  # BatchNorm as it begins
    wanted = 0.0
    for s, t in zip(led.flatten().tolist(), hint.flatten().tolist(), strict=True):
        wanted += max(0.0, 0.5 - s) ** 2 if t > 0 else max(0.0, 0.5 + s) ** 2
    got = value(loss, seen(student), (seen(hint),), parts).detach()
    assert float(got) == pytest.approx(wanted / hint.numel(), rel=1e-8)


def test_fsp_is_the_formula_of_the_paper() -> None:
    mine = numbers(0, 2, 3, 4, 4), numbers(1, 2, 5, 2, 2), numbers(2, 2, 4, 2, 2)
    theirs = numbers(3, 2, 3, 8, 8), numbers(4, 2, 5, 8, 8), numbers(5, 2, 4, 4, 4)

    def products(one: Tensor, two: Tensor) -> list[float]:
        side = min(one.shape[2], two.shape[2])
        one, two = (torch.nn.functional.adaptive_avg_pool2d(maps, side) for maps in (one, two))
        pairs = [(a, b) for image in range(2) for a in one[image] for b in two[image]]
        return [float((a * b).sum()) / side**2 for a, b in pairs]

    wanted = 0.0
    for k in (0, 1):
        one, two = products(mine[k], mine[k + 1]), products(theirs[k], theirs[k + 1])
        wanted += sum((a - b) ** 2 for a, b in zip(one, two, strict=True)) / len(one)
    assert float(value(Fsp(), seen(*mine), (seen(*theirs),))) == pytest.approx(wanted, rel=1e-8)


@pytest.mark.parametrize("loss", [Sp(), Nst(), Fsp()], ids=["sp", "nst", "fsp"])
@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (2, 5, 6)])
def test_gradients_are_those_of_finite_differences(loss: Any, shape: tuple[int, ...]) -> None:
    count = 2 if isinstance(loss, Fsp) else 1
    theirs = [numbers(9 + k, *shape) for k in range(count)]
    leaves = tuple(numbers(k, *shape).requires_grad_() for k in range(count))
    assert torch.autograd.gradcheck(lambda *x: value(loss, seen(*x), (seen(*theirs),)), leaves)


@pytest.mark.parametrize("name", PAIRED)
def test_dead_activations_give_finite_gradients(name: str) -> None:
    loss: Any = catalogue.find("loss", name)(student="a, b")
    places = [point("a", 3, 4, 4), point("b", 3, 4, 4)]
    parts = loss.parts(tuple(Pairing(one, (one,)) for one in places))
    dead = [torch.zeros(2, 3, 4, 4, requires_grad=True) for _ in places]
    lost = value(loss, seen(*dead), (seen(*(numbers(k, 2, 3, 4, 4).float() for k in (0, 1))),), parts)
    lost.backward()
    assert lost.isfinite() and all(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in dead)


def offer(whose: str, *shapes: tuple[int, ...]) -> Points:
    return Points(whose, tuple(point(f"s{n}", *s, depth=n / len(shapes)) for n, s in enumerate(shapes, start=1)))


def test_where_they_look() -> None:
    thin, wide = offer("the network", (8, 16, 16), (16, 8, 8)), offer("the teacher", (32, 32, 32), (64, 16, 16))
    last = Sp().points(thin, (wide, thin))
    assert [str(p) for p in (last[0].student, *last[0].teachers)] == ["s2 (16×8×8)", "s2 (64×16×16)", "s2 (16×8×8)"]
    for loss in (Nst(), Vid(), Ab()):
        assert [pairing.teachers[0].path for pairing in loss.points(thin, (wide,))] == ["s1", "s2"]
    with pytest.raises(Refusal, match="no positions to compare"):
        Fsp().points(thin, (wide,))
    with pytest.raises(Refusal, match="no two maps of the same widths, one after another"):
        Fsp().points(thin, (offer("the teacher", (7, 16, 16), (16, 8, 8)),))
    assert len(Fsp().points(thin, (offer("the teacher", (8, 32, 32), (16, 32, 32)),))) == 2


def test_a_place_before_anything_that_trains_is_no_place_for_a_loss() -> None:
    still = Point("pool", (1, 8, 8), 0.1, True, False, trains=False)
    network = Points("the network", (still, point("s1", 8, 8, 8), point("v", 10, depth=1.0)))
    teacher = offer("the teacher", (8, 8, 8), (16, 4, 4))
    assert [pairing.student.path for pairing in Nst().points(network, (teacher,))] == ["s1"]
    with pytest.raises(Refusal, match="`pool` of the network has no effect: nothing that trains comes before it"):
        Nst(student="pool", teacher="s1").points(network, (teacher,))
    for loss in (Nst(), Vid(), Ab(), Sp()):
        with pytest.raises(Refusal, match="no positions to compare"):
            loss.points(Points("the network", (still,)), (teacher,))
