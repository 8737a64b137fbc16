"""A network is tried once at first use: what is sound comes in, and nothing else changes; what it answers is said."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import recipelang
from recipelang.catalogue import find
from recipelang.errors import Refusal
from recipelang.kinds import ModelRequest
from recipelang.surgery import artifact, probe
from recipelang.surgery.entry import enter
from recipelang.surgery.network import Habits, Network

Build = Callable[..., Network]
Code = dict[str, str]


def generators() -> tuple[Any, ...]:
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index]


SOUND: dict[str, Code] = {
    "plain": {},
    "dropout by its mode": {"forward": "return self.head(F.dropout(self.features(x), 0.5, self.training))"},
    "noise while training": {"forward": "return self.scores(x + torch.randn_like(x) if self.training else x)"},
    "a random buffer": {
        "prepare": "self.register_buffer('order', torch.randperm(16))",
        "forward": "return self.scores(x.flatten(1)[:, self.order])",
    },
    "weights by numpy": {"prepare": "self.body.weight.data[:] = torch.from_numpy(np.random.rand(8, 16))"},
    "a number drawn and never used": {"prepare": "self.name = str(random.random())"},
    "tied layers": {"prepare": "self.twin = self.head"},
    "a head of zeros": {"prepare": "nn.init.zeros_(self.head.weight); nn.init.zeros_(self.head.bias)"},
    "spectral norm": {"prepare": "self.body = nn.utils.parametrizations.spectral_norm(self.body)"},
    "old weight norm": {"prepare": "self.body = nn.utils.weight_norm(self.body)"},
    "keeps its activations": {"forward": "self.seen = self.features(x)\nreturn self.head(self.seen)"},
    "a lazy layer": {"prepare": "self.body = nn.LazyLinear(8)"},
    "numbers that only images have": {"forward": "return self.scores(x.sqrt())"},
    "rounding that differs from call to call": {
        "prepare": "self.calls = 0",
        "forward": "self.calls += 1\nreturn self.scores(x) * (1 + 1e-6 * (self.calls % 2))",
    },
    "draws and does not use": {"forward": "torch.rand(1)\nreturn self.scores(x)"},
    "an index": {
        "prepare": "self.index = nn.Parameter(torch.arange(16), requires_grad=False)",
        "forward": "return self.scores(x.flatten(1)[:, self.index])",
    },
    "a mask of -inf": {
        "prepare": "self.register_buffer('mask', torch.full((8,), float('-inf')).scatter(0, torch.tensor([1]), 0.0))",
        "forward": "return self.head((self.features(x) + self.mask).softmax(1))",
    },
    "seeds that are written down": {
        "prepare": "self.order = np.random.default_rng(3).permutation(16)",
        "forward": "return self.scores(x.flatten(1)[:, self.order])",
    },
    "weights that stand frozen": {"prepare": "self.requires_grad_(False)"},
}  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning", "ignore:Lazy modules")
def test_a_sound_network_comes_in_and_random_numbers_stand(name: str, come_in: Build) -> None:
    from recipelang.surgery.chance import random_numbers

    with random_numbers(5):
        first = come_in(**SOUND[name])
        after = generators()
    with random_numbers(5):
        second = come_in(**SOUND[name])
        assert after == generators()
    assert first.habits == Habits() and type(first.module).__name__ == "Net"
    states = [network.module.state_dict() for network in (first, second)]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_the_probe_leaves_weights_modes_and_generators_as_they_are() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3))
    module[3].eval()
    images = torch.randn(2, 1, 4, 4)
    state, given, modes = copy.deepcopy(module.state_dict()), images.clone(), [m.training for m in module.modules()]
    places, drawn = [parameter.data_ptr() for parameter in module.parameters()], generators()
    first, habits = enter(module, images)
    assert probe.require_sound(module, images, first, partial(nullcontext, copy.deepcopy(module))) == ()
    assert habits == Habits() and type(module) is nn.Sequential
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert torch.equal(images, given) and modes == [m.training for m in module.modules()]
    assert places == [parameter.data_ptr() for parameter in module.parameters()]
    assert drawn == generators()


def test_it_costs_less_than_two_forward_passes_of_a_batch(monkeypatch: pytest.MonkeyPatch, come_in: Build) -> None:
    """Every copy and build of the network counts its images in one place."""
    count: list[int] = []
    monkeypatch.setattr(torch, "counted_images", count, raising=False)
    come_in("torch.counted_images.append(len(x))\nreturn self.scores(x)")
    assert 5 <= len(count) <= 14 and max(count) == 2
    assert sum(count) < 2 * 16  # batches of sixteen images are small ones


def test_a_network_that_answers_nan_as_built(come_in: Build) -> None:
    with pytest.raises(Refusal) as caught:
        come_in("return self.scores(x / (x - x))")
    assert caught.value.code == "RCP0724"


def test_a_network_that_fails_in_evaluation_alone(come_in: Build) -> None:
    with pytest.raises(Refusal) as caught:
        come_in("return self.scores(x if self.training else self.missing)")
    assert caught.value.code == "RCP0713" and "in evaluation mode" in caught.value.message
    assert "missing" in caught.value.message


def test_one_that_fails_in_training_alone_can_be_measured_and_says_so(come_in: Build) -> None:
    (note,) = come_in("return self.scores(self.missing if self.training else x)").habits.notes
    assert note.startswith("it can be measured but not trained: in training mode it raises AttributeError")


BATCHES = {
    "a norm without statistics": (
        "return self.head(self.norm(self.features(x)))",
        "self.norm = nn.BatchNorm1d(8, track_running_stats=False)",
        "cannot answer a single image: the network",
    ),
    "a mean over the batch": (
        "f = self.features(x)\nreturn self.head(f - f.mean(0))",
        "pass",
        "depends on the other images",
    ),
    "a fixed batch": ("return self.scores(x.reshape(2, 1, 4, 4))", "pass", "cannot answer a single image"),
}


@pytest.mark.parametrize("name", BATCHES)
def test_an_answer_that_depends_on_the_batch_is_said(name: str, come_in: Build) -> None:
    forward, prepare, words = BATCHES[name]
    (note,) = come_in(forward, prepare).habits.notes
    assert words in note


UNSOUND: dict[str, tuple[str, str, str]] = {
    "answers differently": ("RCP0721", "return self.head(F.dropout(self.features(x), self.level))", "self.level = 0.0"),
    "holds what another build has otherwise": (
        "RCP0723",
        "return self.scores(x.flatten(1)[:, self.order])",
        "self.order = list(range(16))",
    ),
}


@pytest.mark.parametrize("door", ["recipe", "load"])
@pytest.mark.parametrize("name", UNSOUND)
def test_a_saved_network_is_tried_as_well(
    name: str, door: str, come_in: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like one saved before networks were tried, whose code looks sound until its numbers are drawn."""
    code, forward, prepare = UNSOUND[name]
    drawn = prepare.replace("0.0", "torch.level").replace("list(range(16))", "torch.random_order()")
    monkeypatch.setattr(torch, "level", 0.0, raising=False)
    monkeypatch.setattr(torch, "random_order", lambda: list(range(16)), raising=False)
    artifact.save(come_in(forward, drawn), tmp_path / "net")
    assert recipelang.load(tmp_path / "net", trust=True)(torch.zeros(2, 1, 4, 4)).shape == (2, 3)
    monkeypatch.setattr(torch, "level", 0.5)
    monkeypatch.setattr(torch, "random_order", lambda: torch.randperm(16).tolist())
    with pytest.raises(Refusal) as caught:
        if door == "load":
            recipelang.load(tmp_path / "net", trust=True)
        else:
            method = find("model", "artifact")
            assert method is not None
            method(folder=str(tmp_path / "net")).build(ModelRequest(trust=True))
    assert caught.value.code == code


@pytest.mark.parametrize("target", ["class", "labels"])
@pytest.mark.parametrize("end", [nn.Identity(), nn.Sigmoid(), nn.Softmax(1)])
def test_a_network_that_applies_its_own_sigmoid_or_softmax_is_told(target: str, end: nn.Module) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 3), end)
    images = torch.randn(4, 1, 4, 4)
    first, _ = enter(module, images)
    notes = probe.require_sound(module, images, first, partial(nullcontext, copy.deepcopy(module)), target)
    wrong = not isinstance(end, nn.Identity) if target == "labels" else isinstance(end, nn.Softmax)
    assert [note.startswith("it answers with probabilities") for note in notes] == [True] * wrong
