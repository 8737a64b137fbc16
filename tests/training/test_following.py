"""Masks that follow a schedule of targets: step by step, by hand, beside other companions, killed and continued."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from killing import Killed, kill_after
from torch import Tensor, nn

from recipelang.images.dataset import ImageDataset
from recipelang.kinds import Companion, Moment
from recipelang.methods.optimizers.adam import Adam
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.patterns.weights import Weights
from recipelang.methods.schedules.agp import Agp
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Course, Duration, Training
from recipelang.scoring.following import Following
from recipelang.surgery.network import Network
from recipelang.surgery.restrictions.mask import Mask
from recipelang.training import loop
from recipelang.training.loop import fit

TASK = Classification()
NAMES = ("4.weight", "7.weight")


def magnitude(network: Network) -> Mapping[str, Tensor]:
    return {name: network.module.get_parameter(name).detach().abs() for name in NAMES}


def following(schedule: Agp, target: float = 0.8) -> Following:
    return Following(Course(schedule, target), Weights(), NAMES, magnitude)


zero_after: list[dict[str, Tensor]] = []


@dataclass(frozen=True)
class Looking(Companion):
    """Writes down which weights are zero after each step."""

    def after_step(self, network: Network, optimizer: torch.optim.Optimizer, state: Any, moment: Moment) -> None:
        zero_after.append({name: network.module.get_parameter(name).detach() == 0 for name in NAMES})
        for name in NAMES if moment.step else ():
            momentum = optimizer.state[network.module.get_parameter(name)]["momentum_buffer"]
            assert not momentum[zero_after[-1][name]].any()


def test_masks_grow_by_the_schedule_and_stay(network: Network, data: ImageDataset, silent: Any) -> None:
    schedule = Agp(0.2, Duration(2, "steps"), Duration(3, "steps"))
    zero_after.clear()
    training = Training(Duration(3), Sgd(0.1), companions=(following(schedule), Looking()))
    trained, _ = fit(network, data, training, progress=silent(), task=TASK, seed=1)
    asked = {step: schedule.target_at(0.8, step, 12, 4) for step in range(12)}
    targets = {step: target for step, target in asked.items() if target is not None}
    assert list(targets) == [2, 5, 8, 11]
    current = 0.0
    for step, zeros in enumerate(zero_after):
        current = targets.get(step, current)
        for name in NAMES:
            count = zeros[name].numel()
            assert abs(int(zeros[name].sum()) - current * count) < 1
            assert step == 0 or not (zero_after[step - 1][name] & ~zeros[name]).any()  # what is removed stays removed
    for name in NAMES:
        assert torch.equal(trained.masks[name].keep, ~zero_after[-1][name])
        assert trained.masks[name].name == "80% sparse"
        assert not trained.module.get_parameter(name)[~trained.masks[name].keep].any()
    assert set(trained.masks) == set(NAMES)
    again, _ = fit(trained, data, Training(Duration(1), Sgd(0.1)), progress=silent(), task=TASK, seed=2)
    assert all(torch.equal(again.masks[name].keep, trained.masks[name].keep) for name in NAMES)
    assert not again.module.get_parameter(NAMES[0])[~again.masks[NAMES[0]].keep].any()


def test_the_same_as_a_training_written_by_hand(another: Any, data: ImageDataset, silent: Any) -> None:
    """SGD with momentum on everything, and the smallest weights and their momentum set to zero."""
    network, total = another(dropout=0.0), 12
    schedule = Agp(0.2, Duration(1, "steps"), Duration(4, "steps"))
    training = Training(Duration(3), Sgd(0.1, momentum=0.9, weight_decay=0.0), companions=(following(schedule),))
    trained, _ = fit(network, data, training, progress=silent(), task=TASK, seed=1, precision="float32")
    module = network.clone().module.train()
    momenta = {name: torch.zeros_like(p) for name, p in module.named_parameters()}
    gone = {name: torch.zeros(module.get_parameter(name).shape, dtype=torch.bool) for name in NAMES}
    batches = (batch for epoch in range(3) for batch in data.batches("train", epoch=epoch, seed=1))
    for step, (images, labels) in enumerate(batches):
        if step % 4 == 1:
            share = 0.8 + (0.2 - 0.8) * (1 - (step - 1) / 8) ** 3
            for name in NAMES:
                weight = module.get_parameter(name).detach()
                order = weight.abs().flatten().argsort(stable=True)
                gone[name].view(-1)[order[: math.ceil(share * weight.numel() - 1e-6)]] = True
                weight[gone[name]] = 0
        loss = nn.functional.cross_entropy(module(images), labels)
        gradients = torch.autograd.grad(loss, list(module.parameters()))
        for (name, parameter), gradient in zip(module.named_parameters(), gradients, strict=True):
            momenta[name] = 0.9 * momenta[name] + gradient
            if name in gone:
                momenta[name][gone[name]] = 0
            parameter.data -= 0.1 * momenta[name]
    assert step + 1 == total
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(trained.module.state_dict()[name], tensor, rtol=1e-3, atol=1e-5)
    assert all(torch.equal(~trained.masks[name].keep, gone[name]) for name in NAMES)


def test_the_target_holds_after_a_training_that_is_too_short(network: Network, data: ImageDataset, silent: Any) -> None:
    late = following(Agp(begin=Duration(2), every=Duration(2, "steps")))
    training = Training(Duration(3), Sgd(0.1), companions=(late,))
    trained, record = fit(network, data, training, progress=silent(), task=TASK, seed=1, smoke=True)
    assert record.steps == 2
    assert all(Weights(0.8).holds(trained.module.get_parameter(name)) for name in NAMES)


def test_earlier_masks_are_kept_within_the_new_ones(network: Network, data: ImageDataset, silent: Any) -> None:
    keep = torch.rand(3, 72, generator=torch.Generator().manual_seed(0)) < 0.5
    masked = network.restricted({"7.weight": Mask("some", keep)})
    training = Training(Duration(4, "steps"), Sgd(0.1), companions=(following(Agp(every=Duration(2, "steps"))),))
    trained, _ = fit(masked, data, training, progress=silent(), task=TASK, seed=1)
    assert not (trained.masks["7.weight"].keep & ~keep).any()
    assert [one.kind for one in trained.restrictions["7.weight"]] == ["mask"]


@dataclass(frozen=True)
class Returning(Companion):
    """Ends with the weights of the beginning, where nothing was removed."""

    def begin(self, network: Network, moment: Moment) -> nn.Module:
        state = nn.Module()
        state.register_buffer("first", network.module.get_parameter("7.weight").detach().clone())
        return state

    def finish(self, network: Network, state: Any) -> Network:
        network.module.get_parameter("7.weight").detach().copy_(state.first)
        return network


def test_masks_hold_whatever_another_companion_leaves(network: Network, data: ImageDataset, silent: Any) -> None:
    companion = following(Agp(every=Duration(2, "steps")))
    training = Training(Duration(4, "steps"), Sgd(0.1), companions=(Returning(), companion))
    trained, _ = fit(network, data, training, progress=silent(), task=TASK, seed=1)
    weight, keep = trained.module.get_parameter("7.weight"), trained.masks["7.weight"].keep
    assert torch.equal(weight, network.module.get_parameter("7.weight") * keep) and not keep.all()


class Keeping(nn.Module):
    """A network that holds on to an activation, and with it to the graph of the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(192, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.seen = self.head(x.flatten(1))
        return self.seen


def test_a_network_that_keeps_activations_is_copied_for_its_scores(data: ImageDataset, silent: Any) -> None:
    def score(network: Network) -> Mapping[str, Tensor]:
        return {"head.weight": network.clone().module.get_parameter("head.weight").detach().abs()}

    companion = Following(Course(Agp(every=Duration(1, "steps")), 0.5), Weights(), ("head.weight",), score)
    keeping = Network(Keeping().eval(), {}, (3, 8, 8), classes=(*"abc",))
    training = Training(Duration(4, "steps"), Sgd(0.1), companions=(companion,))
    trained, _ = fit(keeping, data, training, progress=silent(), task=TASK, seed=1)
    assert Weights(0.5).holds(trained.module.get_parameter("head.weight"))


@pytest.mark.parametrize("optimizer", [Sgd(0.1), Adam(0.01)], ids=["sgd", "adam"])
def test_killed_and_the_same_bytes(
    network: Network, data: ImageDataset, silent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: Any
) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    companion = following(Agp(0.1, Duration(1, "steps"), Duration(2, "steps")))
    training = Training(Duration(3), optimizer, companions=(companion,), course=companion.course)
    how: Any = {"task": TASK, "seed": 4}
    whole, record = fit(network, data, training, progress=silent(), **how)
    for steps in (2, 4, 9):  # before, at and after an update
        with pytest.raises(Killed):
            fit(network, data, training, progress=silent(kill_after(steps)), checkpoint=tmp_path / "c", **how)
    again, record_again = fit(network, data, training, progress=silent(), checkpoint=tmp_path / "c", **how)
    assert record_again.resumed_at == 8 and record_again.history == record.history
    for name, tensor in whole.tensors().items():
        assert torch.equal(again.tensors()[name], tensor), name
    assert again.described() == whole.described()
    other = replace(companion, course=Course(companion.course.schedule, 0.7))
    fresh, record_fresh = fit(
        network, data, replace(training, companions=(other,)), progress=silent(), checkpoint=tmp_path / "c", **how
    )
    assert record_fresh.resumed_at == 0 and Weights(0.7).holds(fresh.module.get_parameter(NAMES[0]))
