"""A network is tried once at first use: what cannot be trusted is refused by name, and nothing else changes."""

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
from recipelang.surgery.tracing import evaluating, example_input

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


NOT_REPEATABLE = {
    "dropout without its mode": "F.dropout(f, 0.5)",
    "a little dropout": "F.dropout(f, 0.1)",
    "noise of torch": "f + 1e-3 * torch.randn(8)",
    "noise of numpy": "f * float(np.random.rand())",
    "noise of Python": "f * random.random()",
    "a shuffle": "f[:, torch.randperm(8)]",
    "noise that no generator of ours tells of": "f * np.random.default_rng().random()",
    "a tiny noise": "f * (1 + 1e-6 * torch.randn(8))",
}


@pytest.mark.parametrize("zero", ["pass", "nn.init.zeros_(self.head.weight)"], ids=["", "zeros"])
@pytest.mark.parametrize("name", NOT_REPEATABLE)
def test_a_network_that_answers_differently_when_it_is_asked_again(name: str, zero: str, come_in: Build) -> None:
    with pytest.raises(Refusal) as caught:
        come_in(f"f = self.features(x)\nreturn self.head({NOT_REPEATABLE[name]})", zero)
    assert caught.value.code == "RCP0721" and "dropout needs `training=self.training`" in caught.value.help


UNSETTLED = {
    "a buffer in place": ("self.mean.lerp_(f.detach().mean(0), 0.1)", "f - self.mean", "changes `mean`"),
    "a buffer replaced": ("self.mean = 0.9 * self.mean + 0.1 * f.detach().mean(0)", "f - self.mean", "changes `mean`"),
    "a number": ("self.n = 0.9 * self.n + float(f.mean())", "f - self.n", "something that it stores"),
    "a range as of fake quantisation": (
        "self.mean.copy_(torch.maximum(self.mean, f.max()))",
        "f / self.mean",
        "`mean`",
    ),
}


@pytest.mark.parametrize("name", UNSETTLED)
def test_a_network_whose_evaluation_changes_later_answers(name: str, come_in: Build) -> None:
    update, value, said = UNSETTLED[name]
    prepare = "self.register_buffer('mean', torch.full((8,), 0.1))\nself.n = 0.1"
    with pytest.raises(Refusal) as caught:
        come_in(f"f = self.features(x)\n{update}\nreturn self.head({value})", prepare)
    assert caught.value.code == "RCP0721"
    guarded = f"f = self.features(x)\nif self.training:\n    {update}\nreturn self.head({value})"
    assert come_in(guarded, prepare).habits.notes == ()
    if "number" not in name and "replaced" not in name:
        assert said in caught.value.message


def test_a_count_of_calls_and_a_cache_change_no_answer(come_in: Build) -> None:
    prepare = "self.register_buffer('calls', torch.zeros((), dtype=torch.long))\nself.cache = {}"
    count = "self.calls += 1\nself.cache[len(x)] = x.shape\nreturn self.scores(x)"
    assert come_in(count, prepare).habits.notes == ()


SHARES: dict[str, Code] = {
    "a lambda over self": {
        "prepare": "self.run = lambda x: self.features(x)",
        "forward": "return self.head(self.run(x))",
    },
    "a lambda over a layer": {
        "prepare": "body = self.body\nself.run = lambda x: F.relu(body(x.flatten(1)))",
        "forward": "return self.head(self.run(x))",
    },
    "functions in a list": {
        "prepare": "self.runs = [lambda x: x.flatten(1), lambda x: self.body(x)]",
        "forward": "for run in self.runs:\n    x = run(x)\nreturn self.head(x)",
    },
    "before a norm": {
        "prepare": "self.norm = nn.LayerNorm(8)\nself.run = lambda x: self.body(x.flatten(1))",
        "forward": "return self.head(self.norm(self.run(x)))",
    },
    "below a scale of zero": {
        "prepare": "self.scale = nn.Parameter(torch.zeros(8))\nself.run = lambda x: self.features(x)",
        "forward": "return self.head(self.scale * self.run(x) + x.flatten(1)[:, :8])",
    },
    "a partial of a lambda": {
        "prepare": "self.run = partial(lambda k, x: k * self.features(x), 2)",
        "forward": "return self.head(self.run(x))",
    },
    "a copy that is itself": {"methods": "def __deepcopy__(self, memo):\n    return self"},
    "a copy that shares a layer": {
        "methods": "def __deepcopy__(self, memo):\n    new = Net()\n    new.body = self.body\n"
        "    new.head.load_state_dict(self.head.state_dict())\n    return new"
    },
}


@pytest.mark.parametrize("name", SHARES)
def test_a_network_whose_copies_share_its_weights(name: str, come_in: Build) -> None:
    with pytest.raises(Refusal) as caught:
        come_in(**SHARES[name])
    assert caught.value.code == "RCP0722" and "still uses the original's weights" in caught.value.message


def test_a_network_that_cannot_be_copied(come_in: Build) -> None:
    with pytest.raises(Refusal) as caught:
        come_in(prepare="self.items = (n for n in range(3))")
    assert caught.value.code == "RCP0722" and "generator" in caught.value.message


@pytest.mark.parametrize("run", ["self.features", "partial(self.features)", "SimpleNamespace(f=self.features).f"])
def test_methods_that_are_copied_with_the_network_are_sound(run: str, come_in: Build) -> None:
    network = come_in("return self.head(self.run(x))", f"self.run = {run}")
    twin = network.clone()
    with torch.no_grad():
        twin.module.body.weight.zero_()
    images = example_input(network)
    with evaluating(network.module), evaluating(twin.module):
        assert not torch.allclose(network.module(images), twin.module(images))


BESIDE = {
    "a permutation of numpy": ("np.random.permutation(16)", "x.flatten(1)[:, self.held]"),
    "a permutation of torch": ("torch.randperm(16)", "x.flatten(1)[:, self.held]"),
    "a list of Python": ("random.sample(range(16), 16)", "x.flatten(1)[:, self.held]"),
    "a number": ("random.random()", "x.flatten(1) * self.held"),
    "a dictionary": ("{'a': [np.random.rand()]}", "x.flatten(1) * self.held['a'][0]"),
    "an object": ("SimpleNamespace(scale=torch.rand(16))", "x.flatten(1) * self.held.scale"),
    "a layer without gradients": ("[nn.Linear(16, 16).requires_grad_(False)]", "self.held[0](x.flatten(1))"),
}


@pytest.mark.parametrize("name", BESIDE)
def test_what_another_build_has_otherwise_is_named(name: str, come_in: Build) -> None:
    value, use = BESIDE[name]
    with pytest.raises(Refusal) as caught:
        come_in(f"return self.scores({use})", f"self.held = {value}\nself.name = 'net'")
    assert caught.value.code == "RCP0723" and caught.value.message.endswith("its state does not hold `held`")


MIX = """
class Mix(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("noise", torch.randn(16), persistent=False)

    def forward(self, x):
        return x.flatten(1) + self.noise
"""


def test_a_buffer_that_is_not_saved_is_named_with_its_path(come_in: Build) -> None:
    with pytest.raises(Refusal, match=r"`mix\.noise`$") as caught:
        come_in("return self.scores(self.mix(x))", "self.mix = Mix()", before=MIX)
    assert caught.value.code == "RCP0723"


def test_a_module_that_holds_what_holds_it_can_be_compared(come_in: Build) -> None:
    network = come_in(
        "return self.scores(self.more(x.flatten(1)))", "self.more = torch.fx.symbolic_trace(nn.Linear(16, 16))"
    )
    assert not network.habits.notes


@pytest.mark.parametrize("drawn", ["np.random.permutation(16)", "torch.randperm(16)", "random.sample(range(16), 16)"])
def test_what_is_drawn_when_the_file_is_imported(drawn: str, come_in: Build) -> None:
    with pytest.raises(Refusal, match="draws or counts outside the module") as caught:
        come_in("return self.scores(x.flatten(1)[:, ORDER])", before=f"ORDER = {drawn}")
    assert caught.value.code == "RCP0723"


def test_layers_in_a_plain_list_are_named(come_in: Build) -> None:
    forward = "x = x.flatten(1)\nfor layer in self.more:\n    x = layer(x)\nreturn self.scores(x)"
    with pytest.raises(Refusal, match=r"4 weights that are not its parameters: `more`;") as caught:
        come_in(forward, "self.more = [nn.Linear(16, 16), nn.Linear(16, 16)]")
    assert caught.value.code == "RCP0723" and "nn.ModuleList" in caught.value.help


def test_a_layer_of_the_file_is_no_weight_of_the_network(come_in: Build) -> None:
    with pytest.raises(Refusal, match="2 weights that are not its parameters") as caught:
        come_in("return self.scores(STEM(x.flatten(1)))", before="torch.manual_seed(3)\nSTEM = nn.Linear(16, 16)")
    assert caught.value.code == "RCP0723"


def test_an_architecture_that_is_drawn(come_in: Build) -> None:
    with pytest.raises(Refusal, match=r"has different weights: .*more") as caught:
        come_in(prepare="self.more = nn.Linear(8, random.randrange(1, 10**6))")
    assert caught.value.code == "RCP0723"


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


HOOK = """
def watch(net):
    net.body.register_forward_hook(lambda module, given, output: net.seen.append(output))
    return net
"""


def test_a_hook_that_writes_to_the_original_is_refused(come_in: Build) -> None:
    code = {"before": HOOK, "after": "def build(classes=3):\n    return watch(Net(classes))"}
    with pytest.raises(Refusal) as caught:
        come_in("self.scores(x)\nreturn self.head(self.seen.pop())", "self.seen = []", **code)
    assert caught.value.code == "RCP0722" and "copy of the network" in caught.value.message


def test_a_kernel_that_is_computed_once_and_kept_is_refused_by_name(come_in: Build) -> None:
    forward = "if self.kept is None:\n    self.kept = (2 * self.head.weight).detach()\n"
    with pytest.raises(Refusal, match="`kept`") as caught:
        come_in(forward + "return F.linear(self.features(x), self.kept)", "self.kept = None")
    assert caught.value.code == "RCP0723"


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
