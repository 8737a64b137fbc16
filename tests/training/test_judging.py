"""`best` and `patience`: what the validation split decides, and a killed training that ends with the same bytes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from killing import Killed, kill_after
from torch import nn

from recipelang.check import check
from recipelang.errors import RecipeError, Refusal
from recipelang.images.dataset import ImageDataset
from recipelang.kinds import Companion
from recipelang.methods.companions._judging import improved
from recipelang.methods.companions.best import Best
from recipelang.methods.companions.patience import Patience
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Duration, Training
from recipelang.run.engine import execute
from recipelang.run.options import Options
from recipelang.surgery.network import Network
from recipelang.surgery.restrictions.mask import Mask
from recipelang.syntax.parse import parse
from recipelang.training import loop
from recipelang.training.loop import FitRecord, fit
from recipelang.training.validating import Validating

TASK = Classification()


def state_of(network: Network) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.module.state_dict().items()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], two[name]) for name in one)


@dataclass(frozen=True)
class Noting(Companion):
    """Notes the network after each validation."""

    judges: ClassVar[bool] = True

    seen: list[dict[str, torch.Tensor]] = field(default_factory=list, metadata={"key": False})

    def after_validation(self, network: Network, state: nn.Module | None, *_: Any) -> None:
        self.seen.append(state_of(network))


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Validations as a test writes them, one for each epoch: accuracies."""

    def script(*accuracies: float) -> None:
        waiting = iter(accuracies)

        def point(self: Validating, *_: Any) -> Any:
            score = next(waiting)
            found = {"loss": None if math.isnan(score) else 1 - score, "n": 9, "score": score, "name": "accuracy"}
            return {"validation": {**found, "better": "higher"}}

        monkeypatch.setattr(Validating, "point", point)

    return script


def trained(
    network: Network, data: ImageDataset, silent: Any, *companions: Companion, epochs: int = 5, **more: Any
) -> tuple[Network, FitRecord]:
    training = Training(Duration(epochs), Sgd(0.1), companions=companions)
    how: Any = {"progress": silent(), "task": TASK, "seed": 4, "precision": "float32", "validate": True, **more}
    return fit(network, data, training, **how)


@pytest.mark.parametrize(
    ("accuracies", "epoch"),
    [((0.1, 0.5, 0.3), 2), ((0.5, 0.5, 0.5), 1), ((0.1, 0.2, 0.3), 3), ((math.nan, 0.1, math.nan), 2)],
)
def test_best_ends_with_the_first_of_the_best_epochs(
    network: Network, data: ImageDataset, silent: Any, scripted: Any, accuracies: tuple[float, ...], epoch: int
) -> None:
    masked = network.restricted({"7.weight": Mask("some", torch.rand(3, 72) < 0.5)})
    scripted(*accuracies)
    found, record = trained(masked, data, silent, Best(), epochs=len(accuracies))
    scripted(*accuracies)
    noting = Noting()
    trained(masked, data, silent, noting, epochs=len(accuracies))
    assert same(state_of(found), noting.seen[epoch - 1])
    last = ", the last" * (epoch == len(accuracies))
    assert record.left.note == f"`best`: the weights after epoch {epoch}{last}" and record.epochs == len(accuracies)
    assert not found.module.get_parameter("7.weight")[~found.masks["7.weight"].keep].any()


@pytest.mark.parametrize(
    ("accuracies", "epochs", "ends", "since"),
    [
        ((0.5, 0.4, 0.4, 0.9, 0.9), 2, 3, "epoch 1"),
        ((0.1, 0.2, 0.2, 0.3, 0.3), 2, 5, ""),
        ((math.nan, math.nan, 0.3), 2, 2, "the start"),
        ((0.5, 0.4, 0.6), 1, 2, "epoch 1"),
    ],
)
def test_patience_ends_when_nothing_became_better(
    network: Network,
    data: ImageDataset,
    silent: Any,
    scripted: Any,
    accuracies: tuple[float, ...],
    epochs: int,
    ends: int,
    since: str,
) -> None:
    scripted(*accuracies)
    _, record = trained(network, data, silent, Patience(epochs), epochs=len(accuracies))
    assert record.epochs == ends == len(record.history) and record.cut == bool(since)
    note = f"`patience`: ended after epoch {ends}, no better since {since}" if since else ""
    assert record.left.note == note


def test_a_killed_training_ends_at_the_same_epoch_with_the_same_bytes(
    network: Network, data: ImageDataset, silent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    both = Best("loss"), Patience(1, "loss")
    whole, record = trained(network, data, silent, *both, epochs=12)
    with pytest.raises(Killed):
        trained(network, data, silent, *both, epochs=12, progress=silent(kill_after(5)), checkpoint=tmp_path / "c")
    for _ in range(2):  # the second time it had already ended
        again, continued = trained(network, data, silent, *both, epochs=12, checkpoint=tmp_path / "c")
        assert same(state_of(whole), state_of(again)) and continued.history == record.history
        assert (continued.steps, continued.left.note) == (record.steps, record.left.note)


@given(st.lists(st.one_of(st.none(), st.floats(0, 5)), min_size=1, max_size=8))
def test_the_best_is_the_first_smallest_loss_that_is_finite(losses: list[float | None]) -> None:
    best, at = math.nan, -1
    for number, loss in enumerate(losses):
        if improved(best, {"loss": loss}, "score"):  # a task without a score
            best, at = float(loss or 0), number
    finite = [loss for loss in losses if loss is not None]
    assert at == (losses.index(min(finite)) if finite else -1)


def test_data_without_a_validation_split_is_refused(network: Network, data: ImageDataset, silent: Any) -> None:
    class Halved:
        def __getattr__(self, name: str) -> Any:
            return getattr(data, name)

        def size(self, split: str) -> int:
            return 0 if split == "val" else data.size(split)

    with pytest.raises(Refusal, match="`patience` needs a validation split") as refused:
        trained(network, Halved(), silent, Patience())  # type: ignore[arg-type]
    assert refused.value.code == "RCP0827"


@pytest.mark.parametrize(
    "statement",
    [
        "finetune for 2 epochs with ema(0.9), best",
        "sparsify weights to 50% over agp for 2 epochs with patience(3)",
        "prune 2 layers by random over 2 rounds for 2 epochs with best",
    ],
)
def test_what_does_not_fit_together_is_refused_by_check(statement: str) -> None:
    with pytest.raises(RecipeError) as refused:
        check(parse(f"model digits_resnet\ndata digits\n{statement}"))
    assert [one.code for one in refused.value.diagnostics] == ["RCP0451"]


def test_a_control_is_trained_for_the_updates_that_were_made(tmp_path: Path) -> None:
    text = """
        model digits_resnet
        data digits
        prune 2 layers by random
        finetune for 9 epochs with patience(1), best, sgd(lr=0.5)
        control
        measure top1
    """
    result = execute(check(parse(text)), Options(out=tmp_path / "out", store=tmp_path / "store", threads=1))
    told = json.dumps(result.report)
    assert "`patience`: ended after epoch" in told and "finetune for 9 epochs with best, sgd" not in told
    assert "steps with best, sgd(lr=0.5)" in told
