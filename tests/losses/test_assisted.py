"""Losses with translators, graphs, projections and assistants against their formulas written naively."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recipelang.errors import Refusal, SettingError
from recipelang.kinds import Moment, Pairing, Point, Points, Seen
from recipelang.methods.losses.ft import Ft
from recipelang.methods.losses.irg import Irg
from recipelang.methods.losses.kp import Kp
from recipelang.methods.losses.lit import Lit
from recipelang.methods.losses.relational import Relational
from recipelang.methods.losses.rkd import Rkd
from recipelang.methods.tasks.classification import Classification

NOW = Moment(3, 10, 5)
functional = torch.nn.functional


def seen(*features: Tensor, outputs: Any = None, **more: Any) -> Seen:
    return Seen(None, outputs, features, None, **more)


def point(path: str, *shape: int, depth: float = 0.5, through: bool = True) -> Point:
    return Point(path, shape, depth, through, True, 2 if len(shape) == 2 else 1)


def value(loss: Any, student: Seen, teachers: tuple[Seen, ...], parts: Any = None, moment: Moment = NOW) -> Tensor:
    found: Tensor = loss(student, teachers, None, Classification(), parts, moment)
    return found


def numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def parts_of(loss: Any, *pairs: tuple[Any, ...]) -> Any:
    """What a loss trains along between positions of these shapes, the student's first."""
    places = [
        Pairing(point(f"a{n}", *mine), tuple(point(f"b{n}", *one) for one in theirs))
        for n, (mine, *theirs) in enumerate(pairs)
    ]
    return loss.parts(tuple(places)).double()


def gradients(parts: Any) -> dict[str, bool]:
    return {name: p.grad is not None and bool(p.grad.any()) for name, p in parts.named_parameters()}


# ft -----------------------------------------------------------------------------------------------------------------


def leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.1 * x)


@pytest.mark.parametrize("tokens", [False, True], ids=["maps", "tokens"])
def test_ft_is_the_formula_of_the_paper(tokens: bool) -> None:
    shapes: Any = ((5, 3), (5, 6)) if tokens else ((3, 4, 4), (6, 4, 4))
    loss = Ft(beta=7.0, rate=0.5)
    parts = parts_of(loss, (shapes[0], shapes[1], shapes[1]))
    mine = numbers(0, 2, *shapes[0]).requires_grad_()
    hints = [numbers(n, 2, *shapes[1]) for n in (1, 2)]

    def run(layers: Any, x: Tensor) -> Tensor:
        for layer in layers[::2]:
            if tokens:
                x = x @ layer.weight.T + layer.bias
            elif isinstance(layer, torch.nn.ConvTranspose2d):  # the transpose of a convolution with flipped kernels
                x = functional.conv2d(x, layer.weight.transpose(0, 1).flip(2, 3), layer.bias, padding=1)
            else:
                x = functional.conv2d(x, layer.weight, layer.bias, padding=1)
            x = leaky(x)
        return x

    wanted = torch.zeros((), dtype=torch.float64)
    for part, hint in zip(parts, hints, strict=True):
        hint, own = (x / x.detach().square().mean().sqrt() for x in (hint, mine))
        teachers, students = run(part["encoder"], hint), run(part["translator"], own)
        assert teachers.shape[2 if tokens else 1] == 3
        unit = [f / f.flatten(1).norm(dim=1).view(-1, *(1,) * (f.ndim - 1)) for f in (teachers, students)]
        restored = run(part["decoder"], teachers)
        wanted = wanted + (7 * (unit[0] - unit[1]).abs().mean() + (hint - restored).square().mean()) / 2
    got = value(loss, seen(mine), tuple(seen(hint) for hint in hints), parts)
    torch.testing.assert_close(got, wanted)


def test_ft_trains_the_paraphraser_on_the_teacher_alone() -> None:
    loss = Ft()
    hint, mine = numbers(1, 2, 6, 4, 4), numbers(0, 2, 3, 4, 4).requires_grad_()
    parts = parts_of(loss, ((3, 4, 4), (6, 4, 4)))
    value(loss, seen(mine), (seen(hint),), parts).backward()
    together = {n: p.grad.clone() for n, p in parts.named_parameters()}
    parts.zero_grad()
    value(replace(loss, beta=0.0), seen(mine), (seen(hint),), parts).backward()
    for name, p in parts.named_parameters():
        if "translator" in name:
            assert together[name].any() and not p.grad.any()
        else:
            assert torch.equal(together[name], p.grad) and p.grad.any()


def test_ft_may_let_the_paraphraser_learn_first() -> None:
    loss = Ft(first=0.4)
    parts, hint, mine = parts_of(loss, ((3, 4, 4), (6, 4, 4))), numbers(1, 2, 6, 4, 4), numbers(0, 2, 3, 4, 4)
    alone = value(replace(loss, beta=0.0), seen(mine), (seen(hint),), parts)
    for step in range(10):
        got = value(loss, seen(mine), (seen(hint),), parts, Moment(step, 10, 5))
        assert bool(got > alone) == (step >= 4)


# kp -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shapes", [((3, 4, 4), (6, 2, 2)), ((5, 4), (7, 3, 3)), ((4,), (9,))])
def test_kp_compares_projected_vectors_and_keeps_what_can_be_restored(shapes: Any) -> None:
    loss = Kp(width=2, keep=0.3)
    parts = parts_of(loss, (shapes[0], shapes[1]))
    mine, theirs = numbers(0, 2, *shapes[0]).requires_grad_(), numbers(1, 2, *shapes[1])
    matrices = parts[0]["teacher"].weight.detach(), parts[0]["student"].weight.detach()
    wanted = 0.0
    means = [x if x.ndim == 2 else x.mean(1) if x.ndim == 3 else x.mean((2, 3)) for x in (mine.detach(), theirs)]
    means = [x / math.sqrt(sum(v * v for v in x.flatten().tolist()) / x.numel()) for x in means]
    for s, t in zip(*means, strict=True):
        p, q = matrices[0] @ t, matrices[1] @ s
        wanted += float((p - q).abs().sum()) / 4 + 0.3 * float((t - matrices[0].T @ p).square().sum()) / (2 * len(t))
    got = value(loss, seen(mine), (seen(theirs),), parts)
    assert float(got.detach()) == pytest.approx(wanted, rel=1e-9)
    got.backward()
    assert mine.grad is not None and all(gradients(parts).values())


def test_the_projection_of_kp_is_that_of_the_largest_variances() -> None:
    """Trained on its own term alone, P spans the first principal directions, and does not shrink."""
    axes = torch.linalg.qr(numbers(0, 5, 5))[0]
    vectors = numbers(1, 200, 5) * torch.tensor([5.0, 3.0, 0.3, 0.2, 0.1], dtype=torch.float64) @ axes.T
    loss = Kp(width=2)
    parts = parts_of(loss, ((4,), (5,)))
    optimizer = torch.optim.Adam(parts.parameters(), 0.02)
    for _ in range(800):
        optimizer.zero_grad()
        value(loss, seen(numbers(2, 200, 4)), (seen(vectors),), parts).backward()
        optimizer.step()
    projector = parts[0]["teacher"].weight.T @ parts[0]["teacher"].weight
    torch.testing.assert_close(projector, axes[:, :2] @ axes[:, :2].T, atol=0.05, rtol=0)


def test_kp_does_not_depend_on_the_scale_of_activations() -> None:
    parts, mine, theirs = parts_of(Kp(), ((3, 4, 4), (6, 2, 2))), numbers(0, 2, 3, 4, 4), numbers(1, 2, 6, 2, 2)
    wanted = value(Kp(), seen(mine), (seen(theirs),), parts)
    torch.testing.assert_close(value(Kp(), seen(1000 * mine), (seen(0.01 * theirs),), parts), wanted)
    matrix = parts[0]["teacher"].weight
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(3, dtype=torch.float64), atol=1e-6, rtol=0)


# irg ----------------------------------------------------------------------------------------------------------------


def distance(one: Tensor, two: Tensor) -> float:
    return sum((a - b) ** 2 for a, b in zip(one.flatten().tolist(), two.flatten().tolist(), strict=True))


def graph(features: Tensor) -> list[float]:
    found = [distance(a, b) for a in features for b in features]
    return [d / max(found) for d in found]


def ways(one: Tensor, two: Tensor) -> list[float]:
    """How far each image moves; the first map averaged down to the second, whose channels are averaged in pairs."""
    first = functional.adaptive_avg_pool2d(one, two.shape[2:])
    second = (two[:, 0::2] + two[:, 1::2]) / 2
    found = [distance(a, b) for a, b in zip(first, second, strict=True)]
    return [d / max(found) for d in found]


def mean_square(one: list[float], two: list[float]) -> float:
    return sum((a - b) ** 2 for a, b in zip(one, two, strict=True)) / len(one)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10**6), st.integers(2, 5))
def test_irg_is_the_published_code(seed: int, batch: int) -> None:
    mine = [numbers(seed, batch, 3, 4, 4), numbers(seed + 1, batch, 6, 2, 2)]
    theirs = [numbers(seed + 2, batch, 4, 8, 8), numbers(seed + 3, batch, 8, 4, 4)]
    outputs = numbers(seed + 4, batch, 3), numbers(seed + 5, batch, 3)
    got = value(Irg(0.7, 5.0, 3.0), seen(*mine, outputs=outputs[0]), (seen(*theirs, outputs=outputs[1]),))
    wanted = 0.7 * mean_square(outputs[0].flatten().tolist(), outputs[1].flatten().tolist())
    for one, two in zip(mine, theirs, strict=True):
        wanted += 5.0 * mean_square(graph(one), graph(two)) / 2
    wanted += 3.0 * mean_square(ways(*mine), ways(*theirs))
    assert float(got) == pytest.approx(wanted, rel=1e-8)


def test_irg_takes_tokens_maps_and_vectors_in_any_order() -> None:
    kinds = [numbers(0, 3, 10, 4), numbers(1, 3, 5, 4, 4), numbers(2, 3, 6), numbers(3, 3, 7, 2)]
    outputs = numbers(4, 3, 2)
    for mine in kinds:
        for theirs in kinds:
            leaf = mine.clone().requires_grad_()
            got = value(Irg(), seen(leaf, theirs, outputs=outputs), (seen(theirs, mine, outputs=outputs),))
            got.backward()
            assert got.isfinite() and leaf.grad is not None and leaf.grad.isfinite().all()
            assert leaf.grad.any() or mine is theirs


# relational ---------------------------------------------------------------------------------------------------------


def huber(z: float) -> float:
    return z * z / 2 if abs(z) < 1 else abs(z) - 0.5


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10**6), st.integers(2, 5))
def test_relational_is_the_formula_of_the_paper(seed: int, batch: int) -> None:
    mine, theirs = numbers(seed, batch, 3, 2, 2), 9 * numbers(seed + 1, batch, 5)

    def between(x: Tensor) -> list[list[float]]:
        apart = [[math.sqrt(distance(a, b)) for b in x] for a in x]
        mean = sum(map(sum, apart)) / (batch * (batch - 1))
        return [[d / mean for d in row] for row in apart]

    def cosine(x: Tensor, i: int, j: int, k: int) -> float:
        if i == j or k == j:
            return 0.0
        one, two = x[i] - x[j], x[k] - x[j]
        return float(one @ two / one.norm() / two.norm())

    s, t = mine.mean((2, 3)), theirs
    images = range(batch)
    one, two = between(s), between(t)
    far = sum(huber(one[i][j] - two[i][j]) for i in images for j in images) / batch**2
    bent = sum(huber(cosine(s, i, j, k) - cosine(t, i, j, k)) for i in images for j in images for k in images)
    got = value(Relational(25.0, 50.0), seen(mine), (seen(theirs),))
    assert float(got) == pytest.approx(25 * far + 50 * bent / batch**3, rel=1e-7)


def test_relations_are_the_same_in_another_place_size_and_direction() -> None:
    x = numbers(0, 5, 4)
    turned = 3 * x @ torch.linalg.qr(numbers(1, 4, 4))[0] + 7
    assert float(value(Relational(), seen(turned), (seen(x),))) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("loss", [Relational(), Irg()], ids=["relational", "irg"])
def test_gradients_are_those_of_finite_differences(loss: Any) -> None:
    theirs, outputs = numbers(9, 4, 3, 2, 2), numbers(8, 4, 3)
    leaves = numbers(1, 4, 3, 2, 2).requires_grad_(), numbers(2, 4, 3).requires_grad_()
    run = lambda x, o: value(loss, seen(x, outputs=o), (seen(theirs, outputs=outputs),))  # noqa: E731
    assert torch.autograd.gradcheck(run, leaves)


def test_losses_without_any_weight_are_refused() -> None:
    for nothing in (lambda: Irg(0, 0, 0), lambda: Relational(0, 0)):
        with pytest.raises(SettingError, match="weights are 0"):
            nothing()


# lit ----------------------------------------------------------------------------------------------------------------


def test_lit_runs_sections_on_the_activations_of_the_teacher() -> None:
    torch.manual_seed(0)
    sections = [torch.nn.Linear(4, 4).double() for _ in range(3)]
    x, theirs = numbers(0, 2, 4), [numbers(n, 2, 4) for n in (1, 2, 3)]
    own = [sections[0](x)]
    own += [sections[1](own[0])]
    own += [sections[2](own[1])]

    def again(instead: Any) -> tuple[Tensor, ...]:
        return (sections[0](x), sections[1](instead[0]), sections[2](instead[1]))

    wanted = (sections[0](x) - theirs[0]).square().mean()
    wanted = wanted + (sections[1](theirs[0]) - theirs[1]).square().mean()
    wanted = wanted + (sections[2](theirs[1]) - theirs[2]).square().mean()
    torch.testing.assert_close(value(Lit(), seen(*own, again=again), (seen(*theirs),)), wanted)


def offer(whose: str, *shapes: tuple[int, ...], through: bool = True) -> Points:
    every = [point(f"s{n}", *s, depth=n / len(shapes), through=through) for n, s in enumerate(shapes, start=1)]
    return Points(whose, tuple(every))


def test_lit_needs_two_sections_of_the_same_shapes() -> None:
    thin, same = offer("the network", (8, 16, 16), (16, 8, 8)), offer("the teacher", (8, 16, 16), (16, 8, 8), (9, 4, 4))
    assert [p.student.path for p in Lit().points(thin, (same,))] == ["s1", "s2"]
    assert [p.student.path for p in Lit(student="s2, s1").points(thin, (same,))] == ["s1", "s2"]
    with pytest.raises(Refusal, match="`lit` finds no two sections of the same shapes, one after another") as refused:
        Lit().points(thin, (offer("the teacher", (8, 16, 16), (17, 8, 8)),))
    assert refused.value.code == "RCP0821"
    with pytest.raises(Refusal, match="no two sections"):
        Lit(student="s1, s2", teacher="s2, s1").points(
            offer("the network", (8, 8, 8), (8, 8, 8)), (offer("the teacher", (8, 8, 8), (8, 8, 8)),)
        )
    inside = offer("the teacher", (8, 16, 16), (16, 8, 8), through=False)
    with pytest.raises(Refusal, match="a shortcut bypasses `s1`, so no section ends there") as refused:
        Lit(student="s1, s2").points(thin, (inside,))
    assert refused.value.code == "RCP0823"


# rkd ----------------------------------------------------------------------------------------------------------------


def test_rkd_is_a_student_and_an_assistant_on_what_it_misses() -> None:
    loss = Rkd(eta=0.5, width=0.5)
    shapes: Any = [((3, 4, 4), (6, 4, 4)), ((8, 2, 2), (8, 4, 4)), ((5, 2, 2), (8, 2, 2))]
    parts = parts_of(loss, *shapes)
    mine = [numbers(n, 2, *one).requires_grad_() for n, (one, _) in enumerate(shapes)]
    theirs = [numbers(9 + n, 2, *two) for n, (_, two) in enumerate(shapes)]
    part: Any = parts[0]

    def lead(n: int) -> Tensor:
        if n == 1:  # of the same width: as it is, with twice the places
            return functional.interpolate(mine[1], (4, 4), mode="bilinear", align_corners=False)
        return functional.conv2d(mine[n], part.leads[n].weight, part.leads[n].bias)

    def block(n: int, x: Tensor) -> Tensor:
        first, norm, _, last = part.blocks[n]
        x = functional.conv2d(x, first.weight, padding=1)
        x = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), unbiased=False, keepdim=True) + norm.eps).sqrt()
        return functional.conv2d(x.relu(), last.weight, last.bias, padding=1)

    own = [lead(n) for n in range(3)]
    added = [block(0, own[0])]
    added.append(block(1, own[0] + added[0]))
    added.append(block(2, functional.adaptive_avg_pool2d(own[1] + added[1], 2)))
    wanted = torch.zeros((), dtype=torch.float64)
    for r, a, t in zip(own, added, theirs, strict=True):
        wanted = wanted + (t - r).square().mean() + 0.5 * (t - r - a).square().mean()
    got = value(loss, seen(*mine), (seen(*theirs),), parts)
    torch.testing.assert_close(got, wanted)
    got.backward()
    assert all(gradients(parts).values()) and all(x.grad is not None and x.grad.any() for x in mine)


def test_rkd_says_how_much_the_assistant_explains() -> None:
    loss = Rkd(student="a")
    parts = parts_of(loss, ((3, 4, 4), (6, 4, 4)))
    mine, theirs = numbers(0, 4, 3, 4, 4), numbers(1, 4, 6, 4, 4)
    assert loss.told(parts, None) == ""
    optimizer = torch.optim.Adam(parts[0].blocks.parameters(), 0.02)  # the assistant alone
    for step in range(60):
        optimizer.zero_grad()
        value(loss, seen(mine), (seen(theirs),), parts, Moment(step, 60, 1)).backward()
        optimizer.step()
    alone, aided = parts[0].missed.tolist()
    assert aided < 0.9 * alone
    assert loss.told(parts, None).endswith(f"the assistant of `rkd` explained {1 - aided / alone:.0%}")
    more = value(loss, seen(mine), (seen(theirs),), parts, Moment(61, 100, 50)).detach()
    torch.testing.assert_close(parts[0].missed.sum(), alone + aided + more)  # summed until an epoch begins


@pytest.mark.parametrize("kinds", [((10, 4), (10, 6)), ((4,), (7,)), ((10, 4), (5, 3, 3)), ((5, 3, 3), (10, 4))])
def test_assistants_read_tokens_vectors_and_maps(kinds: Any) -> None:
    for loss in (Rkd(), Ft()):
        parts = parts_of(loss, kinds, ((3, 4, 4), (6, 2, 2)))
        mine = [numbers(0, 2, *kinds[0]).requires_grad_(), numbers(1, 2, 3, 4, 4).requires_grad_()]
        got = value(loss, seen(*mine), (seen(numbers(2, 2, *kinds[1]), numbers(3, 2, 6, 2, 2)),), parts)
        got.backward()
        assert got.isfinite() and all(x.grad is not None and x.grad.any() for x in mine)


# where they look ----------------------------------------------------------------------------------------------------


def test_where_they_look() -> None:
    thin, wide = offer("the network", (8, 16, 16), (16, 8, 8)), offer("the teacher", (32, 32, 32), (64, 16, 16))
    for loss in (Ft(), Relational()):
        assert [pairing.teachers[0].path for pairing in loss.points(thin, (wide,))] == ["s2"]
    assert [pairing.teachers[0].path for pairing in Kp().points(thin, (wide,))] == ["s1"]
    for loss in (Irg(), Rkd()):
        assert [pairing.teachers[0].path for pairing in loss.points(thin, (wide,))] == ["s1", "s2"]
    words = Points("the teacher", (point("t", 7, 8),))
    for loss in (Ft(), Rkd()):
        with pytest.raises(Refusal, match="no positions to compare") as refused:
            loss.points(thin, (words,))
        assert refused.value.code == "RCP0821"
