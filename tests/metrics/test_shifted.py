"""Brier score and calibration error against naive formulas, and qualities on blurred and noisy images."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d

from recipelang import catalogue
from recipelang.errors import Refusal
from recipelang.images.disturbed import blurred, disturbed
from recipelang.kinds import Dataset, Shift
from recipelang.measuring.calibration import expected_error
from recipelang.measuring.predictions import measured
from recipelang.surgery.tasks import task_named

GENERATOR = torch.Generator().manual_seed(0)
OUTPUTS = torch.randn(300, 5, generator=GENERATOR) * 3
LABELS = torch.randint(5, (300,), generator=GENERATOR)
TASK = task_named("classification")


def value(name: str, **settings: Any) -> Any:
    return measured(catalogue.find("metric", name)(**settings), OUTPUTS, LABELS, TASK)


def digits() -> Dataset:
    return catalogue.find("data", "digits")().open(Path)


def naive_brier(outputs: torch.Tensor, labels: torch.Tensor) -> float:
    total = 0.0
    for row, label in zip(outputs.double().tolist(), labels.tolist(), strict=True):
        norm = sum(math.exp(y) for y in row)
        total += sum((math.exp(y) / norm - (c == label)) ** 2 for c, y in enumerate(row))
    return total / len(labels)


def naive_ece(confidence: list[float], right: list[int], bins: int) -> float:
    total = 0.0
    for b in range(bins):
        inside = [n for n, p in enumerate(confidence) if b / bins < p <= (b + 1) / bins or (b == 0 and p == 0)]
        if inside:
            accuracy = sum(right[n] for n in inside) / len(inside)
            total += len(inside) / len(right) * abs(accuracy - sum(confidence[n] for n in inside) / len(inside))
    return total


def test_brier_is_the_formula() -> None:
    found = value("brier")
    assert found.value == pytest.approx(naive_brier(OUTPUTS, LABELS), rel=1e-5)
    assert found.per_sample is not None and len(found.per_sample) == 300 and found.low < found.value < found.high


def test_brier_at_best_at_worst_and_of_equal_probabilities() -> None:
    brier = catalogue.find("metric", "brier")()
    sure = torch.tensor([[100.0, 0, 0, 0], [0, 100.0, 0, 0]])
    assert measured(brier, sure, torch.tensor([0, 1]), TASK).value == pytest.approx(0, abs=1e-6)
    assert measured(brier, sure, torch.tensor([1, 0]), TASK).value == pytest.approx(2)
    assert measured(brier, torch.zeros(2, 4), torch.tensor([1, 0]), TASK).value == pytest.approx(1 - 1 / 4)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 16), st.integers(0, 1)), min_size=1, max_size=40),
    st.sampled_from([1, 2, 4, 8]),
)
def test_ece_is_the_formula(samples: list[tuple[int, int]], bins: int) -> None:
    confidence = np.array([k / 16 for k, _ in samples], np.float32)  # also on the borders of the intervals
    right = np.array([hit for _, hit in samples], np.float32)
    found = expected_error(confidence, right, bins)
    assert found.value == pytest.approx(naive_ece(confidence.tolist(), right.astype(int).tolist(), bins), abs=1e-9)
    assert found.low <= found.value <= found.high


def test_ece_of_scores_is_that_of_their_confidences() -> None:
    chances = OUTPUTS.softmax(1)
    right = (chances.argmax(1) == LABELS).int().tolist()
    assert value("ece").value == pytest.approx(naive_ece(chances.amax(1).tolist(), right, 15), abs=1e-6)
    assert value("ece", bins=1).value == pytest.approx(abs(np.mean(right) - float(chances.amax(1).mean())), abs=1e-6)
    assert value("ece").interval == "bootstrap of 300 samples"


def test_a_blur_is_scipys_gaussian() -> None:
    images = torch.rand(2, 3, 12, 10, generator=GENERATOR)
    expected = images.numpy().astype("float64")
    for axis in (2, 3):
        expected = gaussian_filter1d(expected, 0.9, axis=axis, mode="mirror", radius=3)
    np.testing.assert_allclose(blurred(images, 0.9).numpy(), expected, atol=1e-5)


def test_noise_has_its_deviation_and_stays_within_images() -> None:
    plain, data = digits(), disturbed(digits(), Shift(noise=0.1))
    prepared = plain.preprocessing
    assert prepared is not None
    mean, std = torch.tensor(prepared.mean).view(-1, 1, 1), torch.tensor(prepared.std).view(-1, 1, 1)
    before, after = (torch.cat([batch.inputs for batch in some.batches("test")]) * std + mean for some in (plain, data))
    assert after.min() >= -1e-6 and after.max() <= 1 + 1e-6
    inside = (before > 0.4) & (before < 0.6)
    assert (after - before)[inside].std().item() == pytest.approx(0.1, rel=0.05)
    assert [b.targets.tolist() for b in plain.batches("test")] == [b.targets.tolist() for b in data.batches("test")]


@pytest.mark.parametrize("shift", [Shift(noise=0.2), Shift(blur=0.9), Shift(blur=0.5, noise=0.05)])
def test_the_same_images_in_batches_of_any_size_at_each_call(shift: Shift) -> None:
    data = disturbed(digits(), shift)
    few, many, again = (torch.cat([b.inputs for b in data.batches("test", batch=n)]) for n in (7, 100, 7))
    torch.testing.assert_close(few, many, rtol=0, atol=1e-6)
    assert torch.equal(few, again)


def test_another_shift_is_another_data_set() -> None:
    shifts = [Shift(), Shift(blur=1), Shift(noise=0.5), Shift(blur=1, noise=0.5)]
    assert len({disturbed(digits(), shift).fingerprint for shift in shifts}) == 4


def test_stored_numbers_of_undisturbed_images_keep_their_keys() -> None:
    from recipelang.plan import canonical

    assert canonical(catalogue.find("metric", "top1")()) == {"is": "metric.top1"}
    assert canonical(catalogue.find("metric", "top1")(blur=0.9))["blur"] == 0.9


@pytest.mark.parametrize(
    ("change", "shift", "says"),
    [
        ({}, Shift(blur=3), "write `blur=2.3` or less"),
        ({"input_shape": (128,)}, Shift(noise=0.1), "only images"),
        ({"preprocessing": None}, Shift(noise=0.1), "scale"),
    ],
)
def test_what_cannot_be_disturbed_is_refused(change: dict[str, Any], shift: Shift, says: str) -> None:
    class Other:
        def __getattr__(self, name: str) -> Any:
            return change[name] if name in change else getattr(digits(), name)

    with pytest.raises(Refusal) as refused:
        disturbed(Other(), shift)  # type: ignore[arg-type]
    assert refused.value.code == "RCP1016" and says in f"{refused.value.message} {refused.value.help}"
