"""Validation during a training: the number that a pass afterwards gives, at little cost, and without a trace."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from killing import Killed, kill_after
from torch import nn

from recipelang.errors import Refusal
from recipelang.images.dataset import ImageDataset
from recipelang.images.view import Derived
from recipelang.kinds import Scheme
from recipelang.methods.companions.l0 import L0
from recipelang.methods.companions.slimming import Slimming
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Duration, Training
from recipelang.surgery.network import Network
from recipelang.surgery.restrictions.grid import Grid
from recipelang.surgery.simulated import running
from recipelang.training import loop
from recipelang.training.loop import FitRecord, fit
from recipelang.training.validating import FEWEST, SHARE, validating
from recipelang.training.windows import Window

TASK = Classification()
ONE = torch.tensor(2.0)


@dataclass(frozen=True)
class More(Derived):
    """A data set with a validation split of another size: its training images without augmentation, again and again."""

    many: int

    fingerprint = "more"

    def size(self, split: str) -> int:
        return self.many if split == "val" else self.data.size(split)

    def batches(self, split: str, **how: Any) -> Any:
        if split != "val":
            yield from self.data.batches(split, **how)
            return
        left = min(how.get("samples") or self.many, self.many)
        for images, labels in itertools.cycle(self.data.batches("train")):
            yield images[:left], labels[:left]
            if (left := left - len(labels)) <= 0:
                return


def trained(
    network: Network, data: Any, silent: Any, epochs: int = 3, companions: Any = (), **how: Any
) -> tuple[Network, FitRecord]:
    training = Training(Duration(epochs), Sgd(0.05, momentum=0.9), companions=companions)
    how = {"validate": True, **how}
    return fit(network, data, training, task=TASK, seed=3, progress=silent(), **how)


def by_hand(network: Network, data: Any, samples: int) -> tuple[float, float]:
    """Mean loss and accuracy over the samples, in one batch."""
    found = [(images, labels) for images, labels in data.batches("val", samples=samples, seed=3)]
    images, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
    with torch.no_grad():
        scores = running(network).eval()(images)
    return float(nn.functional.cross_entropy(scores, labels)), float((scores.argmax(1) == labels).float().mean())


@pytest.mark.parametrize("grids", [False, True])
def test_the_last_point_is_what_a_pass_over_the_trained_network_gives(
    network: Network, data: ImageDataset, silent: Any, grids: bool
) -> None:
    more = More(data, 200)
    if grids:
        low = Grid.between(-ONE, ONE, Scheme(3))
        network = network.restricted({"input": low, "0.weight": replace(low, scheme=Scheme(3))})
    after, record = trained(network, more, silent)
    row = record.history[-1]["validation"]
    loss, accuracy = by_hand(after, more, row["n"])
    assert row["loss"] == pytest.approx(loss, rel=1e-4) and row["score"] == pytest.approx(accuracy)
    assert (row["name"], row["better"], record.unvalidated) == ("accuracy", "higher", "")


def test_what_is_trained_is_the_same_bytes(network: Network, data: ImageDataset, silent: Any) -> None:
    """Dropout draws numbers and BatchNorm averages: neither may notice that the network was validated."""
    one, beside = trained(network, More(data, 200), silent), trained(network, More(data, 200), silent, validate=False)
    for mine, theirs in zip(one[0].module.state_dict().values(), beside[0].module.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
    without = [{name: value for name, value in row.items() if name != "validation"} for row in one[1].history]
    assert without == list(beside[1].history) and len(without) < 4


def test_a_network_that_counts_its_calls_does_not_notice(data: ImageDataset, silent: Any) -> None:
    class Counting(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Flatten(), nn.Linear(192, 3))
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: Any) -> Any:
            self.calls += 1
            return super().forward(x)

    counting = Network(Counting(), {}, (3, 8, 8), classes=("a", "b", "c"))
    calls = [
        float(trained(counting, More(data, 90), silent, validate=asked)[0].module.get_buffer("calls"))
        for asked in (True, False)
    ]
    assert calls[0] == calls[1] > 0


@pytest.mark.parametrize("many", [1, 10, 200, 5000])
@pytest.mark.parametrize("epoch", [16, 64, 500, 40_000])
def test_it_costs_a_share_of_the_training(data: ImageDataset, many: int, epoch: int) -> None:
    how = validating(More(data, many), TASK, (), epoch, "cpu", 0)
    assert 0 < how.samples <= many and (how.samples == many or how.samples >= min(FEWEST, many))
    assert how.samples <= SHARE * epoch * how.every + 1
    points = sum(how.due(step, 4, 400) for step in range(1, 401))  # a hundred epochs
    assert points >= 1 and (points - 1) * how.samples <= SHARE * epoch * 100 + how.samples


def test_larger_inputs_count_for_more(data: ImageDataset) -> None:
    how = validating(More(data, 1000), TASK, (), 1000, "cpu", 0)
    assert how.elements == pytest.approx(SHARE * 1000 * 3 * 8 * 8)


def test_the_samples_are_the_same_at_each_point(network: Network, data: ImageDataset, silent: Any) -> None:
    _, record = trained(network, More(data, 200), silent, epochs=30)
    rows = [row["validation"] for row in record.history if "validation" in row]
    assert len(rows) > 1 and len({row["n"] for row in rows}) == 1 and "validation" in record.history[-1]


def test_a_killed_training_validates_as_one_that_was_not(
    network: Network, data: ImageDataset, silent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    more = More(data, 200)
    whole = trained(network, more, silent, epochs=20)
    path = tmp_path / "checkpoint"
    with pytest.raises(Killed):
        trained(network, more, lambda: silent(kill_after(39)), epochs=20, checkpoint=path)
    again = trained(network, more, silent, epochs=20, checkpoint=path)
    assert again[1].resumed_at > 0 and again[1].history == whole[1].history


def test_windows_validate_at_the_ends_of_epochs_only(network: Network, data: ImageDataset, silent: Any) -> None:
    more, at = More(data, 64), replace(Training(Duration(6, "steps"), Sgd(0.05)))
    how: Any = {"task": TASK, "seed": 3, "progress": silent(), "validate": True}
    _, first = fit(network, more, at, window=Window(0, 12), **how)
    _, rest = fit(network, more, at, window=Window(6, 12), **how)
    assert all("validation" not in row for row in first.history[1:])
    assert "validation" in rest.history[-1]


def test_why_there_is_none(network: Network, data: ImageDataset, silent: Any) -> None:
    _, record = trained(network, More(data, 0), silent, epochs=1)
    assert "has no validation split" in record.unvalidated and "validation" not in record.history[0]
    assert validating(data, TASK, (L0(),), 64, "cpu", 0).why_not.startswith("`l0` decides")
    assert not validating(More(data, 5), TASK, (Slimming(1e-4),), 64, "cpu", 0).why_not


def test_a_refusal_is_told_and_the_training_goes_on(network: Network, data: ImageDataset, silent: Any) -> None:
    class Odd(More):
        def batches(self, split: str, **how: Any) -> Any:
            if split == "val":
                raise Refusal("RCP0812", "these images are odd")
            return self.data.batches(split, **how)

    _, record = trained(network, Odd(data, 90), silent, epochs=1)
    assert record.unvalidated == "these images are odd" and record.history[0]["loss"] > 0


def test_a_smoke_run_does_not_validate(network: Network, data: ImageDataset, silent: Any) -> None:
    _, record = trained(network, More(data, 90), silent, smoke=True)
    assert "validation" not in record.history[-1] and record.unvalidated == ""
