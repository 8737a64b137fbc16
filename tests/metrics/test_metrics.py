"""Metrics against scikit-learn, naive formulas, known counts and real files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, log_loss, top_k_accuracy_score
from torch import nn

from recipelang import catalogue
from recipelang.errors import Refusal, SettingError
from recipelang.kinds import Measurement, Scheme
from recipelang.measuring.predictions import correct
from recipelang.measuring.predictions import measured as of_one_batch
from recipelang.measuring.structure import stored_bytes
from recipelang.runtimes.eager import Eager
from recipelang.surgery.network import Network
from recipelang.surgery.restrictions.grid import Grid
from recipelang.surgery.restrictions.mask import Mask
from recipelang.surgery.tasks import task_named

GENERATOR = torch.Generator().manual_seed(0)
OUTPUTS = torch.randn(200, 8, generator=GENERATOR)
LABELS = torch.randint(8, (200,), generator=GENERATOR)


def metric(name: str, **values: Any) -> Any:
    return catalogue.find("metric", name)(**values)


def measured(name: str, answer: torch.Tensor, targets: torch.Tensor) -> Measurement:
    """A metric of predictions, all of them in one batch."""
    return of_one_batch(metric(name), answer, targets, task_named(metric(name).tasks[0]))


def network(module: nn.Module, shape: tuple[int, int, int] = (3, 32, 32)) -> Network:
    return Network(module.eval(), {}, shape)


def of_structure(name: str, module: nn.Module, shape: tuple[int, int, int] = (3, 32, 32)) -> Measurement:
    return metric(name).measure(module.eval(), network(module, shape), shape)


@pytest.mark.parametrize("name", catalogue.names("metric"))
def test_every_metric_says_what_it_is(name: str) -> None:
    found = catalogue.find("metric", name)
    assert found.role in ("cost", "quality", "property") and found.better in ("lower", "higher")
    assert found.source in ("structure", "predictions", "clock", "execution")
    for heading in ("Formula:", "Shapes:", "When it misleads:", "Source:"):
        assert heading in catalogue.card(found), heading


def test_top1_is_scikit_learns() -> None:
    found = measured("top1", OUTPUTS, LABELS)
    assert found.value == pytest.approx(accuracy_score(LABELS, OUTPUTS.argmax(1)))
    expected = binomtest(round(found.value * 200), 200).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.n, found.interval) == (200, "Wilson")
    assert found.per_sample.dtype == np.float32 and found.per_sample.mean() == pytest.approx(found.value)


def test_top5_is_scikit_learns() -> None:
    assert measured("top5", OUTPUTS, LABELS).value == pytest.approx(
        top_k_accuracy_score(LABELS, OUTPUTS, k=5, labels=range(8))
    )


def test_loss_is_scikit_learns() -> None:
    found = measured("loss", OUTPUTS, LABELS)
    probabilities = OUTPUTS.double().softmax(1).numpy()
    assert found.value == pytest.approx(log_loss(LABELS, probabilities, labels=range(8)), rel=1e-5)
    assert found.per_sample.shape == (200,) and found.low < found.value < found.high


@pytest.mark.parametrize("name", ["top1", "top5", "loss"])
def test_batches_give_what_the_whole_split_gives(name: str) -> None:
    method, task = metric(name), task_named(metric(name).tasks[0])
    state = method.start(task)
    for answer, targets in zip(OUTPUTS.split(7), LABELS.split(7), strict=True):
        state = method.add(state, answer, targets)
    found, whole = method.result(state), measured(name, OUTPUTS, LABELS)
    assert found == whole and np.array_equal(found.per_sample, whole.per_sample)


@settings(deadline=None)
@given(st.data(), st.integers(1, 6), st.integers(1, 6))
def test_ties_go_to_the_lower_class(data: st.DataObject, classes: int, k: int) -> None:
    """Against sorting by hand, on outputs that are full of ties."""
    rows = data.draw(st.lists(st.lists(st.integers(0, 2), min_size=classes, max_size=classes), min_size=1, max_size=5))
    for row in rows:
        order = sorted(range(classes), key=lambda c: (-row[c], c))
        for label in range(classes):
            assert bool(correct(torch.tensor([row]).float(), torch.tensor([label]), k)) == (label in order[:k])


def test_a_network_that_answers_a_constant_is_not_rewarded() -> None:
    assert measured("top1", torch.zeros(10, 5), torch.full((10,), 4)).value == 0


@pytest.mark.parametrize("name", ["top1", "top5", "loss"])
def test_outputs_that_are_no_numbers_are_refused(name: str) -> None:
    broken = OUTPUTS.clone()
    broken[3, 2], broken[7, 1] = math.nan, math.inf
    with pytest.raises(Refusal, match="2 of 200") as refusal:
        measured(name, broken, LABELS)
    assert refusal.value.code == "RCP1003"


@pytest.mark.parametrize("name", ["top1", "top5", "loss"])
@pytest.mark.parametrize(
    ("outputs", "labels"),
    [
        (OUTPUTS, LABELS + 1),
        (OUTPUTS[:0], LABELS[:0]),
        (OUTPUTS[:5], LABELS),
        (OUTPUTS[:, :, None], LABELS),
    ],
)
def test_outputs_that_do_not_fit_the_labels_are_refused(name: str, outputs: torch.Tensor, labels: torch.Tensor) -> None:
    with pytest.raises(Refusal) as refusal:
        measured(name, outputs, labels)
    assert refusal.value.code == "RCP1004"


def test_top5_of_three_classes_is_refused() -> None:
    with pytest.raises(Refusal, match="`top5` needs 5 classes, and the network distinguishes 3") as refusal:
        measured("top5", OUTPUTS[:, :3], LABELS.clamp(max=2))
    assert refusal.value.code == "RCP1002"


def test_params_count_shared_ones_once() -> None:
    shared = nn.Linear(4, 4)
    assert of_structure("params", nn.Sequential(shared, shared, nn.BatchNorm1d(4))).value == 4 * 4 + 4 + 8


@pytest.mark.parametrize("name", ["resnet18", "shufflenet_v2_x0_5"])
def test_size_is_that_of_the_file(name: str, tmp_path: Path) -> None:
    module = torchvision.models.get_model(name).half()
    safetensors.torch.save_file(torchvision.models.get_model(name).state_dict(), tmp_path / "model.safetensors")
    assert of_structure("size", module).value == (tmp_path / "model.safetensors").stat().st_size


def test_size_stores_shared_tensors_once() -> None:
    shared = nn.Linear(64, 64, bias=False)
    assert stored_bytes(nn.Sequential(shared, shared)) == stored_bytes(nn.Sequential(shared))


def test_zeros_do_not_shrink_the_file_and_are_counted_as_sparsity() -> None:
    module = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, groups=4), nn.Linear(6, 2), nn.BatchNorm2d(4))
    before = stored_bytes(module)
    with torch.no_grad():
        module[0].weight[:, ::2] = 0
        module[1].weight.zero_()  # depthwise: no pattern can act on it, and it counts all the same
        module[2].bias.zero_()
    assert stored_bytes(module) == before
    measured = of_structure("sparsity", module, (4, 10, 10))
    assert measured.value == pytest.approx((72 + 36) / (144 + 36 + 12))
    assert measured.note == "of 192 weights"
    assert of_structure("sparsity", nn.ReLU()).value == 0


def test_size_counts_the_bits_of_grids() -> None:
    """By hand: codes without gaps, 4 bytes a scale, 1 a zero point."""
    module = nn.Sequential(nn.Linear(10, 6), nn.ReLU(), nn.Linear(6, 3))
    plain = network(module, (10, 1, 1))
    rows = Scheme(3, signed=True, symmetric=True, axis=0)
    grids = {
        "0.weight": Grid.between(-torch.ones(6), torch.ones(6), rows),
        "input": Grid.between(torch.tensor(-1.0), torch.tensor(1.0), Scheme(8)),
    }
    before = metric("size").measure(module, plain, plain.input_shape).value
    after = metric("size").measure(module, plain.restricted(grids), plain.input_shape).value
    assert before - after == 60 * 4 - (math.ceil(60 * 3 / 8) + 6 * 5) - 5
    mask = plain.restricted({"0.weight": Mask("some", torch.ones(6, 10, dtype=torch.bool))})
    assert metric("size").measure(module, mask, plain.input_shape).value == before


def test_latency_has_a_ratio_and_an_interval() -> None:
    module = nn.Conv2d(3, 4, 3).eval()
    timed = Eager(network(module), module)
    measured = metric("latency", batch=2).measure(timed, timed, (3, 8, 8))
    assert measured.note == "" and measured.ratio == 1 and 0 < measured.low <= measured.value <= measured.high < 1


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cpu:0", "mps", ""])
def test_an_unknown_device_is_a_setting_error(device: str) -> None:
    with pytest.raises(SettingError) as error:
        metric("latency", device=device)
    assert error.value.field == "device" and device in error.value.message
