"""Schedules that decide by their own law which weights are zero: what all of them keep, on networks of every kind."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from killing import Killed, kill_after
from rewirings import ALL, NAMES, TASK, THREE, each_schedule, keeps, masking, training
from torch import Tensor, nn

from recipelang import catalogue
from recipelang.errors import SettingError
from recipelang.images.dataset import ImageDataset
from recipelang.methods.companions.slimming import Slimming
from recipelang.methods.optimizers.adam import Adam
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.patterns.blocks import Blocks
from recipelang.methods.patterns.filters import Filters
from recipelang.methods.patterns.kernels import Kernels
from recipelang.methods.patterns.weights import Weights
from recipelang.methods.schedules.deepr import DeepR
from recipelang.methods.schedules.rigl import RigL
from recipelang.methods.schedules.set import Set
from recipelang.methods.schedules.surgery import Surgery
from recipelang.plan import Duration, Training
from recipelang.surgery.network import Network
from recipelang.training import loop
from recipelang.training.loop import fit


def test_every_schedule_with_a_law_of_its_own_is_tested_here() -> None:
    own = [name for name in catalogue.names("schedule") if hasattr(catalogue.find("schedule", name), "companion")]
    assert set(own) == set(ALL)


@each_schedule
def test_the_number_of_zeros_is_the_same_after_every_step(network: Network, watched: Any, schedule: Any) -> None:
    trained, before, after = watched(network, schedule)
    assert len(after) == 12
    numbers = {name: network.module.get_parameter(name).numel() for name in NAMES}
    asked = {name: count - math.ceil(0.8 * count) for name, count in numbers.items()}
    moved = 0
    for was, now in zip(before, after, strict=True):
        kept = {name: int(keep.sum()) for name, keep in keeps(now).items()}
        if not isinstance(schedule, Surgery):
            assert sum(kept.values()) == sum(asked.values())
        if isinstance(schedule, RigL | Set | DeepR):
            assert kept == asked
        moved += sum(int((keeps(was)[name] != keep).sum()) for name, keep in keeps(now).items())
        for name, keep in keeps(now).items() if not isinstance(schedule, Surgery) else ():
            assert not now.weights[name][~keep].any()
            assert not any(state[~keep].any() for state in now.optimizer[name].values())
    assert moved or isinstance(schedule, Surgery)
    assert sum(int(mask.keep.sum()) for mask in trained.masks.values()) == sum(asked.values())
    for name in NAMES:
        assert not trained.module.get_parameter(name)[~trained.masks[name].keep].any()


@each_schedule
def test_what_comes_starts_at_zero_and_without_momentum(network: Network, watched: Any, schedule: Any) -> None:
    _, before, after = watched(network, schedule)
    moved = 0
    for was, now in zip(before, after, strict=True) if not isinstance(schedule, Surgery) else ():
        for name in NAMES:
            came = keeps(now)[name] & ~keeps(was)[name]
            moved += int(came.sum())
            assert not now.weights[name][came].any() or isinstance(schedule, Set)  # SET's start at random
            assert not any(state[came].any() for state in now.optimizer[name].values())
        assert int(now.state["moved"]) == moved


@each_schedule
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_killed_and_the_same_bytes(
    network: Network, data: ImageDataset, silent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schedule: Any,
    precision: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    optimizer = Sgd(0.1) if precision == "float32" else Adam(0.01)
    asked = training(schedule, Slimming(1e-3), optimizer=optimizer, scratch=True)
    how: Any = {"task": TASK, "seed": 4, "precision": precision}
    whole, record = fit(network, data, asked, progress=silent(), **how)
    for count in (3, 7):  # before and after an update
        with pytest.raises(Killed):
            fit(network, data, asked, progress=silent(kill_after(count)), checkpoint=tmp_path / "c", **how)
    again, record_again = fit(network, data, asked, progress=silent(), checkpoint=tmp_path / "c", **how)
    assert record_again.resumed_at == 6 and record_again.history == record.history
    assert all(torch.equal(again.tensors()[name], tensor) for name, tensor in whole.tensors().items())
    assert again.described() == whole.described()
    other = training(replace(schedule), Slimming(1e-3), optimizer=optimizer, scratch=True, target=0.7)
    _, fresh = fit(network, data, other, progress=silent(), checkpoint=tmp_path / "c", **how)
    assert fresh.resumed_at == 0


@each_schedule
def test_a_training_of_two_steps_ends_at_the_target(
    network: Network, data: ImageDataset, silent: Any, schedule: Any
) -> None:
    trained, record = fit(network, data, training(schedule), progress=silent(), task=TASK, seed=1, smoke=True)
    assert record.steps == 2
    assert all(Weights(0.8).holds(trained.module.get_parameter(name)) for name in NAMES)


def depthwise() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(), nn.Conv2d(8, 16, 1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3),
    )  # fmt: skip


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))


class Tokens(nn.Module):
    """Patches, one block of attention, a classifier: the linear weights of a ViT."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(self.patches(x).flatten(2).mT).mean(1))  # type: ignore[no-any-return]


@each_schedule
@pytest.mark.parametrize("make", [depthwise, perceptron, Tokens])
def test_networks_of_every_kind(data: ImageDataset, silent: Any, make: Any, schedule: Any) -> None:
    torch.manual_seed(0)
    network = Network(make().eval(), {}, (3, 8, 8), classes=tuple("abc"))
    names = tuple(name for name, p in network.module.named_parameters() if p.ndim > 1)
    asked = training(schedule, names=names, scratch=True, duration=Duration(5, "steps"))
    trained, _ = fit(network, data, asked, progress=silent(), task=TASK, seed=1)
    counts = [network.module.get_parameter(name).numel() for name in names]
    masked = sum(int((~mask.keep).sum()) for mask in trained.masks.values())  # a layer may have become whole
    assert sum(counts) - masked == sum(count - math.ceil(round(0.8 * count, 6)) for count in counts)


@pytest.mark.parametrize("pattern", [Kernels(), Filters(), Blocks(rows=2, columns=4)], ids=lambda one: one.name)
@pytest.mark.parametrize("name", ["rigl", "sparse_momentum", "surgery"])
def test_pieces_move_whole(network: Network, data: ImageDataset, silent: Any, pattern: Any, name: str) -> None:
    asked = training(ALL[name], names=("4.weight",), pattern=pattern, target=0.5)
    trained, _ = fit(network, data, asked, progress=silent(), task=TASK, seed=1)
    mask = trained.masks["4.weight"]
    pieces = pattern.split(mask.keep)
    assert (pieces.all(1) | ~pieces.any(1)).all() and int(pieces.any(1).sum()) == len(pieces) // 2
    assert mask.name == str(pattern.at(0.5))


def test_each_weight_begins_with_its_own_share(network: Network, data: ImageDataset, silent: Any) -> None:
    asked = replace(masking(ALL["set"]), shares={"4.weight": 0.9, "7.weight": 0.5})
    companion = ALL["set"].companion(asked)
    trained, record = fit(
        network, data, Training(THREE, Sgd(0.1), companions=(companion,)), progress=silent(), task=TASK, seed=1
    )
    assert [trained.masks[name].name for name in NAMES] == ["90% sparse", "50% sparse"]
    assert [int((~trained.masks[name].keep).sum()) for name in NAMES] == [math.ceil(0.9 * 576), 108]
    assert [figure.what for figure in record.left.reached] == ["moved"]


def test_a_weight_that_an_allocation_leaves_whole_is_not_touched(
    network: Network, data: ImageDataset, silent: Any
) -> None:
    """Zeros of what is removed and drawn again would come back into it at every update."""
    for name, schedule in ALL.items():
        asked = replace(masking(schedule), shares={"4.weight": 0.0, "7.weight": 0.8})
        training = Training(THREE, Sgd(0.1), companions=(schedule.companion(asked),))
        trained, _ = fit(network, data, training, progress=silent(), task=TASK, seed=1)
        if name in ("rigl", "set", "surgery"):
            assert set(trained.masks) == {"7.weight"} and trained.module.get_parameter("4.weight").all()


def test_settings_that_contradict_each_other() -> None:
    for wrong in ({"every": Duration(0)}, {"every": Duration(3), "end": Duration(3)}):
        with pytest.raises(SettingError):
            RigL(**wrong)  # type: ignore[arg-type]
