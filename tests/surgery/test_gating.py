"""Gates on parts: at 0 they are the removal, elsewhere they multiply what is read; on networks that nobody prepared."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from answers import outputs
from awkward_networks import NETWORKS
from torch import Tensor, nn
from torch.nn import functional as F

from recipelang.errors import Refusal
from recipelang.kinds import Scheme
from recipelang.methods.units.filters import Filters
from recipelang.methods.units.heads import Heads
from recipelang.methods.units.neurons import Neurons
from recipelang.plan import Selection, Selector
from recipelang.surgery.gating import Gated, Gates, GateState, gates_on
from recipelang.surgery.network import Network
from recipelang.surgery.restrictions.grid import Grid
from recipelang.surgery.tracing import example_input

ALL = Selection()


def without(network: Network, gated: Gated, gone: dict[str, list[int]]) -> nn.Module:
    """The reference: a copy in which the weights, biases and scales of these parts are zero, wherever they are."""
    module = copy.deepcopy(network.module)
    parameters = dict(module.named_parameters())
    for group in gated.offer.groups:
        for place in group.source.places:
            normalised = place.axis == 0 and place.name.endswith("original1")  # 0/0; its gain is zero
            if place.name in parameters and not normalised:
                indices = [index for part in gone[group.name] for index in place.positions[part]]
                parameters[place.name].data.index_fill_(place.axis, torch.tensor(indices), 0)
    return module


def closed(gated: Gated, seed: int = 0) -> tuple[Tensor, dict[str, list[int]]]:
    """About a third of every group at 0, and which."""
    chance = torch.Generator().manual_seed(seed)
    numbers, gone = [], {}
    for name, size in gated.gates.sizes.items():
        some = torch.randperm(size, generator=chance)[: max(1, size // 3)]
        numbers.append(torch.ones(size).index_fill(0, some, 0))
        gone[name] = sorted(some.tolist())
    return torch.cat(numbers), gone


def require_exact(network: Network, unit: Any) -> Gated:
    """A closed gate is a part that is gone: inside the block, folded, and removed."""
    gated = gates_on(network, unit, ALL, "joint")
    numbers, gone = closed(gated)
    example = example_input(network)
    parameters = dict(network.module.named_parameters())
    reference = outputs(without(network, gated, gone), example)
    with gated.gates.open(network.module, numbers):
        inside = outputs(network.module, example)
    assert dict(network.module.named_parameters()) == parameters, "the same tensors are back"
    folded = network.clone()
    gated.gates.fold(folded.module, numbers)
    smaller, stays = unit.remove(folded, gated.offer, gone)
    assert not stays
    for found in (inside, outputs(folded.module, example), outputs(smaller.module, example)):
        for one, other in zip(found, reference, strict=True):
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))
    return gated


@pytest.mark.parametrize("name", NETWORKS)
def test_a_closed_gate_is_a_part_that_is_gone(name: str, wrap: Callable[..., Network]) -> None:
    build, expected, _ = NETWORKS[name]
    network, gated = wrap(build()), set[str]()
    for unit in (Filters(round=1), Neurons(round=1), Heads()):
        try:
            gated |= set(require_exact(network, unit).gates.sizes)
        except Refusal as refusal:
            assert refusal.code == "RCP0910"  # it has none of this unit
    assert gated == set(expected) - ({"a"} if name == "a sum of what is zero" else set())


def test_where_something_else_reads_a_part_it_has_no_gate(wrap: Callable[..., Network]) -> None:
    """A sum over channels that are zero is the sum without them: they can be removed, and no weight reads them."""
    build, _, _ = NETWORKS["a sum of what is zero"]
    gated = gates_on(wrap(build()), Filters(round=1), ALL, "joint")
    assert list(gated.gates.sizes) == ["b"] and "not a weight alone" in gated.offer.stay["a"]


def chain() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3, groups=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(64, 5),
    )  # fmt: skip


def test_gradients_are_those_of_gates_on_feature_maps(wrap: Callable[..., Network]) -> None:
    """A gate on the weights that read a map is a gate on the map: values and all gradients, by autograd."""
    network = wrap(chain())
    gated = gates_on(network, Filters(round=1), ALL, "joint")
    assert gated.gates.sizes == {"0": 3, "3": 2}  # a grouped convolution couples channels of its two groups
    module, images = network.module.train(), torch.randn(5, 3, 8, 8)
    numbers = torch.rand(5, requires_grad=True)
    with gated.gates.open(module, numbers):
        module(images).square().sum().backward()
    found = [numbers.grad, *(parameter.grad for parameter in module.parameters())]

    other: Any = copy.deepcopy(module)
    for part in other:
        for parameter in part.parameters():
            parameter.grad = None
    again = numbers.detach().clone().requires_grad_()
    maps = other[2](other[1](other[0](images))) * again[:3].repeat(2)[:, None, None]
    maps = other[4](other[3](maps)) * again[3:].repeat(2)[:, None, None]
    other[6](maps.flatten(1)).square().sum().backward()
    expected = [again.grad, *(parameter.grad for parameter in other.parameters())]
    for one, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(one, reference, rtol=1e-4, atol=1e-4)


def test_tied_weights_are_gated_wherever_they_are_held() -> None:
    torch.manual_seed(0)
    module = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)})
    module["b"].weight = module["a"].weight
    gates = Gates({"x": 4}, {"a.weight": ((1, torch.arange(4)),)})
    numbers = torch.tensor([1.0, 0.0, 2.0, 0.5])
    x = torch.randn(2, 4)
    expected = [F.linear(x * numbers, part.weight, part.bias) for part in module.values()]
    with gates.open(module, numbers):
        found = [part(x) for part in module.values()]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    assert module["a"].weight is module["b"].weight and isinstance(module["a"].weight, nn.Parameter)


def test_parameters_are_back_after_an_error(wrap: Callable[..., Network]) -> None:
    network = wrap(chain())
    gated = gates_on(network, Filters(round=1), ALL, "joint")
    with pytest.raises(KeyError), gated.gates.open(network.module, torch.zeros(5)):
        raise KeyError
    assert all(isinstance(parameter, nn.Parameter) for parameter in network.module.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gates_under_autocast(dtype: torch.dtype, wrap: Callable[..., Network]) -> None:
    network = wrap(chain())
    gated = gates_on(network, Filters(round=1), ALL, "joint")
    numbers = torch.rand(5, requires_grad=True)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32), gated.gates.open(network.module, numbers):
        network.module(torch.randn(4, 3, 8, 8)).float().sum().backward()
    assert numbers.grad is not None and numbers.grad.dtype == torch.float32 and bool(numbers.grad.abs().sum() > 0)


def test_only_selected_modules_have_gates(wrap: Callable[..., Network]) -> None:
    first = Selection((Selector("glob", "0"),))
    assert list(gates_on(wrap(chain()), Filters(round=1), first, "joint").gates.sizes) == ["0"]


def test_a_network_on_grids_is_refused(wrap: Callable[..., Network]) -> None:
    network = wrap(chain())
    grid = Grid.between(torch.tensor(-1.0), torch.tensor(1.0), Scheme(8, signed=True))
    with pytest.raises(Refusal) as refusal:
        gates_on(network.restricted({"0.weight": grid}), Filters(), ALL, "joint")
    assert refusal.value.code == "RCP0850" and "before `quantize`" in refusal.value.help


def test_the_numbers_are_trained_by_adam(wrap: Callable[..., Network]) -> None:
    """As torch's Adam does it in one go, also where the state goes through a checkpoint after every step."""
    gated = gates_on(wrap(chain()), Filters(round=1), ALL, "joint")
    start = torch.linspace(-1, 1, 5)
    reference = start.clone().requires_grad_()
    adam = torch.optim.Adam([reference], lr=0.05)
    state = GateState(gated, start.clone())
    for step in range(4):
        for leaf in (reference, state.leaf):
            (leaf * torch.randn(5, generator=torch.Generator().manual_seed(step))).square().sum().backward()
        state.descend(0.05)
        adam.step()
        adam.zero_grad()
        fresh = GateState(gated, torch.zeros(5))
        fresh.load_state_dict(state.state_dict())
        state = fresh
    torch.testing.assert_close(state.reals, reference.detach(), rtol=0, atol=0)


def test_the_largest_of_each_group(wrap: Callable[..., Network]) -> None:
    state = GateState(gates_on(wrap(chain()), Filters(round=1), ALL, "joint"), torch.zeros(5))
    assert state.largest(torch.tensor([3.0, 1, 2, 7, 7])).tolist() == [0, 4]
