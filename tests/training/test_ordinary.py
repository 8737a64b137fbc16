"""Companions that belong to how a network trains: averages of weights and clipped gradients; controls have them too."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang import catalogue
from recipelang.check import check
from recipelang.images.dataset import ImageDataset
from recipelang.kinds import Companion, Moment
from recipelang.methods.companions.clip import Clip
from recipelang.methods.companions.ema import Ema
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Duration, Training
from recipelang.run.engine import execute
from recipelang.run.options import Options
from recipelang.surgery.network import Network
from recipelang.surgery.restrictions.mask import Mask
from recipelang.syntax.parse import parse
from recipelang.training.loop import fit

TASK = Classification()


@dataclass(frozen=True)
class Recording(Companion):
    """Notes weights and statistics before the first step and after each, and the gradients that the optimizer uses."""

    states: list[dict[str, Tensor]] = field(default_factory=list, metadata={"key": False})
    gradients: list[list[Tensor]] = field(default_factory=list, metadata={"key": False})

    def begin(self, network: Network, moment: Moment) -> None:
        self.states.append({n: t.clone() for n, t in network.module.state_dict().items()})

    def before_update(
        self, network: Network, optimizer: torch.optim.Optimizer, state: nn.Module | None, moment: Moment
    ) -> None:
        self.gradients.append([p.grad.clone() for p in network.module.parameters() if p.grad is not None])

    def after_step(
        self, network: Network, optimizer: torch.optim.Optimizer, state: nn.Module | None, moment: Moment
    ) -> None:
        self.states.append({n: t.clone() for n, t in network.module.state_dict().items()})


def trained(network: Network, data: ImageDataset, silent: Any, *companions: Companion) -> tuple[Network, Recording]:
    recording = Recording()
    training = Training(Duration(3), Sgd(0.1), companions=(*companions, recording))
    return fit(network, data, training, task=TASK, seed=4, precision="float32", progress=silent())[0], recording


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.9])
def test_ema_is_the_average_of_the_steps_and_changes_none(
    network: Network, data: ImageDataset, silent: Any, decay: float
) -> None:
    masked = network.restricted({"7.weight": Mask("some", torch.rand(3, 72) < 0.5)})
    last, plain = trained(masked, data, silent)
    found, recording = trained(masked, data, silent, Ema(decay))
    for one, two in zip(plain.states, recording.states, strict=True):
        assert all(torch.equal(one[n], two[n]) for n in one)
    averages = dict(recording.states[0])
    for step, state in enumerate(recording.states[1:]):
        d = min(decay, (1 + step) / (10 + step))
        averages = {n: d * averages[n] + (1 - d) * t if t.is_floating_point() else t for n, t in state.items()}
    for name, tensor in found.module.state_dict().items():
        torch.testing.assert_close(tensor, averages[name], rtol=1e-5, atol=1e-6)
    assert not found.module.get_parameter("7.weight")[~masked.masks["7.weight"].keep].any()
    differ = [n for n, t in found.module.state_dict().items() if not torch.equal(t, last.module.state_dict()[n])]
    assert bool(differ) == (decay > 0)


def test_clip_shortens_what_is_too_long_and_nothing_else(network: Network, data: ImageDataset, silent: Any) -> None:
    _, plain = trained(network, data, silent)
    length = torch.stack([g.norm() for g in plain.gradients[0]]).norm()
    _, clipped = trained(network, data, silent, Clip(0.5 * float(length)))
    for before, after in zip(plain.gradients[0], clipped.gradients[0], strict=True):
        torch.testing.assert_close(after, 0.5 * before, rtol=1e-4, atol=1e-7)
    for gradients in clipped.gradients:
        assert torch.stack([g.norm() for g in gradients]).norm() <= 0.5 * length * (1 + 1e-5)
    _, loose = trained(network, data, silent, Clip(1e9))
    assert all(torch.equal(a, b) for a, b in zip(plain.gradients[-1], loose.gradients[-1], strict=True))


def test_an_average_longer_than_the_training_is_told() -> None:
    assert Ema(0.999).too_short(999, 10) == "too short: `ema` averages over about 1,000 steps"
    assert Ema(0.999).too_short(1001, 10) == ""


def test_which_companions_are_ordinary() -> None:
    found = {name: catalogue.find("companion", name) for name in catalogue.names("companion")}
    ordinary = {name for name, one in found.items() if one.ordinary}  # type: ignore[union-attr]
    training = {
        "accumulate",
        "best",
        "bfloat16",
        "clip",
        "compile",
        "cutmix",
        "decays",
        "ema",
        "float32",
        "mixup",
        "rate",
    }
    assert ordinary == training
    assert not any(one.leaves for one in found.values() if one.ordinary)  # type: ignore[union-attr]


def test_a_control_clips_and_averages_too(tmp_path: Path) -> None:
    text = """
        model digits_resnet
        data digits
        prune 2 layers by random
        finetune for 2 steps with ema(0.5), clip(0.1), mixup, slimming(1e-3)
        control
        measure top1
    """
    result = execute(check(parse(text)), Options(out=tmp_path / "out", store=tmp_path / "store", threads=1))
    assert "finetune for 2 steps with ema(0.5), clip(0.1), mixup, sgd(" in json.dumps(result.report)
