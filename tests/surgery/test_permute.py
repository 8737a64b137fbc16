"""Channels in another order: the same function, masks reordered too, and a refusal where the function changes."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.methods.patterns.nm import NM
from recipelang.surgery import artifact
from recipelang.surgery.channels import ChannelGroup, Channels, Member, find_channels
from recipelang.surgery.masks import eligible, sparsify
from recipelang.surgery.network import Network
from recipelang.surgery.parity import relative_difference
from recipelang.surgery.permute import Reordering, permute, prunable, reorder, require_groups, stacked
from recipelang.surgery.restricting import broken
from recipelang.surgery.tracing import evaluating, example_input

Wrap = Callable[..., Network]


def groups_of(network: Network) -> tuple[ChannelGroup, ...]:
    return find_channels(network.module, example_input(network)).groups


def at_random(groups: tuple[ChannelGroup, ...], seed: int = 0) -> list[Reordering]:
    chance = random.Random(seed)
    return [Reordering(group, tuple(chance.sample(range(group.size), group.size))) for group in groups]


def difference(network: Network, other: Network) -> float:
    example = example_input(network)
    with evaluating(network.module), evaluating(other.module):
        return relative_difference(other.module(example), network.module(example))


def test_the_function_stays_and_the_weights_do_not(resnet20: Network) -> None:
    before = {name: tensor.clone() for name, tensor in resnet20.module.state_dict().items()}
    permuted = permute(resnet20, at_random(groups_of(resnet20)))
    assert difference(resnet20, permuted) < 1e-5
    after = permuted.module.state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert all(name.endswith("num_batches_tracked") or name == "linear.bias" for name in same)
    assert all(
        torch.equal(before[name].flatten().sort().values, after[name].flatten().sort().values) for name in before
    )
    assert all(torch.equal(tensor, before[name]) for name, tensor in resnet20.module.state_dict().items())
    assert permuted.edits == resnet20.edits and permuted.source == resnet20.source


def test_there_and_back(digits: Network) -> None:
    there = at_random(groups_of(digits))
    back = [Reordering(r.group, tuple(torch.tensor(r.order).argsort().tolist())) for r in there]
    state = permute(permute(digits, there), back).module.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in digits.module.state_dict().items())


def test_an_order_says_which_channel_comes_to_each_place() -> None:
    group = ChannelGroup((Member("w", 1, (2, 0, 3)), Member("w", 0, (0, 1, 2))))
    old = torch.arange(12.0).reshape(3, 4)
    found = reorder({"w": old, "other": old}, [Reordering(group, (1, 2, 0))])
    # Places 2, 0, 3 of axis 1 get what stood in 0, 3, 2; then rows 0, 1, 2 get rows 1, 2, 0.
    columns = old.clone()
    columns[:, 2], columns[:, 0], columns[:, 3] = old[:, 0], old[:, 3], old[:, 2]
    assert found.keys() == {"w"} and torch.equal(found["w"], columns[[1, 2, 0]])


def test_a_trained_network_goes_on_training_mode_and_all(resnet20: Network) -> None:
    resnet20.module.train()
    resnet20.module.layer1.eval()
    permuted = permute(resnet20, at_random(groups_of(resnet20)))
    modes = {path: part.training for path, part in resnet20.module.named_modules()}
    assert {path: part.training for path, part in permuted.module.named_modules()} == modes


def test_masks_move_along(digits: Network) -> None:
    parameters = dict(digits.module.named_parameters())
    names, _ = eligible(digits, NM())
    sparse = sparsify(digits, NM(), {name: parameters[name].detach().abs() for name in names})
    permuted = permute(sparse, at_random(groups_of(sparse)))
    assert not broken(permuted) and difference(sparse, permuted) < 1e-5
    for name, mask in permuted.masks.items():
        weight = permuted.module.get_parameter(name)
        assert torch.equal(weight != 0, mask.keep) and mask.pattern == "2:4"
    assert any(not torch.equal(mask.keep, sparse.masks[name].keep) for name, mask in permuted.masks.items())


def test_what_is_saved_comes_back(digits: Network, tmp_path: Path) -> None:
    permuted = permute(digits, at_random(groups_of(digits)))
    artifact.save(permuted, tmp_path / "net")
    back = artifact.load(tmp_path / "net")
    state = permuted.module.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in back.module.state_dict().items())
    assert difference(digits, back) < 1e-5


def test_a_member_left_out_is_refused_and_nothing_changes(digits: Network) -> None:
    group = groups_of(digits)[0]
    before = {name: tensor.clone() for name, tensor in digits.module.state_dict().items()}
    for number in (0, 5, len(group.members) - 1):
        short = ChannelGroup(tuple(member for k, member in enumerate(group.members) if k != number))
        with pytest.raises(Refusal, match="reordered the network computes a different function: ") as refusal:
            permute(digits, at_random((short,)))
        assert refusal.value.code == "RCP0719"
    assert all(torch.equal(tensor, before[name]) for name, tensor in digits.module.state_dict().items())


def test_a_head_of_zeros_hides_nothing(wrap: Wrap) -> None:
    """A new network may return zeros whatever is done to it; the layers in between do not."""
    torch.manual_seed(0)
    from torchvision.models import VisionTransformer

    network = wrap(VisionTransformer(32, 8, 2, 2, 32, 64, num_classes=7), (3, 32, 32))
    nn.init.zeros_(network.module.heads.head.weight)
    stream = max(groups_of(network), key=lambda group: len(group.members))
    assert difference(network, permute(network, at_random((stream,)))) == 0
    short = ChannelGroup(
        tuple(member for member in stream.members if member.name != "encoder.layers.encoder_layer_1.mlp.0.weight")
    )
    with pytest.raises(Refusal, match="`encoder.layers.encoder_layer_1") as refusal:
        permute(network, at_random((short,)))
    assert refusal.value.code == "RCP0719"


class Hidden(nn.Module):
    """Numbers that are not parameters: a graph cannot hold them, and nothing can reorder them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 1), nn.Linear(8, 2)
        self.scale = [float(k) for k in range(8)]

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x).mean((2, 3))
        return self.last(torch.stack([y[:, k] * s for k, s in enumerate(self.scale)], 1))


def test_numbers_beside_the_parameters_keep_their_channels_in_place(wrap: Wrap) -> None:
    network = wrap(Hidden())
    with pytest.raises(Refusal) as refusal:
        require_groups(network, ("last.weight",), NM())
    assert refusal.value.code == "RCP0720"
    assert "before 2:4: those of 1 weight: each of them is a tensor of its own" in str(refusal.value)


# -- which groups matter to a pattern ----------------------------------------------------------------


def channels(*members: tuple[str, int, list[int]]) -> Channels:
    return Channels((ChannelGroup(tuple(Member(name, axis, tuple(where)) for name, axis, where in members)),), {})


def places(*groups: tuple[int, int]) -> list[int]:
    return [k for start, count in groups for k in range(start, start + count)]


def sizes(found: tuple[ChannelGroup, ...]) -> list[int]:
    return [group.size for group in found]


def test_channels_that_are_pruned_with_others_stay() -> None:
    aligned = channels(("w", 1, places((0, 8))), ("v", 1, places((4, 8))))
    assert sizes(prunable(aligned, {"w", "v"}, 4)) == [8]
    shifted = channels(("w", 1, places((0, 8))), ("v", 1, places((2, 8))))
    assert sizes(prunable(shifted, {"w", "v"}, 4)) == []
    assert sizes(prunable(shifted, {"w"}, 4)) == [8]  # nothing is pruned of the other one
    ragged = prunable(channels(("w", 1, places((3, 14)))), {"w"}, 4)
    assert [group.members[0].positions for group in ragged] == [tuple(range(4, 16))]
    assert sizes(prunable(channels(("w", 1, places((4, 4)))), {"w"}, 4)) == []  # one group of m: nothing to choose
    assert sizes(prunable(channels(("w", 1, places((0, 6)))), {"w"}, 3)) == [6]


def test_a_weight_that_holds_them_twice_counts_twice() -> None:
    twice = channels(("w", 1, places((0, 8))), ("w", 1, places((8, 8))), ("first", 0, places((0, 8))))
    (group,) = prunable(twice, {"w"}, 4)
    scores = torch.arange(32.0).reshape(2, 16)
    assert torch.equal(stacked({"w": scores}, group), torch.cat([scores[:, :8], scores[:, 8:]]))


def test_a_convolution_gives_a_row_for_each_filter_and_place(digits: Network) -> None:
    group = next(g for g in groups_of(digits) if any(m.name == "layer1.0.conv2.weight" for m in g.at(1)))
    weight = digits.module.get_parameter("layer1.0.conv2.weight").detach()
    rows = stacked({"layer1.0.conv2.weight": weight}, group)
    assert rows.shape == (16 * 9, 16)
    assert torch.equal(rows[9 * 5 + 7], weight[5, :, 2, 1])


def test_a_weight_that_stays_in_its_pattern_holds_its_inputs(digits: Network) -> None:
    weight = digits.module.get_parameter("layer1.0.conv2.weight").detach()
    first = sparsify(digits, NM(), {"layer1.0.conv2.weight": weight.abs()})
    names, _ = eligible(first, NM())
    others = [name for name in names if name != "layer1.0.conv2.weight"]
    free = {member.name for group in require_groups(first, others, NM()) for member in group.at(1)}
    assert "layer1.0.conv2.weight" not in free and len(free) == len(others)
    assert len(require_groups(first, names, NM())) == len(require_groups(first, others, NM())) + 1
