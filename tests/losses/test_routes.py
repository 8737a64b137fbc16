"""Losses that choose among their teachers, and losses of gradients, against their formulas written naively."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.kinds import Moment, Point, Points, Seen
from recipelang.methods.losses.jacobian import Jacobian
from recipelang.methods.losses.kd import Kd
from recipelang.methods.losses.rco import Rco
from recipelang.methods.tasks.classification import Classification

TASK = Classification()


def numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_rco_goes_along_the_route_in_equal_parts() -> None:
    loss = Rco(2.0, 0.7)
    assert [loss.consults(Moment(step, 7, 3), 3) for step in range(7)] == [(0,), (0,), (0,), (1,), (1,), (2,), (2,)]
    assert loss.consults(Moment(0, 0, 1), 2) == (0,)
    outputs, labels = numbers(0, 5, 4), torch.tensor([0, 1, 2, 3, 0])
    anchors = [numbers(k, 5, 4) for k in (1, 2, 3)]
    for step in range(7):
        seen = tuple(Seen(None, anchor, (), None) for anchor in anchors)
        which = step * 3 // 7
        wanted = Kd(2.0, 0.7).compare(outputs, labels, (anchors[which],), TASK)
        for teachers in (seen, seen[which : which + 1]):
            got = loss(Seen(None, outputs, (), None), teachers, labels, TASK, None, Moment(step, 7, 3))
            torch.testing.assert_close(got, wanted)


def nets(seed: int, width: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(2, width, 3, padding=1), nn.Tanh(), nn.Conv2d(width, width, 2)).double()


def normalised(net: nn.Module, image: Tensor) -> Tensor:
    """∂ max Σ_c a²/∂x of one image by functorch, flat and of length one."""

    def largest(x: Tensor) -> Tensor:
        return net(x[None])[0].pow(2).sum(0).max()  # type: ignore[no-any-return]

    found: Tensor = torch.func.grad(largest)(image).flatten()
    return found / found.norm()


def test_jacobian_is_the_formula_of_the_paper() -> None:
    student, teachers = nets(0, 3), (nets(1, 4), nets(2, 5))
    images = numbers(0, 3, 2, 5, 4)
    wanted = torch.zeros((), dtype=torch.float64)
    for teacher in teachers:
        for image in images:
            apart = normalised(student, image) - normalised(teacher, image)
            wanted = wanted + apart.square().sum() / 3 / 2

    def value() -> Tensor:
        leaf = images.clone().requires_grad_()
        seen = [Seen(leaf, None, (net(leaf),), None) for net in (student, *teachers)]
        found: Tensor = Jacobian(beta=3.0)(seen[0], tuple(seen[1:]), None, TASK, None, Moment(0, 2, 1))
        return found

    torch.testing.assert_close(value().detach(), 3 * wanted)


def test_the_second_derivative_of_jacobian_is_that_of_finite_differences() -> None:
    student, teacher, images = nets(0, 3), nets(1, 4), numbers(0, 2, 2, 5, 4)
    weight: Any = student[0].weight  # type: ignore[index]

    def value() -> Tensor:
        leaf = images.clone().requires_grad_()
        seen = [Seen(leaf, None, (net(leaf),), None) for net in (student, teacher)]
        found: Tensor = Jacobian()(seen[0], (seen[1],), None, TASK, None, Moment(0, 2, 1))
        return found

    value().backward()
    for index in ((0, 0, 0, 0), (2, 1, 1, 2), (1, 0, 2, 1)):
        found = []
        for step in (1e-4, -1e-4):
            with torch.no_grad():
                weight[index] += step
            found.append(float(value().detach()))
            with torch.no_grad():
                weight[index] -= step
        assert float(weight.grad[index]) == pytest.approx((found[0] - found[1]) / 2e-4, rel=1e-3, abs=1e-6)


def test_jacobian_refuses_positions_that_the_input_does_not_reach() -> None:
    there = Point("s", (4, 8, 8), 0.5, True, True)
    networks = Points("the network", (there,)), Points("the teacher", (replace(there, from_inputs=False),))
    for loss in (Jacobian(), Jacobian(student="s")):
        with pytest.raises(Refusal, match="`s` has no gradient to the input") as refused:
            loss.points(networks[0], (networks[1],))
        assert refused.value.code == "RCP0823"
    assert Jacobian().points(networks[0], (networks[0],))[0].student is there
