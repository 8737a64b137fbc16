"""Companions of a training: when they are asked, what they change, and that nothing of them is left behind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from killing import Killed, kill_after
from torch import Tensor, nn

from recipelang.images.dataset import ImageDataset
from recipelang.kinds import Companion, Moment, Seen
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.ramps.linear import Linear
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Duration, Training, canonical
from recipelang.surgery.network import Network
from recipelang.surgery.restrictions.mask import Mask
from recipelang.training import loop
from recipelang.training.loop import FitRecord, fit

TASK = Classification()
NAME = "4.weight"


def bytes_of(result: tuple[Network, FitRecord]) -> dict[str, bytes]:
    masks = {f"mask {name}": mask.keep for name, mask in result[0].masks.items()}
    return {n: t.contiguous().numpy().tobytes() for n, t in (result[0].module.state_dict() | masks).items()}


@dataclass(frozen=True)
class Shrinking(Companion):
    """Removes one more weight at every step, the smallest, and punishes what a layer of its own finds in outputs."""

    strength: Any = 0.1

    def begin(self, network: Network, moment: Moment) -> nn.Module:
        state = nn.Module()
        state.add_module("judge", nn.Linear(len(network.classes), 2))
        state.register_buffer("keep", torch.ones(network.module.get_parameter(NAME).shape, dtype=torch.bool))
        state.register_buffer("mean", torch.zeros(len(network.classes)))
        return state

    def penalty(self, seen: Seen, state: Any, moment: Moment) -> Tensor:
        state.mean.lerp_(seen.outputs.detach().mean(0), 0.1)
        found: Tensor = state.judge(seen.outputs - state.mean).square().mean()
        return moment.value(self.strength) * found

    def after_step(self, network: Network, optimizer: torch.optim.Optimizer, state: Any, moment: Moment) -> None:
        sizes = network.module.get_parameter(NAME).detach().abs().masked_fill(~state.keep, torch.inf)
        state.keep.view(-1)[sizes.argmin()] = False
        Mask("some", state.keep).hold(network.module.get_parameter(NAME), optimizer)

    def finish(self, network: Network, state: Any) -> Network:
        return network.restricted({NAME: Mask("some", state.keep)})


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_killed_and_the_same_bytes(
    network: Network, data: ImageDataset, silent: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    how: Any = {"task": TASK, "seed": 4, "precision": precision}
    training = Training(Duration(3), Sgd(0.1), companions=(Shrinking(Linear(0.5, to=0.1)), Shrinking(0.2)))
    whole = fit(network, data, training, progress=silent(), **how)
    with pytest.raises(Killed):
        fit(network, data, training, progress=silent(kill_after(7)), checkpoint=tmp_path / "c", **how)
    again = fit(network, data, training, progress=silent(), checkpoint=tmp_path / "c", **how)
    assert again[1].resumed_at == 6
    assert bytes_of(again) == bytes_of(whole)
    assert again[1].history == whole[1].history
    gone = ~whole[0].masks[NAME].keep
    assert int(gone.sum()) == 12 and not whole[0].module.get_parameter(NAME)[gone].any()


@dataclass(frozen=True)
class Watching(Companion):
    """Writes down in which order it is asked."""

    log: tuple[str, ...] = ()

    def begin(self, network: Network, moment: Moment) -> None:
        told.append(f"begin {moment.step} of {moment.total}, {moment.per_epoch} an epoch")

    def before_step(self, network: Network, state: None, moment: Moment) -> None:
        told.append(f"before {moment.step}")
        sums.append(float(network.module[0].weight.detach().sum()))

    def penalty(self, seen: Seen, state: None, moment: Moment) -> None:
        assert seen.outputs.requires_grad and len(seen.inputs) == len(seen.outputs) and seen.features == ()
        told.append(f"penalty {moment.step}")

    def after_step(self, network: Network, optimizer: torch.optim.Optimizer, state: None, moment: Moment) -> None:
        assert network.module[0].weight.grad is not None
        assert not network.module[7].weight[~network.masks["7.weight"].keep].any()
        told.append(f"after {moment.step}")
        sums.append(float(network.module[0].weight.detach().sum()))

    def finish(self, network: Network, state: None) -> Network:
        told.append("finish")
        return network


told: list[str] = []
sums: list[float] = []


def test_the_order_of_a_step(network: Network, data: ImageDataset, silent: Any) -> None:
    told.clear()
    sums.clear()
    masked = network.restricted({"7.weight": Mask("some", torch.rand(3, 72) < 0.5)})
    training = Training(Duration(2, "steps"), Sgd(0.1), companions=(Watching(),))
    watched = fit(masked, data, training, progress=silent(), task=TASK, seed=1)
    assert told == [
        "begin 0 of 2, 4 an epoch",
        *(f"{what} {step}" for step in (0, 1) for what in ("before", "penalty", "after")),
        "finish",
    ]
    assert sums[0] != sums[1] == sums[2] != sums[3]
    alone = fit(masked, data, replace(training, companions=()), progress=silent(), task=TASK, seed=1)
    assert bytes_of(watched) == bytes_of(alone)


@dataclass(frozen=True)
class Decay(Companion):
    """strength/2 · |w|² of every parameter."""

    strength: float = 0.1

    def penalty(self, seen: Seen, state: None, moment: Moment) -> Tensor:
        return self.strength / 2 * sum(p.square().sum() for p in seen.network.module.parameters())


def test_a_penalty_on_squares_is_weight_decay(network: Network, data: ImageDataset, silent: Any) -> None:
    how: Any = {"task": TASK, "seed": 1}
    decayed = fit(network, data, Training(Duration(3, "steps"), Sgd(0.1, weight_decay=0.1)), progress=silent(), **how)
    training = Training(Duration(3, "steps"), Sgd(0.1, weight_decay=0.0), companions=(Decay(0.1),))
    penalised = fit(network, data, training, progress=silent(), **how)
    for name, tensor in decayed[0].module.state_dict().items():
        torch.testing.assert_close(penalised[0].module.state_dict()[name], tensor, rtol=1e-4, atol=1e-6)
    assert penalised[1].history[0]["loss"] > decayed[1].history[0]["loss"]


def test_a_key_without_companions_is_that_of_before() -> None:
    training = Training(Duration(1), Sgd(0.1))
    assert "companions" not in canonical(training)
    assert canonical(replace(training, companions=(Decay(0.1),))) != canonical(
        replace(training, companions=(Decay(0.2),))
    )
