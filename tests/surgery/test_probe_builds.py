"""A network that another build of the same code would not be is refused: what its state does not hold is named."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from recipelang.errors import Refusal
from recipelang.surgery.network import Network

Build = Callable[..., Network]

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


def test_a_kernel_that_is_computed_once_and_kept_is_refused_by_name(come_in: Build) -> None:
    forward = "if self.kept is None:\n    self.kept = (2 * self.head.weight).detach()\n"
    with pytest.raises(Refusal, match="`kept`") as caught:
        come_in(forward + "return F.linear(self.features(x), self.kept)", "self.kept = None")
    assert caught.value.code == "RCP0723"
