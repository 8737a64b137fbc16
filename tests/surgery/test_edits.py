"""Removal, parity and the edit log."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torchvision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from recipelang import catalogue
from recipelang.errors import Refusal
from recipelang.kinds import Edit
from recipelang.nets.digits_resnet import digits_resnet
from recipelang.surgery.candidates import find_layers
from recipelang.surgery.edits import RemoveLayer, apply_edits, from_json, remove, replay
from recipelang.surgery.edits.add_token import AddToken
from recipelang.surgery.edits.ensemble import Ensemble
from recipelang.surgery.edits.exit import LeaveAt
from recipelang.surgery.edits.unfold_attention import UnfoldAttention
from recipelang.surgery.exits import Exit, after
from recipelang.surgery.network import Network
from recipelang.surgery.points import find_points
from recipelang.surgery.removable import find_removable
from recipelang.surgery.removal import edit_of
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


# -- every kind of edit ------------------------------------------------------------------------------


def remove_some_channels(network: Network) -> Edit:
    return edit_of(network, find_removable(network), {"conv1": [0, 3, 4], "layer2.1.conv1": [31]})


class Attentive(nn.Module):
    """Attention of torch over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(*[x.flatten(1, 2)] * 3)[0].mean(1)


def one_channel_transformer() -> nn.Module:
    module = torchvision.models.VisionTransformer(8, 4, 2, 2, 12, 16, num_classes=10)
    module.conv_proj = nn.Conv2d(1, 12, 4, stride=4)
    nn.init.normal_(module.heads[0].weight)  # it begins with zeros  # type: ignore[arg-type]
    return module.eval()


#: kind → one edit of it, on the embedded network
def ended_early(network: Network) -> LeaveAt:
    example = example_input(network)
    (point,) = [one for one in find_points(network.module, example, "it").every if one.path == "layer2.0"]
    return LeaveAt(Exit.at(point, 10, 2), after(network.module, point.path, example))


SAMPLES: dict[str, Callable[[Network], Edit]] = {
    "remove_layer": lambda network: RemoveLayer("layer1.2", ("layer1.2",)),
    "remove_channels": remove_some_channels,
    "unfold_attention": lambda network: UnfoldAttention(("attention",)),
    "ensemble": lambda network: Ensemble(3),
    "add_token": lambda network: AddToken(),
    "exit": ended_early,
}
#: kinds of edits of other networks, with one
OTHERS: dict[str, Callable[[], nn.Module]] = {"add_token": one_channel_transformer}
#: kinds of edits that change no answer, with a network that has what they change
EXACT: dict[str, Callable[[], nn.Module]] = {"unfold_attention": Attentive, "ensemble": digits_resnet}


@pytest.mark.parametrize("kind", catalogue.names("edit"))
def test_every_edit_keeps_what_the_log_asks_of_it(kind: str, digits: Network) -> None:
    if kind in EXACT:
        digits = replace(digits, module=EXACT[kind]())
    if kind in OTHERS:
        digits = replace(digits, module=OTHERS[kind]())
    edit = SAMPLES[kind](digits)
    assert edit.kind == kind and str(edit)
    assert from_json(json.loads(json.dumps(edit.json()))) == edit
    before = {name: value.clone() for name, value in digits.module.state_dict().items()}
    with evaluating(digits.module):
        expected = edit.run_neutralised(digits.module, example_input(digits))
        whole = digits.module(example_input(digits))
    assert all(torch.equal(before[name], value) for name, value in digits.module.state_dict().items())
    edited = apply_edits(digits, [edit])
    assert torch.allclose(answer(edited), expected, rtol=1e-4, atol=1e-5)
    assert torch.allclose(answer(edited), whole, rtol=1e-3) == (kind in EXACT)
    after = edited.module.state_dict()
    for name, value in before.items():
        remaining = edit.left(name, value)
        assert (remaining is None) == edit.removes(name) == (name not in after)
        assert remaining is None or torch.equal(remaining, after[name])
    assert {name for name in before if before[name].shape != after.get(name, before[name]).shape} <= {
        name for name in before if edit.left(name, before[name]) is not before[name]
    }
    with pytest.raises(Refusal) as caught:
        replay(nn.Linear(2, 2), [edit])
    assert caught.value.code == "RCP0701"


@pytest.mark.parametrize(
    "change",
    [
        {"cut": []},
        {"cut": [{"gone": [[0, 4]], "of": 4, "at": [["conv1.weight", 0]]}]},
        {"cut": [{"gone": [[0, 5]], "of": 4, "at": [["conv1.weight", 0]]}]},
        {"cut": [{"gone": [[2, 1]], "of": 4, "at": [["conv1.weight", 0]]}]},
        {"cut": [{"gone": [[2, 3], [0, 1]], "of": 4, "at": [["conv1.weight", 0]]}]},
        {"cut": [{"gone": [[0, 1], [0, 1]], "of": 4, "at": [["conv1.weight", 0]]}]},
        {"cut": [{"gone": [[-1, 1]], "of": 4, "at": [["conv1.weight", 0]]}]},
        {"cut": [{"gone": [[0, True]], "of": 4, "at": [["conv1.weight", 0]]}]},
        {"cut": [{"gone": [[0]], "of": 4, "at": [["conv1.weight", 0]]}]},
        {"cut": [{"gone": [], "of": 4, "at": [["conv1.weight", 0]]}]},
        {"cut": [{"gone": [[0, 1]], "of": 10**30, "at": [["conv1.weight", 0]]}]},
        {"cut": [{"gone": [[0, 1]], "of": 4, "at": []}]},
        {"cut": [{"gone": [[0, 1]], "of": 4, "at": [["conv1.weight", -1]]}]},
        {"cut": [{"gone": [[0, 1]], "of": 4, "at": [["conv1.weight", 99]]}]},
        {"cut": [{"gone": [[0, 1]], "of": 4, "at": ["conv1.weight"]}]},
        {"cut": [{"gone": [[0, 1]], "of": 4, "at": [["a", 0]]}, {"gone": [[1, 2]], "of": 4, "at": [["a", 0]]}]},
        {"cut": [{"gone": [[0, 1]], "of": 4, "at": [["a", 0]], "code": "x"}]},
        {"set": {"conv1": {"__class__": 3}}},
        {"set": {"conv1": {"_parameters": 3}}},
        {"set": {"conv1": {"out_channels": 0}}},
        {"set": {"conv1": {"out_channels": "3"}}},
        {"set": {"conv1": {"out_channels": [True]}}},
        {"set": {"conv1": 3}},
        {"normalised": [["a"]]},
        {"code": "import os"},
    ],
)  # fmt: skip
def test_a_cut_that_cannot_be_meant_is_refused(change: dict[str, object]) -> None:
    good = {"edit": "remove_channels", "cut": [{"gone": [[0, 1]], "of": 4, "at": [["a", 0]]}], "set": {}}
    assert from_json(good).json() == good
    with pytest.raises(Refusal) as caught:
        from_json({**good, **change})
    assert caught.value.code == "RCP0714"


@pytest.mark.parametrize(
    ("cut", "sizes", "words"),
    [
        ([[0, 1]], {"conv9": {"out_channels": 3}}, "conv9.out_channels"),
        ([[0, 1]], {"conv1": {"forward": 3}}, "conv1.forward"),
        ([[0, 1]], {"conv1": {"out_channels": 99}}, "may become 99"),
        ([[0, 1]], {"conv1": {"kernel_size": [3]}}, "may become"),
        ([[0, 1]], {"conv1": {"training": 1}}, "conv1.training"),
    ],
)
def test_a_log_sets_only_sizes_and_makes_them_smaller(
    cut: list[list[int]], sizes: dict[str, object], words: str, digits: Network
) -> None:
    entry = {"edit": "remove_channels", "cut": [{"gone": cut, "of": 16, "at": [["conv1.weight", 0]]}], "set": sizes}
    before = {name: value.clone() for name, value in digits.module.state_dict().items()}
    with pytest.raises(Refusal, match=words) as caught:
        replay(digits.module, [from_json(entry)])
    assert caught.value.code == "RCP0701"
    assert all(torch.equal(before[name], value) for name, value in digits.module.state_dict().items())


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
