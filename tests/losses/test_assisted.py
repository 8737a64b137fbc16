"""Losses with translators, projections, sections and assistants against their formulas written naively."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.kinds import Moment, Points
from recipelang.methods.losses.ft import Ft
from recipelang.methods.losses.irg import Irg
from recipelang.methods.losses.kp import Kp
from recipelang.methods.losses.lit import Lit
from recipelang.methods.losses.relational import Relational
from recipelang.methods.losses.rkd import Rkd
from tests.losses.comparing import gradients, numbers, offer, parts_of, point, seen, value

functional = torch.nn.functional


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
