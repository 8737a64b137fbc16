"""Metrics of several labels per sample, against scikit-learn, torchmetrics, finite differences and drawn samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recipelang.catalogue import find
from recipelang.errors import Refusal
from recipelang.measuring.labelled import average_precision, f1, mean_average_precision
from recipelang.measuring.predictions import measured
from recipelang.surgery.tasks import task_named

TASK = task_named("multilabel")


def drawn(seed: int, count: int = 40, labels: int = 6, levels: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Scores with many ties, and labels that depend on them; the last label holds for no sample."""
    random = np.random.default_rng(seed)
    scores = random.integers(0, levels, (count, labels)).astype(np.float32) - levels / 2
    holds = random.random((count, labels)) < 1 / (1 + np.exp(-scores))
    holds[:, -1] = False
    holds[0, :-1] = True
    return scores, holds


def number(metric: str, scores: np.ndarray, holds: np.ndarray, **how: Any) -> Any:
    """A metric, one batch after another."""
    method: Any = find("metric", metric)(**how)  # type: ignore[misc]
    state = method.start(TASK)
    for some in np.array_split(np.arange(len(scores)), 3):
        state = method.add(state, torch.from_numpy(scores[some]), torch.from_numpy(holds[some]).float())
    return method.result(state)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(2, 50))
def test_average_precision_is_that_of_scikit_learn(seed: int, levels: int) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    scores, holds = drawn(seed, levels=levels)
    found = number("map", scores, holds)
    wanted = sklearn.average_precision_score(holds[:, :-1], scores[:, :-1], average="macro")
    assert found.value == pytest.approx(wanted, abs=1e-6)
    assert found.note == "of 5 of 6 labels; of the other, no sample has one"
    assert found.per_sample.mean() == pytest.approx(found.value, abs=1e-5) and found.n == 40
    assert 0 <= found.low <= found.value <= found.high <= 1


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from(["micro", "macro"]), st.sampled_from([0.0, 0.2, 0.5, 0.9]))
def test_f1_is_that_of_scikit_learn(seed: int, average: str, threshold: float) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    scores, holds = drawn(seed)
    scores[:, -1] = -100
    found = number("f1", scores, holds, average=average, threshold=threshold)
    wanted = sklearn.f1_score(
        holds, 1 / (1 + np.exp(-scores.astype(np.float64))) > threshold, average=average, zero_division=np.nan
    )
    assert found.value == pytest.approx(wanted, abs=1e-6)
    assert found.per_sample.mean() == pytest.approx(found.value, abs=1e-5)


def test_both_are_those_of_torchmetrics() -> None:
    functional = pytest.importorskip("torchmetrics.functional.classification")
    scores, holds = drawn(3)
    scores, holds = scores[:, :-1], holds[:, :-1]
    answer, targets = torch.from_numpy(scores).sigmoid(), torch.from_numpy(holds).long()
    wanted = functional.multilabel_average_precision(answer, targets, 5, average="macro")
    assert number("map", scores, holds).value == pytest.approx(float(wanted), abs=1e-6)
    for average in ("micro", "macro"):
        wanted = functional.multilabel_f1_score(answer, targets, 5, threshold=0.4, average=average)
        assert number("f1", scores, holds, average=average, threshold=0.4).value == pytest.approx(float(wanted))


def weighted(scores: np.ndarray, holds: np.ndarray, weights: np.ndarray) -> float:
    """Average precision of weighted samples, by its definition."""
    total = 0.0
    for n in np.flatnonzero(holds):
        ahead = scores >= scores[n]
        total += weights[n] * (weights * ahead * holds).sum() / (weights * ahead).sum()
    return float(total / (weights * holds).sum())


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6))
def test_derivatives_are_those_of_the_weighted_value(seed: int) -> None:
    scores, holds = drawn(seed, count=15, labels=2)
    found = average_precision(scores[:, 0], holds[:, 0])
    one, step = np.ones(15), 1e-6
    assert found.value == pytest.approx(weighted(scores[:, 0], holds[:, 0], one))
    for n in range(15):
        more, less = one + step * (np.arange(15) == n), one - step * (np.arange(15) == n)
        slope = (weighted(scores[:, 0], holds[:, 0], more) - weighted(scores[:, 0], holds[:, 0], less)) / (2 * step)
        assert found.derivatives[n] == pytest.approx(slope, abs=1e-7)
    assert found.derivatives.sum() == pytest.approx(0, abs=1e-9)


def test_intervals_are_as_wide_as_those_of_samples_drawn_again() -> None:
    scores, holds = drawn(1, count=600, levels=40)
    random = np.random.default_rng(0)
    whole = [
        mean_average_precision,
        lambda s, h: f1(s > 0, h, "micro"),
        lambda s, h: f1(s > 0, h, "macro"),
    ]
    for metric in whole:
        found = metric(scores, holds)
        again = []
        for _ in range(200):
            some = random.integers(600, size=600)
            again.append(metric(scores[some], holds[some]).value)
        assert (found.high - found.low) / 2 == pytest.approx(1.96 * np.std(again), rel=0.2)


def test_a_perfect_network_and_one_that_finds_nothing() -> None:
    holds = np.eye(4, dtype=bool)
    sure = np.where(holds, 9.0, -9.0).astype(np.float32)
    for metric in ("map", "f1"):
        assert number(metric, sure, holds).value == 1
    assert number("f1", -np.abs(sure), holds).value == 0
    for average in ("micro", "macro"):
        with pytest.raises(Refusal) as refused:
            number("f1", -np.abs(sure), np.zeros_like(holds), average=average)
        assert refused.value.code == "RCP1004" and "none is found" in refused.value.message
    with pytest.raises(Refusal) as refused:
        number("map", sure, np.zeros_like(holds))
    assert refused.value.code == "RCP1004"


@pytest.mark.parametrize("metric", ["map", "f1", "loss"])
def test_what_cannot_be_measured_is_refused(metric: str) -> None:
    made: Any = find("metric", metric)()  # type: ignore[misc]
    scores = torch.zeros(4, 3)
    for answer, targets, code in (
        (torch.full((4, 3), float("nan")), torch.ones(4, 3), "RCP1003"),
        (scores, torch.full((4, 3), 0.3), "RCP1004"),
        (scores, torch.ones(4, 2), "RCP1004"),
        (scores[:0], torch.ones(0, 3), "RCP1004"),
    ):
        with pytest.raises(Refusal) as refused:
            measured(made, answer, targets, TASK)
        assert refused.value.code == code


def test_the_loss_is_that_of_the_task() -> None:
    scores, targets = torch.randn(7, 4, generator=torch.Generator().manual_seed(0)), torch.eye(7)[:, :4]
    found = measured(find("metric", "loss")(), scores, targets, TASK)  # type: ignore[misc]
    assert found.value == pytest.approx(float(TASK.loss(scores, targets)))
    chances = scores.sigmoid()
    naive = -(targets * chances.log() + (1 - targets) * (1 - chances).log()).mean()
    assert found.value == pytest.approx(float(naive), rel=1e-5)
