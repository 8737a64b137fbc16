"""A training in windows: one course of rates, companions and images, whatever happens to the network between them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from killing import Killed, kill_after
from torch import nn

from recipelang.errors import Refusal
from recipelang.images.dataset import ImageDataset
from recipelang.kinds import Companion, Moment
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.ramps.linear import Linear
from recipelang.methods.ramps.multistep import Multistep
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Duration, Training
from recipelang.surgery.network import Network
from recipelang.training import loop
from recipelang.training.history import FitRecord
from recipelang.training.loop import fit
from recipelang.training.windows import Window, one_history, steps_of, steps_of_epoch

TASK = Classification()
TOTAL = 12  # steps, 4 to an epoch
moments: list[Moment] = []


@dataclass(frozen=True)
class Looking(Companion):
    """Writes down when it is asked."""

    def begin(self, network: Network, moment: Moment) -> nn.Module | None:
        moments.append(moment)
        return None

    def before_step(self, network: Network, state: Any, moment: Moment) -> None:
        moments.append(moment)


def windowed(
    network: Network, data: ImageDataset, silent: Any, training: Training, cuts: list[int], **how: Any
) -> tuple[Network, list[tuple[int, FitRecord]]]:
    """Train one window after another."""
    records = []
    for start, stop in zip([0, *cuts], [*cuts, TOTAL], strict=True):
        part = replace(training, duration=Duration(stop - start, "steps"))
        window = Window(start, TOTAL)
        network, record = fit(network, data, part, task=TASK, progress=silent(), seed=3, window=window, **how)
        records.append((start, record))
    return network, records


def test_windows_without_momentum_and_dropout_are_the_training_in_one(
    another: Any, data: ImageDataset, silent: Any
) -> None:
    """The learning rate falls over all of it, and the images come in the order of one training, cut anywhere."""
    network = another(dropout=0.0)
    plain = Training(Duration(3), Sgd(Linear(0.2, to=0.0), momentum=0.0), companions=(Looking(),))
    moments.clear()
    whole, record = fit(network, data, plain, task=TASK, progress=silent(), seed=3, precision="float32")
    expected = [Moment(step, TOTAL, 4, seed=3) for step in range(TOTAL)]
    assert moments == [expected[0], *expected]
    moments.clear()
    parts, records = windowed(network, data, silent, plain, [2, 7, 8], precision="float32")
    begun = {0, 2, 7, 8}  # each window begins its companions, at its first step
    assert moments == [m for m in expected for _ in range(2 if m.step in begun else 1)]
    for name, tensor in whole.module.state_dict().items():
        assert torch.equal(parts.module.state_dict()[name], tensor), name
    assert [r.steps for _, r in records] == [2, 5, 1, 4]
    for mine, theirs in zip(one_history(records, 4), record.history, strict=True):
        assert mine == pytest.approx(theirs)


def test_momentum_begins_with_each_window(another: Any, data: ImageDataset, silent: Any) -> None:
    network = another(dropout=0.0)
    training = Training(Duration(3), Sgd(0.1, momentum=0.9))
    whole, _ = fit(network, data, training, task=TASK, progress=silent(), seed=3, precision="float32")
    parts, _ = windowed(network, data, silent, training, [5], precision="float32")
    first, _ = windowed(network, data, silent, training, [], precision="float32")
    assert torch.equal(first.module[0].weight, whole.module[0].weight)
    assert not torch.equal(parts.module[0].weight, whole.module[0].weight)


def test_each_window_has_random_numbers_of_its_own(another: Any, data: ImageDataset, silent: Any) -> None:
    """Dropout: with one seed for all, the masks of the first step would come again in every window."""
    drawn: list[torch.Tensor] = []

    class Noting(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training:
                drawn.append(torch.rand(3))
            return x

    network = another(dropout=0.0)
    network.module[3] = Noting()
    windowed(network, data, silent, Training(Duration(3), Sgd(0.1)), [4, 8])
    firsts = [tuple(drawn[n].tolist()) for n in (0, 4, 8)]
    assert len(set(firsts)) == 3


def test_killed_in_a_window_and_the_same_bytes(
    network: Network, data: ImageDataset, silent: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    part = Training(Duration(5, "steps"), Sgd(Linear(0.2, to=0.0)))
    how: Any = {"task": TASK, "seed": 4, "window": Window(5, TOTAL)}
    whole, record = fit(network, data, part, progress=silent(), **how)
    with pytest.raises(Killed):
        fit(network, data, part, progress=silent(kill_after(8)), checkpoint=tmp_path / "c", **how)
    again, record_again = fit(network, data, part, progress=silent(), checkpoint=tmp_path / "c", **how)
    assert record_again.resumed_at == 7 and record_again.history == record.history
    for name, tensor in whole.tensors().items():
        assert torch.equal(again.tensors()[name], tensor), name
    other = {**how, "window": Window(4, TOTAL)}
    assert fit(network, data, part, progress=silent(), checkpoint=tmp_path / "c", **other)[1].resumed_at == 0


def test_ramps_are_compared_with_the_whole_training(network: Network, data: ImageDataset, silent: Any) -> None:
    part = Training(Duration(2, "steps"), Sgd(Multistep(0.1, at=(2,))))
    fit(network, data, part, task=TASK, seed=0, progress=silent(), window=Window(0, TOTAL))
    with pytest.raises(Refusal) as late:
        fit(network, data, part, task=TASK, seed=0, progress=silent(), window=Window(0, 8))
    assert late.value.code == "RCP0312"


def test_the_steps_of_a_training(data: ImageDataset) -> None:
    assert [steps_of_epoch(data, Training(Duration(1), Sgd()), n) for n in (None, 40, 7)] == [4, 2, 1]
    assert steps_of(Duration(2.5), 4) == 10 and steps_of(Duration(7, "steps"), 4) == 7
    assert steps_of(Duration(7, "steps"), 4, smoke=True) == 2 and steps_of(Duration(1, "steps"), 4, smoke=True) == 1


@given(st.lists(st.integers(1, 29), unique=True, max_size=6).map(sorted), st.integers(1, 12))
def test_the_history_of_windows_is_that_of_one_training(cuts: list[int], per_epoch: int) -> None:
    """Each step has a loss of its own; the rows of any windows make the rows of one."""

    def rows(start: int, stop: int) -> tuple[dict[str, float], ...]:
        found = []
        for epoch in range(start // per_epoch, -(-stop // per_epoch)):
            steps = range(max(start, epoch * per_epoch), min(stop, (epoch + 1) * per_epoch))
            loss = sum(step**2 for step in steps) / len(steps)
            found.append({"epoch": epoch + 1, "loss": loss, "lr": float(steps[-1])})
        return tuple(found)

    ends = [*zip([0, *cuts], [*cuts, 30], strict=True)]
    records = [(a, FitRecord(b - a, 0, 0.0, "", 0, rows(a, b))) for a, b in ends]
    for mine, theirs in zip(one_history(records, per_epoch), rows(0, 30), strict=True):
        assert mine == pytest.approx(theirs)
