"""A network that answers otherwise when it is asked again, or when it was copied, is refused by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from recipelang.errors import Refusal
from recipelang.surgery.network import Network
from recipelang.surgery.tracing import evaluating, example_input

Build = Callable[..., Network]
Code = dict[str, str]

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


def test_a_weak_dropout_is_found_whatever_it_drops_in_the_first_calls(come_in: Build) -> None:
    """It keeps all eight numbers of both images in 44 % of its calls."""
    for seed in range(60):
        torch.manual_seed(seed)
        with pytest.raises(Refusal) as caught:
            come_in("f = self.features(x)\nreturn self.head(F.dropout(f, 0.05))")
        assert caught.value.code == "RCP0721"


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
