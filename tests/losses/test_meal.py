"""The loss `meal` against its formula written naively, and both sides of its game."""

from __future__ import annotations

import math
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.kinds import Moment, Pairing, Point, Seen
from recipelang.methods.losses.meal import Meal, apart
from recipelang.methods.tasks.classification import Classification

TASK = Classification()
CLASSES = SimpleNamespace(classes=("a", "b", "c"))


def numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def place(path: str, *shape: int) -> Point:
    return Point(path, shape, 0.5, True, True, 2 if len(shape) == 2 else 1)


PAIRINGS = (
    Pairing(place("a", 4, 3, 3), (place("b", 6, 2, 2), place("c", 5, 7))),
    Pairing(place("d", 5, 2), (place("e", 8), place("f", 4, 1, 1))),
)
SHAPES = [[(2, 4, 3, 3), (2, 5, 2)], [(2, 6, 2, 2), (2, 8)], [(2, 5, 7), (2, 4, 1, 1)]]


def seen(seed: int, which: int) -> Seen:
    return Seen(None, numbers(seed, 2, 3), tuple(numbers(seed + k, *s) for k, s in enumerate(SHAPES[which], 1)), None)


def mean_over_places(features: Tensor) -> Tensor:
    return {4: lambda: features.mean((2, 3)), 3: lambda: features.mean(1), 2: lambda: features}[features.ndim]()


def test_every_teacher_is_drawn_about_as_often_and_by_seed_and_step_alone() -> None:
    loss = Meal()
    drawn = [loss.consults(Moment(step, 900, 30, 7), 3)[0] for step in range(900)]
    assert drawn == [loss.consults(Moment(step, 900, 30, 7), 3)[0] for step in range(900)]
    assert drawn != [loss.consults(Moment(step, 900, 30, 8), 3)[0] for step in range(900)]
    assert all(250 < count < 350 for count in Counter(drawn).values()) and set(drawn) == {0, 1, 2}


def test_meal_is_the_formula_of_the_paper() -> None:
    torch.manual_seed(0)
    loss = Meal(alpha=0.7, beta=1.3)
    parts: Any = loss.parts_for(PAIRINGS, CLASSES)
    parts = parts.double()
    student, teachers = seen(0, 0), (seen(10, 1), seen(20, 2))
    for step in range(6):
        moment = Moment(step, 6, 3, 5)
        (k,) = loss.consults(moment, 2)
        s, t = student.outputs.softmax(1), teachers[k].outputs.softmax(1)
        alike = float((t * (t.log() - s.log())).sum() / 2)
        told = 0.0
        pairs = [(s, t, parts[k]["outputs"])]
        for n, (mine, theirs) in enumerate(zip(student.features, teachers[k].features, strict=True)):
            layer = parts[k]["adapters"][n]
            adapted = mean_over_places(mine) @ layer.weight.T + layer.bias
            pairs.append((adapted, mean_over_places(theirs), parts[k]["discriminators"][n]))
            alike += float((adapted - mean_over_places(theirs)).detach().square().mean())
        for mine, theirs, discriminator in pairs:
            with torch.no_grad():
                own, hint = (torch.sigmoid(discriminator(of))[:, 0].tolist() for of in (mine, theirs))
            told -= sum(math.log(p) for p in hint) / 4 + sum(math.log(1 - p) for p in own) / 4
        for given in (teachers, teachers[k : k + 1]):
            got = loss(student, given, None, TASK, parts, moment).detach()
            assert float(got) == pytest.approx(0.7 * alike + 1.3 * told, rel=1e-8)


def test_discriminators_learn_to_tell_and_the_network_not_to_be_told() -> None:
    torch.manual_seed(0)
    discriminator = nn.Linear(3, 1).double()
    mine, theirs = numbers(0, 8, 3).requires_grad_(), numbers(1, 8, 3)
    apart(discriminator, mine, theirs).backward()
    plain = mine.detach().clone().requires_grad_()
    logits = torch.cat([discriminator(theirs), discriminator(plain)])[:, 0]
    told = nn.functional.softplus(-logits[:8]).sum() / 16 + nn.functional.softplus(logits[8:]).sum() / 16
    wanted = torch.autograd.grad(told, [plain, *discriminator.parameters()])
    torch.testing.assert_close(mine.grad, -wanted[0])
    for parameter, gradient in zip(discriminator.parameters(), wanted[1:], strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_the_parts_of_the_teacher_that_is_drawn_learn_alone() -> None:
    loss, moment = Meal(), Moment(0, 6, 3, 5)
    parts: Any = loss.parts_for(PAIRINGS, CLASSES)
    parts = parts.double()
    (k,) = loss.consults(moment, 2)
    loss(seen(0, 0), (seen(10, 1), seen(20, 2)), None, TASK, parts, moment).backward()
    assert all(p.grad is not None and p.grad.any() for p in parts[k]["adapters"].parameters())
    assert all(p.grad is not None for p in parts[k].parameters())
    assert all(p.grad is None for p in parts[1 - k].parameters())
