"""Networks that answer earlier: what they compute, what has left them, and that they stay networks like others."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.kinds import Point
from recipelang.measuring.flops import count
from recipelang.methods.units.filters import Filters
from recipelang.plan import Selection
from recipelang.surgery.deployed import deployed
from recipelang.surgery.edits import apply_edits, from_json, replay
from recipelang.surgery.edits.exit import LeaveAt
from recipelang.surgery.ending import ending_at
from recipelang.surgery.exits import HEAD, Classifier, Exit
from recipelang.surgery.network import Network
from recipelang.surgery.points import find_points
from recipelang.surgery.restrictions.mask import Mask
from recipelang.surgery.tracing import evaluating, example_input

Build = Callable[..., Network]


def exit_behind(network: Network, path: str, classes: int = 5) -> tuple[Exit, Classifier]:
    points = find_points(network.module, example_input(network), "the network")
    (point,) = [point for point in points.every if point.path == path]
    place = Exit.at(point, classes, 2)
    torch.manual_seed(1)
    return place, place.head()


def answer(module: nn.Module, images: Tensor) -> Tensor:
    with evaluating(module), torch.no_grad():
        found: Tensor = module(images)
    return found


class Tokens(nn.Module):
    """A small transformer with a class token, as vision transformers are written."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 2, stride=2)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) for _ in range(3))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        for block in self.blocks:
            x = block(x)
        scores: Tensor = self.head(self.norm(x)[:, 0])
        return scores


def sequence() -> nn.Module:
    inside = nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU())
    return nn.Sequential(nn.Conv2d(3, 4, 3), inside, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))


def head_by_hand(head: Any, maps: Tensor) -> Tensor:
    """Section 7.2.4 of the thesis, step by step in plain torch: maps B×C×H×W."""
    wide = torch.einsum("bchw,oc->bohw", maps, head.widen.weight[:, :, 0, 0]) + head.widen.bias[:, None, None]
    padded = nn.functional.pad(wide, (1, 1, 1, 1))
    height, width = wide.shape[2:]
    mixed = sum(
        padded[:, :, y : y + height, x : x + width] * head.mix.weight[:, 0, y, x][:, None, None]
        for y in range(3)
        for x in range(3)
    )
    norm = head.norm
    scaled = (mixed - norm.running_mean[:, None, None]) / (norm.running_var + norm.eps).sqrt()[:, None, None]
    scaled = scaled * norm.weight[:, None, None] + norm.bias[:, None, None]
    half = 0.5 * scaled * (1 + torch.erf(scaled / 2**0.5))
    return half.mean((2, 3)) @ head.classify.weight.T + head.classify.bias


@pytest.mark.parametrize("extra", [0, 1, 2], ids=["places", "class token", "class and distillation token"])
def test_a_classifier_is_the_figure_of_the_thesis(extra: int) -> None:
    torch.manual_seed(0)
    head = Classifier((9 + extra, 4), 5, 4).eval()
    head.norm.running_mean.normal_()
    tokens = torch.randn(3, 9 + extra, 4)
    maps = torch.stack([tokens[:, extra + 3 * y : extra + 3 * y + 3] for y in range(3)], 1).permute(0, 3, 1, 2)
    torch.testing.assert_close(head(tokens), head_by_hand(head, maps), rtol=1e-5, atol=1e-5)
    by_map = Classifier((4, 3, 3), 5, 4).eval()
    by_map.load_state_dict(head.state_dict())
    torch.testing.assert_close(by_map(maps), head(tokens), rtol=1e-5, atol=1e-5)


def test_tokens_that_are_no_square_and_large_maps_have_a_classifier() -> None:
    assert Classifier((23, 4), 5, 1)(torch.randn(2, 23, 4)).shape == (2, 5)
    assert Classifier((4, 40, 33), 5, 1)(torch.randn(2, 4, 40, 33)).shape == (2, 5)


@pytest.mark.parametrize("path", ["layer1.1", "layer1", "layer2.0"])
def test_a_residual_network_ends_behind_a_block(digits: Network, path: str) -> None:
    place, head = exit_behind(digits, path, 10)
    smaller = ending_at(digits, place, head)
    images = example_input(digits, batch=3)
    module = digits.module.eval()
    with torch.no_grad():
        x = module.bn1(module.conv1(images)).relu()
        for name, block in [
            *((f"layer1.{n}", b) for n, b in module.layer1.named_children()),
            *((f"layer2.{n}", b) for n, b in module.layer2.named_children()),
        ]:
            x = block(x)
            if name == path or (path == "layer1" and name == "layer1.4"):
                break
        torch.testing.assert_close(answer(smaller.module, images), head.eval()(x), rtol=1e-5, atol=1e-5)
    names = set(smaller.module.state_dict())
    assert not any(name.startswith(("linear", "layer2.1")) for name in names)
    assert {name for name in names if not name.startswith(HEAD)} < set(digits.module.state_dict())
    flops = [count(deployed(one), example_input(one, batch=1)).flops for one in (smaller, digits)]
    assert flops[0] < flops[1]


def test_transformers_and_sequences_end_behind_a_block(wrap: Build) -> None:
    network = wrap(Tokens())
    place, head = exit_behind(network, "blocks.1")
    smaller = ending_at(network, place, head)
    assert len(smaller.module.blocks) == 2
    images, module = example_input(network), network.module
    with evaluating(module), torch.no_grad():
        x = module.embed(images).flatten(2).transpose(1, 2)
        x = torch.cat([module.token.expand(len(x), -1, -1), x], 1)
        x = module.blocks[1](module.blocks[0](x))
        torch.testing.assert_close(answer(smaller.module, images), head.eval()(x), rtol=1e-5, atol=1e-5)

    network = wrap(sequence())
    place, head = exit_behind(network, "1")
    smaller = ending_at(network, place, head)
    with evaluating(network.module), torch.no_grad():
        expected = head.eval()(network.module[1](network.module[0](images)))
    torch.testing.assert_close(answer(smaller.module, images), expected, rtol=1e-5, atol=1e-5)


def test_an_exit_trains_exports_and_can_be_pruned(digits: Network) -> None:
    smaller = ending_at(digits, *exit_behind(digits, "layer1.3", 10))
    module = copy.deepcopy(smaller.module).train()
    module(torch.randn(4, 1, 8, 8)).square().mean().backward()
    assert all(p.grad is not None for n, p in module.named_parameters())
    program = torch.export.export(smaller.module.eval(), (torch.randn(3, 1, 8, 8),))
    images = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(program.module()(images), answer(smaller.module, images), rtol=1e-4, atol=1e-5)
    offer = Filters().find(smaller, Selection())
    assert any(group.name.startswith("layer1.2") for group in offer.groups)


def test_the_edit_is_read_back_and_refuses_what_no_network_has(digits: Network) -> None:
    smaller = ending_at(digits, *exit_behind(digits, "layer1.1", 10))
    (edit,) = smaller.edits
    assert from_json(edit.json()) == edit
    fresh = copy.deepcopy(digits.module)
    replay(fresh, [edit])
    fresh.load_state_dict(smaller.module.state_dict())
    images = example_input(digits)
    assert torch.equal(answer(fresh, images), answer(smaller.module, images))
    for entry in ({**edit.json(), "axis": 0}, {**edit.json(), "shape": [1]}, {**edit.json(), "classes": 0}):
        with pytest.raises(Refusal, match="not an edit"):
            from_json(entry)
    with pytest.raises(Refusal) as caught:
        replay(fresh, [edit])
    assert caught.value.code == "RCP0701"


def test_masks_stay_before_the_exit_and_go_behind_it(digits: Network) -> None:
    masks = {
        name: Mask("some", torch.rand(digits.module.get_parameter(name).shape) < 0.5)
        for name in ("layer1.0.conv1.weight", "layer2.0.conv1.weight")
    }
    smaller = ending_at(digits.restricted(masks), *exit_behind(digits, "layer1.1", 10))
    assert set(smaller.restrictions) == {"layer1.0.conv1.weight"}


def test_a_new_exit_answers_zero(digits: Network) -> None:
    point = Point("layer1.1", (16, 8, 8), 0.2, True, True)
    made = apply_edits(
        digits, [LeaveAt(Exit.at(point, 7, 4), ("layer1.2", "layer1.3", "layer1.4", "layer2", "linear"))]
    )
    assert torch.equal(answer(made.module, example_input(digits)), torch.zeros(2, 7))


class Nested(nn.Module):
    """Blocks inside an encoder with code of its own, which returns a tuple."""

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()) for _ in range(3))
            self.norm = nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> tuple[Tensor, int]:
            for block in self.blocks:
                x = x + block(x)
            return self.norm(x), 1

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.encoder, self.head = nn.Conv2d(3, 4, 3), Nested.Encoder(), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        maps, _ = self.encoder(self.stem(x))
        scores: Tensor = self.head(maps.mean((2, 3)))
        return scores


def test_code_of_the_modules_around_an_exit_need_not_be_known(wrap: Build) -> None:
    network = wrap(Nested())
    place, head = exit_behind(network, "encoder.blocks.1")
    smaller = ending_at(network, place, head)
    images, module = example_input(network), network.module
    with evaluating(module), torch.no_grad():
        x = module.stem(images)
        x = x + module.encoder.blocks[0](x)
        expected = head.eval()(module.encoder.blocks[1](x))
        exported = torch.export.export(smaller.module.eval(), (images,)).module()(images)
    torch.testing.assert_close(answer(smaller.module, images), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(exported, expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(RuntimeError):  # what happens before the exit is not hidden
        smaller.module(torch.randn(2, 7, 8, 8))
