"""Removal, parity and the edit log."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.nets.digits_resnet import digits_resnet
from recipelang.surgery.candidates import find_layers
from recipelang.surgery.edits import RemoveLayer, apply_edits, from_json, remove, replay
from recipelang.surgery.network import Network
from recipelang.surgery.restricting import hold
from recipelang.surgery.restrictions.mask import Mask
from recipelang.surgery.tracing import evaluating, example_input

REMOVABLE = tuple(f"layer{stage}.{block}" for stage in (1, 2) for block in range(5) if (stage, block) != (2, 0))


def answer(network: Network) -> Tensor:
    with evaluating(network.module):
        return network.module(example_input(network))


def test_removing_a_block_is_what_skipping_its_branch_gives(digits: Network) -> None:
    """The reference is written by hand: the network's forward without that block."""
    smaller = apply_edits(digits, [RemoveLayer("layer1.2", ("layer1.2",))])
    module = digits.module
    with evaluating(module):
        x = module.bn1(module.conv1(example_input(digits))).relu()
        for name, block in [*module.layer1.named_children()]:
            x = x if name == "2" else block(x)
        expected = module.linear(module.layer2(x).mean(dim=(2, 3)))
    assert torch.allclose(answer(smaller), expected, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(answer(smaller), answer(digits), rtol=1e-3)


def test_the_network_before_stands(digits: Network) -> None:
    before = {k: v.clone() for k, v in digits.module.state_dict().items()}
    smaller = apply_edits(digits, [RemoveLayer("layer1.2", ("layer1.2",))])
    assert set(digits.module.state_dict()) == set(before)
    assert digits.edits == ()
    assert smaller.edits == (RemoveLayer("layer1.2", ("layer1.2",)),)
    assert not any(name.startswith("layer1.2.") for name in smaller.module.state_dict())
    assert "layer1.3.conv1.weight" in smaller.module.state_dict()


@pytest.mark.parametrize("path", ["layer1.0.conv1", "layer1.0.bn2", "layer2.0", "layer2", "conv1", "linear", "bn1"])
def test_a_wrong_edit_is_caught(digits: Network, path: str) -> None:
    before = answer(digits)
    with pytest.raises(Refusal) as caught:
        apply_edits(digits, [RemoveLayer("layer1.1", ("layer1.1",)), RemoveLayer(path, (path,))])
    assert caught.value.code == "RCP0702"
    assert f"`{path}`" in caught.value.message
    assert torch.equal(answer(digits), before)


def test_a_zero_head_does_not_hide_a_wrong_edit(digits: Network) -> None:
    """New vision transformers return zeros: parity compares after every remaining layer, not at the output alone."""
    nn.init.zeros_(digits.module.linear.weight)
    nn.init.zeros_(digits.module.linear.bias)
    with pytest.raises(Refusal, match="layer1.0 differs"):
        apply_edits(digits, [RemoveLayer("layer1.0.conv1", ("layer1.0.conv1",))])


def test_a_plain_run_is_bypassed_also_where_its_activation_works_in_place(wrap: Callable[..., Network]) -> None:
    run = [nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)]
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.3), *run, nn.Flatten(), nn.LazyLinear(3))
    module(torch.zeros(1, 3, 8, 8))
    network = wrap(module)
    (layer,) = find_layers(network.module, example_input(network))
    assert layer.paths == ("2", "3", "4")
    smaller = apply_edits(network, [remove(layer)])
    with evaluating(network.module):
        x = example_input(network)
        expected = network.module[6](network.module[5](network.module[1](network.module[0](x))))
    assert torch.equal(answer(smaller), expected)
    assert not torch.allclose(answer(network), expected)


def test_an_edit_after_which_the_network_cannot_run_is_refused(wrap: Callable[..., Network]) -> None:
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block, self.head = Block(), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.block(x).mean(dim=(2, 3)) * self.block.scale)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.scale = nn.Conv2d(3, 3, 1), 2.0

        def forward(self, x: Tensor) -> Tensor:
            return x + self.conv(x)

    with pytest.raises(Refusal, match="it no longer runs: AttributeError") as caught:
        apply_edits(wrap(Reads()), [RemoveLayer("block", ("block",))])
    assert caught.value.code == "RCP0702"


@pytest.mark.parametrize("path", ["", "layer9", "layer1.0.forward", "layer1.0.conv1.weight", "__class__"])
def test_a_path_that_is_no_module_is_refused(digits: Network, path: str) -> None:
    for check in (True, False):
        with pytest.raises(Refusal) as caught:
            apply_edits(digits, [RemoveLayer(path, (path,))], check=check)
        assert caught.value.code == "RCP0701"


def test_masks_of_a_removed_layer_go_with_it(digits: Network) -> None:
    weight = digits.module.layer1[0].conv1.weight
    mask = Mask("2:4", torch.ones_like(weight, dtype=torch.bool))
    masked = digits.restricted({"layer1.0.conv1.weight": mask, "layer1.1.conv1.weight": mask})
    smaller = apply_edits(masked, [RemoveLayer("layer1.0", ("layer1.0",))])
    assert set(smaller.masks) == {"layer1.1.conv1.weight"}
    hold(smaller.module, smaller.restrictions)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.sampled_from(REMOVABLE), unique=True, max_size=5), data=st.data())
def test_the_log_replayed_on_a_fresh_build_gives_the_edited_network(
    digits: Network, names: list[str], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(names)))
    edits = [RemoveLayer(name, (name,)) for name in names]
    smaller = apply_edits(apply_edits(digits, edits[:cut]), edits[cut:])
    again = digits_resnet()
    replay(again, [from_json(edit.json()) for edit in smaller.edits])
    assert again.state_dict().keys() == smaller.module.state_dict().keys()
    again.load_state_dict(smaller.module.state_dict())
    with evaluating(again):
        assert torch.equal(again(example_input(digits)), answer(smaller))


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        "remove_layer",
        {},
        {"edit": "run", "name": "x", "paths": ["x"]},
        {"edit": "remove_layer", "name": "x"},
        {"edit": "remove_layer", "name": "x", "paths": []},
        {"edit": "remove_layer", "name": "x", "paths": [1]},
        {"edit": "remove_layer", "name": "x", "paths": ["x"], "code": "import os"},
    ],
)
def test_a_log_entry_that_is_no_edit_is_refused(entry: object) -> None:
    with pytest.raises(Refusal) as caught:
        from_json(entry)
    assert caught.value.code == "RCP0714"
