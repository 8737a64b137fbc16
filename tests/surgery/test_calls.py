"""Numbers in the code of a network that count channels: found in a run, and other ones given to the code."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recipelang.errors import Refusal
from recipelang.surgery.calls import leave_to_python, numbers_in, renumbered, replace_numbers, running
from recipelang.surgery.counting import Calls
from recipelang.surgery.edits import from_json
from recipelang.surgery.network import Network
from recipelang.surgery.removable import Removable, find_removable
from recipelang.surgery.removal import Removed, remove_channels
from recipelang.surgery.tracing import evaluating, example_input

Law = Callable[..., tuple[Removable, Removed]]


def test_numbers_are_those_of_all_arguments_in_their_order() -> None:
    x = torch.zeros(2)
    args, kwargs = (x, (2, -1, True), slice(3, None), [4.0, 5], "6"), {"dim": 7, "keep": False, "none": None}
    assert numbers_in(args, kwargs) == [2, -1, 3, 5, 7]
    new, named = renumbered(args, kwargs, {0: 20, 1: 30, 2: 40, 4: 50})
    assert new == (x, (20, -1, True), slice(40, None), [4.0, 5], "6") and named == {**kwargs, "dim": 50}


class Inner(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(2, 12).view(2, 3, 4)


class Outer(nn.Module):
    """Calls of its own before and after those of another module, and in a function and a method."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(x[:, :4])
        x = reshaped(x, 12)
        return self.late(self.inner(x.view(2, 3, 4)))

    def late(self, x: Tensor) -> Tensor:
        assert running()[0] is self
        return x.split([1, 3], dim=-1)[1].unflatten(1, (3, 1)).expand(2, 3, 2, 3)


def reshaped(x: Tensor, size: int) -> Tensor:
    return x.reshape(len(x), size)


def test_calls_belong_to_the_module_whose_code_makes_them() -> None:
    net = Outer()
    with Calls(net) as calls:
        net(torch.zeros(2, 6, 3))
    assert [(each.path, each.call, each.key, each.places, each.given) for each in calls.seen] == [
        ("", "forward:0", ("cut", 6, 4), (None, 0), (4,)),
        ("inner", "forward:0", ("shape", 2, 12), (0, 1), (2, 12)),
        ("inner", "forward:1", ("shape", 2, 3, 4), (0, 1, 2), (2, 3, 4)),
        ("", "reshaped:0", ("shape", 2, 12), (0, 1), (2, 12)),
        ("", "forward:1", ("shape", 2, 3, 4), (0, 1, 2), (2, 3, 4)),
        ("inner", "forward:0", ("shape", 2, 12), (0, 1), (2, 12)),
        ("inner", "forward:1", ("shape", 2, 3, 4), (0, 1, 2), (2, 3, 4)),
        ("", "late:0", ("split", (2, 3, 1), (2, 3, 3)), (0, 1), (1, 3)),
        ("", "late:1", ("shape", 2, 3, 1, 3), (None, 1, 2), (3, 1)),
        ("", "late:2", ("shape", 2, 3, 2, 3), (0, 1, 2, 3), (2, 3, 2, 3)),
    ]


def test_a_module_with_other_numbers_keeps_its_name_its_class_and_copies() -> None:
    net = Outer()
    replace_numbers(net, {("late:0", 0): 2, ("late:0", 1): 2})
    replace_numbers(net, {("late:2", 3): 2})
    net = copy.deepcopy(net)
    assert isinstance(net, Outer) and type(net).__name__ == "Outer" and not net.state_dict()
    assert net(torch.zeros(2, 6, 3)).shape == (2, 3, 2, 2)
    assert Outer()(torch.zeros(2, 6, 3)).shape == (2, 3, 2, 3)


class Divides(nn.Module):
    """Attention as Swin computes it: the width of a head, and the scale, from the width of the input."""

    def __init__(self, heads: int = 4) -> None:
        super().__init__()
        self.num_heads, self.embed = heads, nn.Conv2d(3, 16, 4, stride=4)
        self.qkv, self.proj, self.head = nn.Linear(16, 48), nn.Linear(16, 16), nn.Linear(16, 5)
        self.norm = nn.LayerNorm(16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        b, n, c = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(b, n, 3, self.num_heads, c // self.num_heads).permute(2, 0, 3, 1, 4)
        q = q * (c // self.num_heads) ** -0.5
        x = x + self.proj(((q @ k.transpose(-2, -1)).softmax(-1) @ v).transpose(1, 2).reshape(b, n, c))
        return self.head(x.mean(1))


def test_sizes_that_the_code_divides_out_of_its_input(wrap: Callable[..., Network], law: Law) -> None:
    torch.manual_seed(0)
    found, removed = law(wrap(Divides(), (3, 8, 8)), Divides)
    heads = found.group("qkv")
    assert (heads.kind, heads.size) == ("heads", 4)
    left = removed.network.module.qkv.out_features // 12
    assert removed.network.module.num_heads == 4  # the scale needs it
    assert removed.edit.numbers == (
        ("", "forward:0", 3, left),
        ("", "forward:0", 4, 4),
        ("", "forward:1", 2, 4 * left),
    )
    smaller = removed.network.module
    with evaluating(smaller):
        assert smaller(torch.randn(5, 3, 16, 16)).shape == (5, 5)  # of any number and size of images


class Scales(Divides):
    """Without a norm its embedding could lose channels, but the scale is computed from their number."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.Identity()  # type: ignore[assignment]


def test_what_the_code_computes_with_stays(wrap: Callable[..., Network]) -> None:
    torch.manual_seed(0)
    found = find_removable(wrap(Scales(), (3, 8, 8)))
    assert [group.name for group in found.groups] == ["qkv"]
    assert "the code of the network fixes their number" in found.frozen["embed"]


class Caches(Divides):
    """It computes positions once, with calls of their own, and keeps them."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.kept is None:
            self.kept = self.positions()
        return super().forward(x + self.kept)

    def positions(self) -> Tensor:
        return torch.arange(64.0).view(8, 8).unsqueeze(0).expand(3, 8, 8).reshape(3, 8, 8) / 64


def test_what_is_computed_once_moves_no_number(wrap: Callable[..., Network], law: Law) -> None:
    torch.manual_seed(0)
    net = Caches()
    net(torch.zeros(2, 3, 8, 8))
    _, removed = law(wrap(net, (3, 8, 8)), Caches)  # replayed on a build that has not run yet
    assert removed.edit.numbers


def test_removed_again_from_code_with_other_numbers(wrap: Callable[..., Network]) -> None:
    torch.manual_seed(0)
    network = wrap(Divides(), (3, 8, 8))
    for left in (3, 1):
        found = find_removable(network)
        gone = range(found.group("qkv").size - left)
        network = remove_channels(network, found, {"qkv": gone}).network
        assert network.module.qkv.out_features == 12 * left
    fresh = Divides()
    for edit in network.edits:
        from_json(edit.json()).apply(fresh)
    fresh.load_state_dict(network.module.state_dict())
    with evaluating(fresh), evaluating(network.module):
        assert torch.equal(fresh(example_input(network)), network.module(example_input(network)))


def test_a_program_of_torch_has_the_other_numbers(wrap: Callable[..., Network]) -> None:
    torch.manual_seed(0)
    network = wrap(Divides(), (3, 8, 8))
    found = find_removable(network)
    module = remove_channels(network, found, {"qkv": [0, 2]}).network.module.eval()
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(module, (torch.randn(2, 3, 8, 8),), dynamic_shapes=({0: batch},))
    images = torch.randn(7, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(images), module(images))


def test_a_compiler_leaves_such_code_to_python(wrap: Callable[..., Network]) -> None:
    torch.manual_seed(0)
    network = wrap(nn.Sequential(Divides(), nn.Linear(5, 3)), (3, 8, 8))
    module = remove_channels(network, find_removable(network), {"0.qkv": [0, 2]}).network.module.eval()
    example = example_input(network)
    with torch.inference_mode():
        expected = module(example)
        leave_to_python(module)
        compiled = torch.compile(module, backend="eager")
        torch.testing.assert_close(compiled(example), expected)
    torch._dynamo.reset()


class Names(nn.Module):
    """Two calls of one shape, of which only one counts channels."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.a(x)).reshape(len(x), 8, 64).transpose(1, 2)
        return self.b(y.reshape(len(x), 8, 8, 8).mean((1, 2)))


def test_a_number_is_known_by_its_place_and_not_by_its_value(wrap: Callable[..., Network], law: Law) -> None:
    torch.manual_seed(0)
    _, removed = law(wrap(Names(), (3, 8, 8)), Names)
    width = removed.network.module.a.out_channels
    assert removed.edit.numbers == (("", "forward:0", 1, width), ("", "forward:1", 3, width))


@pytest.mark.parametrize(
    "calls",
    [
        [],
        {"": 3},
        {"": [[]]},
        {"": [["a:0", 2]]},
        {"": [[0, 1, 2]]},
        {"": [["a:0", 2, -3]]},
        {"": [["a:0", 0, 1], ["a:0", 0, 2]]},
    ],
)
def test_numbers_of_another_form_are_refused(calls: Any) -> None:
    cut = {"gone": [[0, 1]], "of": 8, "at": [["a.weight", 0]]}
    with pytest.raises(Refusal) as caught:
        from_json({"edit": "remove_channels", "cut": [cut], "set": {}, "calls": calls})
    assert caught.value.code == "RCP0714"


def test_a_module_that_is_not_there_is_refused() -> None:
    cut = {"gone": [[0, 1]], "of": 8, "at": [["a.weight", 0]]}
    edit = from_json({"edit": "remove_channels", "cut": [cut], "set": {}, "calls": {"c": [["a:0", 1, 2]]}})
    with pytest.raises(Refusal, match="no `c`") as caught:
        edit.apply(Names())
    assert caught.value.code == "RCP0701"


def test_what_hooks_do_is_not_counted() -> None:
    net = Outer()
    with Calls(net) as alone:
        net(torch.zeros(2, 6, 3))
    net.inner.register_forward_hook(lambda part, args, output: output[:, :2] is None or None)
    net.inner.register_forward_pre_hook(lambda part, args: (args[0].reshape(args[0].shape),))
    with Calls(net) as hooked:
        net(torch.zeros(2, 6, 3))
    assert hooked.seen == alone.seen
