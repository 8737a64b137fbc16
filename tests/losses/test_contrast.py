"""Contrastive distillation against the authors' formulas, its draws, and its bank."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.kinds import Moment, Pairing, Point, Seen
from recipelang.methods.losses._contrast import among_all, among_other_classes, contrast, memory, remember
from recipelang.methods.losses.crd import Crd
from recipelang.methods.tasks.classification import Classification
from recipelang.methods.tasks.superresolution import SuperResolution

COUNT, WIDTH = 9, 4


def numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bank() -> Any:
    torch.manual_seed(0)
    made = nn.Module()
    memory(made, COUNT, WIDTH)
    return made.double()


def unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True)


def of_the_authors(
    embedded: Tensor, rows: Tensor, samples: list[int], others: list[list[int]], scale: float, temperature: float
) -> tuple[Tensor, float]:
    """One direction of their loss, image by image, and Z."""
    near = [
        [(embedded[b] @ rows[j] / temperature).exp() for j in (sample, *others[b])] for b, sample in enumerate(samples)
    ]
    count, negatives = len(rows), len(others[0])
    if scale <= 0:
        every = [float(value.detach()) for row in near for value in row]
        scale = sum(every) / len(every) * count
    noise, eps, total = negatives / count, 1e-7, torch.zeros((), dtype=torch.float64)
    for own, *rest in near:
        total = total - torch.log(own / scale / (own / scale + noise + eps))
        for other in rest:
            total = total - torch.log(noise / (other / scale + noise + eps))
    return total / len(samples), scale


def test_the_loss_and_its_gradients_are_those_of_the_authors() -> None:
    there, temperature = bank(), 0.3
    samples, others = [4, 0, 7], [[1, 2, 2, 8, 3], [5, 5, 6, 1, 2], [0, 4, 3, 3, 1]]
    leaves = [numbers(n, 3, WIDTH).requires_grad_() for n in (1, 2)]
    references = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    scales = [0.0, 0.0]
    for _ in range(2):  # Z is estimated once
        rows = there.of_teacher.clone(), there.of_student.clone()
        got = contrast(there, *map(unit, leaves), torch.tensor(samples), torch.tensor(others), temperature)
        wanted = torch.zeros((), dtype=torch.float64)
        for n in (0, 1):
            one, scales[n] = of_the_authors(unit(references[n]), rows[n], samples, others, scales[n], temperature)
            wanted = wanted + one
        torch.testing.assert_close(got, wanted)
        remember(there, *map(unit, leaves), torch.tensor(samples), 0.5)
        for leaf, reference in zip(leaves, references, strict=True):
            leaf.grad = reference.grad = None
        got.backward()  # after the bank has changed
        wanted.backward()
        for leaf, reference in zip(leaves, references, strict=True):
            torch.testing.assert_close(leaf.grad, reference.grad)
    torch.testing.assert_close(there.scales, torch.tensor(scales, dtype=torch.float64))


def test_the_bank_follows_the_samples_of_a_batch() -> None:
    there = bank()
    before = there.of_student.clone(), there.of_teacher.clone()
    new = unit(numbers(1, 2, WIDTH)), unit(numbers(2, 2, WIDTH))
    remember(there, *new, torch.tensor([5, 2]), 0.9)
    for rows, old, embedded in zip((there.of_student, there.of_teacher), before, new, strict=True):
        for place, one in zip((5, 2), embedded, strict=True):
            mixed = 0.9 * old[place] + 0.1 * one
            torch.testing.assert_close(rows[place], mixed / mixed.norm())
        others = [n for n in range(COUNT) if n not in (5, 2)]
        assert torch.equal(rows[others], old[others])
    bound = 1 / math.sqrt(WIDTH / 3)
    assert all(float(rows.abs().max()) <= bound for rows in before)


def test_negatives_are_drawn_uniformly_from_the_others() -> None:
    torch.manual_seed(0)
    drawn = among_all(torch.tensor([0, 4, 8]), COUNT, 80_000)
    for sample, row in zip((0, 4, 8), drawn, strict=True):
        times = torch.bincount(row, minlength=COUNT)
        assert times[sample] == 0
        assert all(abs(int(times[n]) - 10_000) < 500 for n in range(COUNT) if n != sample)
    assert among_all(torch.tensor([0]), 1, 3).tolist() == [[0, 0, 0]]


def test_negatives_of_other_classes_are_drawn_uniformly_from_them() -> None:
    torch.manual_seed(0)
    every = torch.tensor([2, 0, 1, 0, -1, 2, 0, 1, 2])  # one is not known yet
    drawn = among_other_classes(torch.tensor([0, 1, 2]), every, 60_000)
    for label, row in zip((0, 1, 2), drawn, strict=True):
        others = [n for n, of in enumerate(every.tolist()) if of != label]
        times = torch.bincount(row, minlength=COUNT)
        assert int(times.sum()) == sum(int(times[n]) for n in others)
        assert all(abs(int(times[n]) - 60_000 / len(others)) < 500 for n in others)
    alone = among_other_classes(torch.tensor([1]), torch.tensor([1, 1, 1]), 100)
    assert set(alone.flatten().tolist()) == {0, 1, 2}


def point(path: str, *shape: int) -> Point:
    return Point(path, shape, 1.0, True, True)


def parts_of(loss: Crd, teachers: int = 1) -> Any:
    torch.manual_seed(0)
    there = tuple(point(f"b{n}", 6, 2, 2) for n in range(teachers))
    return loss.memory((Pairing(point("a", 3, 4, 4), there),), COUNT).double()


def value(loss: Crd, parts: Any, targets: Tensor, task: Any = None, teachers: int = 1) -> Tensor:
    student = Seen(None, None, (numbers(1, 3, 3, 4, 4),), None, samples=torch.tensor([8, 0, 3]))
    taught = tuple(Seen(None, None, (numbers(2 + n, 3, 6, 2, 2),), None) for n in range(teachers))
    found: Tensor = loss(student, taught, targets, task or Classification(), parts, Moment(0, 2, 1))
    return found


def test_crd_embeds_the_means_over_places_and_remembers_them_with_their_classes() -> None:
    loss = Crd(negatives=5, beta=2.0, temperature=0.5, width=WIDTH)
    parts = parts_of(loss, 2)
    assert [tuple(part.of_student.shape) for part in parts] == [(COUNT, WIDTH)] * 2
    before = [(part.of_student.clone(), part.of_teacher.clone()) for part in parts]
    torch.manual_seed(7)
    got = value(loss, parts, torch.tensor([1, 0, 1]), teachers=2)
    torch.manual_seed(7)
    wanted = torch.zeros((), dtype=torch.float64)
    for n, (part, (of_student, of_teacher)) in enumerate(zip(parts, before, strict=True)):
        mine = unit(part.student(numbers(1, 3, 3, 4, 4).mean((2, 3))))
        theirs = unit(part.teacher(numbers(2 + n, 3, 6, 2, 2).mean((2, 3))))
        classes = torch.full((COUNT,), -1)
        classes[[8, 0, 3]] = torch.tensor([1, 0, 1])
        others = among_other_classes(torch.tensor([1, 0, 1]), classes, 5).tolist()
        for embedded, rows in ((mine, of_teacher), (theirs, of_student)):
            wanted = wanted + 2.0 * of_the_authors(embedded, rows, [8, 0, 3], others, 0.0, 0.5)[0] / 2
        assert torch.equal(part.classes, classes)
        torch.testing.assert_close(part.of_student[0], unit((0.5 * of_student[0] + 0.5 * mine[1])[None])[0])
    torch.testing.assert_close(got, wanted)
    got.backward()
    assert all(p.grad is not None and p.grad.any() for p in parts.parameters())


def test_what_negatives_are_drawn_from_follows_the_task() -> None:
    loss = Crd(negatives=5, width=WIDTH)
    parts = parts_of(loss)
    value(loss, parts, torch.rand(3, 1, 4, 4), SuperResolution(2))  # no classes: all other images
    assert (parts[0].classes == -1).all()
    value(Crd(negatives=5, width=WIDTH, among="all"), parts, torch.tensor([1, 0, 1]))
    assert (parts[0].classes == -1).all()
    for mixed in (torch.rand(3, 4), torch.rand(3)):
        with pytest.raises(Refusal, match="a target of this training is not one class") as refused:
            value(loss, parts, mixed)
        assert refused.value.code == "RCP1501"


def test_teacher_and_student_that_agree_on_images_lose_least() -> None:
    """A bank in which every image has a direction of its own: the loss is small where embeddings point there."""
    there = bank()
    there.of_student = there.of_teacher = torch.eye(COUNT, dtype=torch.float64)
    there.scales = torch.full((2,), float(math.exp(1 / 0.1)) * 0.5, dtype=torch.float64)
    samples = torch.arange(COUNT)
    negatives = among_all(samples, COUNT, 50)
    right, wrong = (torch.eye(COUNT, dtype=torch.float64).roll(by, 0) for by in (0, 1))
    fit, misfit = (float(contrast(there, one, one, samples, negatives, 0.1)) for one in (right, wrong))
    assert fit < misfit
