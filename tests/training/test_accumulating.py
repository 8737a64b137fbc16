"""Several batches in one step: the gradients of their union, counted in steps everywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from killing import Killed, kill_after
from torch import Tensor, nn

from recipelang.check import check
from recipelang.images.dataset import ImageDataset
from recipelang.kinds import Batch, Companion, Labels, Moment, Seen
from recipelang.methods.companions.accumulate import Accumulate
from recipelang.methods.companions.ema import Ema
from recipelang.methods.companions.mixup import Mixup
from recipelang.methods.losses.kd import Kd
from recipelang.methods.losses.task import TaskLoss
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.ramps.linear import Linear
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Duration, Term, Training
from recipelang.run.engine import execute
from recipelang.run.options import Options
from recipelang.surgery.network import Network
from recipelang.syntax.parse import parse
from recipelang.training import loop as loop
from recipelang.training.loop import fit
from recipelang.training.teachers import Teacher
from recipelang.training.windows import Window, groups_of_epoch

TASK = Classification()
T = 2.0


@dataclass(frozen=True)
class Noting(Companion):
    """Notes the moments, the inputs, and the gradients that the optimizer uses; adds the square of one weight."""

    moments: list[Moment] = field(default_factory=list, metadata={"key": False})
    inputs: list[Tensor] = field(default_factory=list, metadata={"key": False})
    gradients: list[list[Tensor]] = field(default_factory=list, metadata={"key": False})

    def before_step(self, network: Any, state: nn.Module | None, moment: Moment) -> None:
        self.moments.append(moment)

    def batch(
        self, network: Any, batch: Batch, labels: Labels | None, state: nn.Module | None, moment: Moment
    ) -> Batch:
        self.inputs.append(batch.inputs.clone())
        return batch

    def penalty(self, seen: Seen, state: nn.Module | None, moment: Moment) -> Tensor:
        return 0.1 * seen.network.module.get_parameter("2.weight").square().sum()

    def before_update(
        self, network: Any, optimizer: torch.optim.Optimizer, state: nn.Module | None, moment: Moment
    ) -> None:
        self.gradients.append([p.grad.clone() for p in network.module.parameters()])


def make(seed: int) -> Network:
    """Without BatchNorm and dropout: a gradient is then a mean over samples."""
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Flatten(), nn.Linear(192, 6), nn.Linear(6, 3))
    return Network(module.eval(), {}, (3, 8, 8), classes=("a", "b", "c"))


def unions(data: ImageDataset, epochs: int, batches: int) -> Iterator[tuple[Tensor, Tensor]]:
    """What a step sees: the batches of an epoch, this many at a time, the last ones being what is left."""
    for epoch in range(epochs):
        every = list(data.batches("train", epoch=epoch, seed=4))
        for at in range(0, len(every), batches):
            images, labels = zip(*every[at : at + batches], strict=True)
            yield torch.cat(images), torch.cat(labels)


@given(batch=st.integers(3, 35), batches=st.integers(2, 9))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_gradients_are_those_of_the_union(data: ImageDataset, silent: Any, batch: int, batches: int) -> None:
    small, network, teacher = replace(data, batch=batch), make(0), make(1)
    noting = Noting()
    terms = Term(0.5, Kd(T, alpha=1.0)), Term(2.0, TaskLoss())
    training = Training(Duration(2), Sgd(0.01), terms, companions=(Accumulate(batches), noting))
    trained, record = fit(
        network, small, training, task=TASK, seed=4, precision="float32", progress=silent(),
        teachers=[Teacher("healthy", teacher)],
    )  # fmt: skip
    module = network.clone().module
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    losses, images = [], 0
    for step, (x, y) in enumerate(unions(small, 2, batches)):
        scores, taught = module(x), teacher.module(x).detach()
        kd = T**2 * nn.functional.kl_div((scores / T).log_softmax(1), (taught / T).softmax(1), reduction="batchmean")
        loss = (
            0.5 * kd
            + 2 * nn.functional.cross_entropy(scores, y)
            + 0.1 * module.get_parameter("2.weight").square().sum()
        )
        optimizer.zero_grad()
        loss.backward()
        for mine, other in zip(noting.gradients[step], module.parameters(), strict=True):
            torch.testing.assert_close(mine, other.grad, rtol=1e-3, atol=1e-5)
        optimizer.step()
        losses.append(loss.item() * len(x))
        images += len(x)
    assert (record.steps, record.images, record.epochs) == (len(losses), images, 2.0)
    assert [m.step for m in noting.moments] == list(range(record.steps))
    assert sum(row["loss"] for row in record.history) * images / 2 == pytest.approx(sum(losses), rel=1e-4)
    for mine, other in zip(trained.module.parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-5)


def test_everything_is_counted_in_steps(data: ImageDataset, silent: Any) -> None:
    said, noting = silent(), Noting()
    training = Training(Duration(3), Sgd(Linear(0.6, to=0.0)), companions=(noting, Accumulate(3)))
    _, record = fit(make(0), data, training, task=TASK, seed=4, progress=said)
    assert said.done == record.steps == 6  # of 4 batches an epoch: 3 and 1
    assert [(m.step, m.total, m.per_epoch) for m in noting.moments] == [(step, 6, 2) for step in range(6)] and len(
        noting.inputs
    ) == 12
    assert [row["epoch"] for row in record.history] == [1, 2, 3]
    assert [row["lr"] for row in record.history] == pytest.approx([0.5, 0.3, 0.1])
    assert record.left.note == "an epoch has 4 batches: 2 steps of 3 (48 samples), the last of 1"
    _, short = fit(
        make(0), data, replace(training, duration=Duration(3, "steps")), task=TASK, seed=4, progress=silent()
    )
    assert (short.steps, short.images, short.epochs) == (3, 7 * 16, 1.75)


def test_what_is_told_of_an_epoch(data: ImageDataset) -> None:
    def told(batches: int, samples: int | None = None) -> str:
        return groups_of_epoch(data, Training(Duration(1), Sgd(), companions=(Accumulate(batches),)), samples)

    assert told(2) == "an epoch has 4 batches: 2 steps of 2 (32 samples)"
    assert told(50) == "an epoch has 4 batches: 1 step of 4 (64 samples)"
    assert told(2, samples=5) == "an epoch has 1 batch: 1 step of 1 (5 samples)"
    assert groups_of_epoch(data, Training(Duration(1), Sgd())) == ""


def test_windows_see_the_batches_of_their_steps(data: ImageDataset, silent: Any) -> None:
    def inputs(duration: Duration, window: Window | None) -> list[Tensor]:
        noting = Noting()
        training = Training(duration, Sgd(), companions=(noting, Accumulate(3)))
        fit(make(0), data, training, task=TASK, seed=4, progress=silent(), window=window)
        return noting.inputs

    whole = inputs(Duration(3), None)
    parts = [inputs(Duration(stop - start, "steps"), Window(start, 6)) for start, stop in ((0, 1), (1, 4), (4, 6))]
    assert [len(part) for part in parts] == [3, 5, 4]
    assert all(torch.equal(a, b) for a, b in zip(whole, [one for part in parts for one in part], strict=True))


def test_killed_and_the_same_bytes(
    network: Network, data: ImageDataset, silent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    how: Any = {"task": TASK, "seed": 4, "teachers": [Teacher("healthy", network)]}
    beside = (Accumulate(3), Mixup(0.4), Ema(0.5))
    training = Training(Duration(3), Sgd(0.1), (Term(1.0, Kd()),), companions=beside)
    whole, record = fit(network, data, training, progress=silent(), **how)
    for steps in (2, 4):  # after the incomplete step of an epoch, and before one
        with pytest.raises(Killed):
            fit(network, data, training, progress=silent(kill_after(steps)), checkpoint=tmp_path / "c", **how)
    again, record_again = fit(network, data, training, progress=silent(), checkpoint=tmp_path / "c", **how)
    assert record_again.resumed_at == 3 and record_again.history == record.history
    assert all(torch.equal(a, b) for a, b in zip(again.tensors().values(), whole.tensors().values(), strict=True))


def test_a_recipe_says_its_steps_and_its_control_has_them(tmp_path: Path) -> None:
    text = """
        model digits_resnet
        data digits(batch=100)
        prune 1 layer by random
        finetune for 2 steps on train(samples=500) with accumulate(2), sgd(lr=1e-3)
        control
        measure top1
    """
    result = execute(check(parse(text)), Options(out=tmp_path / "out", store=tmp_path / "store", threads=1))
    report = json.dumps(result.report)
    assert "an epoch has 5 batches: 3 steps of 2 (200 samples), the last of 1" in report
    assert "finetune for 2 steps with accumulate(2), sgd(lr=1e-3)" in report
