"""Losses against their formulas written naively, and their gradients against autograd on these."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recipelang import catalogue
from recipelang.errors import SettingError
from recipelang.kinds import Moment, Seen
from recipelang.methods.losses.kd import Kd
from recipelang.methods.losses.mis import Mis
from recipelang.methods.losses.task import TaskLoss
from recipelang.methods.tasks.classification import Classification

TASK = Classification()


def softmax(row: list[float], temperature: float = 1.0) -> list[float]:
    top = max(row)
    powers = [math.exp((v - top) / temperature) for v in row]
    return [p / sum(powers) for p in powers]


def cross_entropy(outputs: list[list[float]], labels: list[int], smoothing: float = 0.0) -> float:
    total = 0.0
    for row, label in zip(outputs, labels, strict=True):
        for k, p in enumerate(softmax(row)):
            target = (1 - smoothing) * (k == label) + smoothing / len(row)
            total -= target * math.log(p)
    return total / len(labels)


def divergence(teacher: list[list[float]], student: list[list[float]], temperature: float = 1.0) -> float:
    total = 0.0
    for t, s in zip(teacher, student, strict=True):
        for p, q in zip(softmax(t, temperature), softmax(s, temperature), strict=True):
            total += p * (math.log(p) - math.log(q))
    return total / len(teacher)


@st.composite
def batches(draw: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Outputs of student, healthy and recovered, and labels."""
    count, classes, seed = draw(st.integers(1, 6)), draw(st.integers(2, 7)), draw(st.integers(0, 10**6))
    scale = draw(st.sampled_from([0.1, 1.0, 10.0]))
    random = torch.Generator().manual_seed(seed)
    outputs = [scale * torch.randn(count, classes, generator=random, dtype=torch.float64) for _ in range(3)]
    return outputs[0], outputs[1], outputs[2], torch.randint(classes, (count,), generator=random)


def gradient(loss: Any, outputs: torch.Tensor) -> torch.Tensor:
    leaf = outputs.clone().requires_grad_()
    return torch.autograd.grad(loss(leaf), leaf)[0]


@given(batches(), st.sampled_from([0.0, 0.1]))
def test_task_is_the_cross_entropy(batch: Any, smoothing: float) -> None:
    outputs, _, _, labels = batch
    got = TaskLoss().compare(outputs, labels, (), Classification(smoothing))
    assert float(got) == pytest.approx(cross_entropy(outputs.tolist(), labels.tolist(), smoothing), rel=1e-9)


@given(batches(), st.sampled_from([1.0, 2.0, 4.0]), st.sampled_from([0.0, 0.3, 0.9, 1.0]))
def test_kd_is_hintons_formula(batch: Any, temperature: float, alpha: float) -> None:
    outputs, teacher, _, labels = batch
    got = Kd(temperature, alpha).compare(outputs, labels, (teacher,), TASK)
    soft = temperature**2 * divergence(teacher.tolist(), outputs.tolist(), temperature)
    wanted = alpha * soft + (1 - alpha) * cross_entropy(outputs.tolist(), labels.tolist())
    assert float(got) == pytest.approx(wanted, rel=1e-7, abs=1e-10)


@given(batches(), st.sampled_from([1.0, 4.0]), st.sampled_from([0.3, 1.0]))
def test_kd_of_an_ensemble_has_the_gradient_of_the_mean_of_its_probabilities(
    batch: Any, temperature: float, alpha: float
) -> None:
    outputs, healthy, recovered, labels = batch
    loss = Kd(temperature, alpha)
    each = [loss.compare(outputs, labels, (teacher,), TASK) for teacher in (healthy, recovered)]
    torch.testing.assert_close(loss.compare(outputs, labels, (healthy, recovered), TASK), sum(each) / 2)

    mixed = torch.stack([(teacher / temperature).softmax(1) for teacher in (healthy, recovered)]).mean(0)

    def naive(student: torch.Tensor) -> torch.Tensor:
        soft = -(mixed * (student / temperature).log_softmax(1)).sum(1).mean()
        hard = torch.nn.functional.cross_entropy(student, labels)
        return alpha * temperature**2 * soft + (1 - alpha) * hard

    mine = gradient(lambda o: loss.compare(o, labels, (healthy, recovered), TASK), outputs)
    torch.testing.assert_close(mine, gradient(naive, outputs), rtol=1e-7, atol=1e-9)


@given(batches(), st.sampled_from([(1.0, 10.0, 50.0), (1.0, 1.5, 3.0), (0.0, 0.0, 2.0)]), st.booleans())
def test_mis_is_the_papers_sum(batch: Any, weights: tuple[float, float, float], supervised: bool) -> None:
    outputs, healthy, recovered, labels = batch
    got = Mis(*weights, supervised).compare(outputs, labels, (healthy, recovered), TASK)
    target = labels.tolist() if supervised else [row.index(max(row)) for row in healthy.tolist()]
    wanted = (
        weights[0] * cross_entropy(outputs.tolist(), target)
        + weights[1] * divergence(healthy.tolist(), outputs.tolist())
        + weights[2] * divergence(recovered.tolist(), outputs.tolist())
    )
    assert float(got) * sum(weights) == pytest.approx(wanted, rel=1e-7, abs=1e-10)


@given(batches())
def test_gradients_are_softmax_differences(batch: Any) -> None:
    """By hand: ∂KL(t‖s)/∂s = (softmax(s) − softmax(t))/B, and T² · ∂KL_T/∂s = T · (softmax(s/T) − softmax(t/T))/B."""
    outputs, healthy, recovered, labels = batch
    count, classes = outputs.shape
    mine, one_hot = outputs.softmax(1), torch.nn.functional.one_hot(healthy.argmax(1), classes)
    kd = gradient(lambda o: Kd(3.0, 1.0).compare(o, labels, (healthy,), TASK), outputs)
    by_hand = 3 * ((outputs / 3).softmax(1) - (healthy / 3).softmax(1)) / count
    torch.testing.assert_close(kd, by_hand, rtol=1e-7, atol=1e-10)
    mis = gradient(lambda o: 61 * Mis().compare(o, labels, (healthy, recovered), TASK), outputs)
    by_hand = ((mine - one_hot) + 10 * (mine - healthy.softmax(1)) + 50 * (mine - recovered.softmax(1))) / count
    torch.testing.assert_close(mis, by_hand, rtol=1e-7, atol=1e-9)


def test_a_student_that_agrees_has_nothing_to_learn_from_its_teachers() -> None:
    outputs = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(5, dtype=torch.int64)
    assert float(Kd(2.0, 1.0).compare(outputs, labels, (outputs,), TASK)) == pytest.approx(0, abs=1e-12)
    assert float(Mis(0.0, 1.0, 1.0).compare(outputs, labels, (outputs, outputs), TASK)) == pytest.approx(0, abs=1e-12)


def test_mis_without_any_weight_is_refused() -> None:
    with pytest.raises(SettingError):
        Mis(0.0, 0.0, 0.0)


COMPARING_OUTPUTS = [n for n in catalogue.names("loss") if "outputs" in catalogue.find("loss", n).compares]  # type: ignore[union-attr]


@pytest.mark.parametrize("name", COMPARING_OUTPUTS)
def test_every_loss_of_outputs_is_finite_where_they_are_sure_of_themselves(name: str) -> None:
    loss: Any = catalogue.find("loss", name)
    outputs = torch.tensor([[100.0, -100.0], [-100.0, 100.0]], requires_grad=True)
    teachers = (torch.tensor([[-100.0, 100.0], [100.0, -100.0]]),) * loss.teachers[1]
    asked = torch.ones(2, dtype=torch.bool) if loss.chooses else None
    seen = tuple(Seen(None, teacher, (), None, asked) for teacher in teachers)
    value = loss()(Seen(None, outputs, (), None), seen, torch.tensor([1, 0]), TASK, loss().parts(()), Moment(0, 2, 1))
    value.backward()
    assert value.isfinite() and outputs.grad is not None and outputs.grad.isfinite().all()
