"""The task `multilabel`, against its formulas."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recipelang.kinds import Batch, Labels, Moment
from recipelang.methods.companions.mixup import Mixup
from recipelang.methods.losses.kd import Kd
from recipelang.methods.losses.mis import Mis
from recipelang.methods.tasks.multilabel import MultiLabel


def outputs(seed: int, samples: int = 5, labels: int = 4) -> torch.Tensor:
    return 3 * torch.randn(samples, labels, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from([0.25, 1.0, 7.5]))
def test_the_loss_is_the_formula(seed: int, positive: float) -> None:
    scores, targets = outputs(seed).double(), (outputs(seed + 1) > 0).double()
    held = scores.sigmoid()
    naive = -(positive * targets * held.log() + (1 - targets) * (1 - held).log()).mean()
    assert float(MultiLabel(positive).loss(scores, targets)) == pytest.approx(float(naive))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6))
def test_the_divergence_is_that_of_bernoulli_variables(seed: int) -> None:
    student, teacher = outputs(seed).double().requires_grad_(), outputs(seed + 1).double()
    bernoulli = torch.distributions.Bernoulli
    wanted = torch.distributions.kl_divergence(bernoulli(logits=teacher), bernoulli(logits=student)).mean()
    found = MultiLabel().divergence(student, teacher)
    assert float(found.detach()) == pytest.approx(float(wanted.detach()))
    gradient = torch.autograd.grad(found, student)[0]
    torch.testing.assert_close(gradient, (student.sigmoid() - teacher.sigmoid()).detach() / student.numel())


def test_the_divergence_of_certain_answers_is_finite() -> None:
    sure = torch.tensor([[1e4, -1e4]])
    assert float(MultiLabel().divergence(sure, sure)) == 0
    assert float(MultiLabel().divergence(-sure, sure)) == pytest.approx(1e4)


def test_the_score_is_f1_of_each_sample() -> None:
    answer = torch.tensor([[1.0, 1.0, -1.0], [-1.0, -1.0, -1.0], [-1.0, -1.0, -1.0], [1.0, -1.0, -1.0]])
    targets = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    name, total = MultiLabel().score(answer, targets)
    assert name == "sample_f1" and float(total) == pytest.approx(2 / 3 + 1 + 0 + 1)
    assert torch.equal(MultiLabel().labels(answer), (answer > 0).float())


def test_distillation_softens_each_label() -> None:
    student, teacher, targets = outputs(0), outputs(1), (outputs(2) > 0).float()
    task, bernoulli = MultiLabel(), torch.distributions.Bernoulli
    soft = torch.distributions.kl_divergence(bernoulli(logits=teacher / 4), bernoulli(logits=student / 4)).mean()
    found = Kd().for_task("multilabel")
    assert found.T == 4
    wanted = 0.9 * 16 * soft + 0.1 * task.loss(student, targets)
    torch.testing.assert_close(found.compare(student, targets, (teacher,), task), wanted)


def test_minimally_invasive_surgery_learns_what_healthy_finds() -> None:
    student, healthy, recovered, targets = outputs(0), outputs(1), outputs(2), outputs(3) > 0
    task = MultiLabel()
    wanted = task.loss(student, (healthy > 0).float()) + 10 * task.divergence(student, healthy)
    wanted = (wanted + 50 * task.divergence(student, recovered)) / 61
    torch.testing.assert_close(Mis().compare(student, targets, (healthy, recovered), task), wanted)


def test_mixtures_have_shares_of_each_label() -> None:
    images, targets = torch.randn(6, 1, 4, 4), (outputs(4, 6) > 0).float()
    labels = Labels(("a", "b", "c", "d"))
    torch.manual_seed(0)
    mixed = Mixup(1.0).batch(None, Batch(images, targets), labels, None, Moment(0, 10, 5))
    torch.manual_seed(0)
    share = float(torch.distributions.Beta(1.0, 1.0).sample())
    order = torch.randperm(6)
    torch.testing.assert_close(mixed.targets, share * targets + (1 - share) * targets[order])
    scores, task = outputs(5, 6), MultiLabel()
    both = share * task.loss(scores, targets) + (1 - share) * task.loss(scores, targets[order])
    torch.testing.assert_close(task.loss(scores, mixed.targets), both)
