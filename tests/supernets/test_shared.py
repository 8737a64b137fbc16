"""Shared weights compute what the network computes once its channels are cut; gradients are those of the definition."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from recipelang import catalogue
from recipelang.kinds import Queue, Seen
from recipelang.supernets.generated import Generated
from recipelang.supernets.generator import PruningNet
from recipelang.supernets.sandwich import Sandwich, named
from recipelang.supernets.shared import Shared, batch_statistics, filled
from recipelang.surgery.edits import apply_edits
from recipelang.surgery.network import Network
from recipelang.surgery.tasks import task_named
from recipelang.surgery.tracing import example_input

NAMES = ("residual, depthwise, squeezed", "tokens", "recurrent", "superresolution")
Made = Callable[..., tuple[Network, list[Queue], dict[str, Any]]]


def edits_of(network: Network, offers: dict[str, Any], queues: list[Queue], taken: list[int]) -> tuple[Any, ...]:
    gone: dict[str, list[int]] = {}
    for queue, count in zip(queues, taken, strict=True):
        parts = [part for step in queue.steps[:count] for part in step.parts]
        if parts:
            gone[queue.group.name] = parts
    unit, offer = next(iter(offers.items()))
    found: Any = catalogue.find("unit", unit)
    edits: tuple[Any, ...] = found().edits(network, offer, gone)
    return edits


def weights_of(network: Network, queues: list[Queue], offers: dict[str, Any]) -> Shared:
    edits = edits_of(network, offers, queues, [len(queue.steps) for queue in queues])
    return Shared(network.module, queues, [place for edit in edits for place in getattr(edit, "normalised", ())])


@pytest.mark.parametrize("name", NAMES)
def test_closed_gates_are_the_removal(network_of: Made, name: str) -> None:
    network, queues, offers = network_of(name)
    weights, draws = weights_of(network, queues, offers), Random(1)
    parameters = dict(network.module.named_parameters())
    example = example_input(network, 3)
    assert len(queues) >= 2
    for taken in (list(weights.most), *([draws.randint(0, end) for end in weights.most] for _ in range(3))):
        with torch.no_grad():
            values = weights.values(parameters, weights.gates(taken))
            found = functional_call(network.module, values, (example,))
            cut = apply_edits(network, edits_of(network, offers, queues, taken), check=False)
            assert torch.allclose(found, cut.module(example), atol=1e-4)
            assert not torch.allclose(found, network.module(example), atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_soft_gates_act_once_where_a_part_is_read(network_of: Made, name: str) -> None:
    network, queues, offers = network_of(name)
    weights = weights_of(network, queues, offers)
    parameters = dict(network.module.named_parameters())
    gates = [torch.rand(queue.group.size) for queue in queues]
    values = weights.values(parameters, gates, soft=True)
    for number, queue in enumerate(queues):
        source: Any = queue.group.source
        for place in source.at("reads"):
            if place.name not in values or len(weights.touching(place.name)) > 1:
                continue
            expected = parameters[place.name].detach().clone()
            for part, positions in enumerate(place.positions):
                for k in positions:
                    expected.select(place.axis, k).mul_(gates[number][part])
            assert torch.allclose(values[place.name], expected)
    makers = {place.name for queue in queues for place in queue.group.source.at("makes")}
    readers = {place.name for queue in queues for place in queue.group.source.at("reads")}
    assert not (makers - readers) & values.keys()


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_gates_are_those_of_differences(network_of: Made, name: str) -> None:
    network, queues, offers = network_of(name)
    module, example = network.module.double(), example_input(network, 3).double()
    weights = weights_of(network, queues, offers)
    gates = [(0.3 + 0.6 * torch.rand(queue.group.size)).double().requires_grad_() for queue in queues]
    parameters = {key: value.detach() for key, value in module.named_parameters()}

    def loss(given: list[Tensor]) -> Tensor:
        found: Tensor = functional_call(module, weights.values(parameters, given, soft=True), (example,))
        return found.square().mean()

    found = torch.autograd.grad(loss(gates), gates)
    for number, gradient in enumerate(found):
        for k in range(0, len(gradient), 3):
            ends = []
            for sign in (1, -1):
                moved = [each.detach().clone() for each in gates]
                moved[number][k] += sign * 1e-6
                ends.append(float(loss(moved).detach()))
            assert float(gradient[k]) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4, abs=1e-7)


def sandwich(weights: Shared, random: int = 2) -> Sandwich:
    return Sandwich(groups=named(weights), random=random, seed=3, weights=weights, task=task_named(), labels=None)


def test_every_step_of_the_sandwich_has_the_smallest_network_and_random_ones(network_of: Made) -> None:
    network, queues, offers = network_of(NAMES[0])
    weights = weights_of(network, queues, offers)
    for step in range(5):
        smallest, *others = sandwich(weights).widths(step)
        assert smallest == weights.most == tuple(len(queue.steps) for queue in queues)
        assert len(others) == 2
        assert all(0 <= count <= end for taken in others for count, end in zip(taken, weights.most, strict=True))
    assert sandwich(weights).widths(7) == sandwich(weights).widths(7) != sandwich(weights).widths(8)
    drawn = [sandwich(weights, 16).widths(step)[k][0] for step in range(40) for k in range(1, 17)]
    assert set(drawn) == set(range(weights.most[0] + 1))  # every width, the whole one too


def test_the_penalty_distils_the_whole_network_into_the_others(network_of: Made) -> None:
    """Against a plain loop with cut networks: the same loss, and gradients where their channels are."""
    network, queues, offers = network_of(NAMES[0])
    weights = weights_of(network, queues, offers)
    companion, example = sandwich(weights), example_input(network, 5)
    module = network.module.train()
    outputs = module(example)
    moment: Any = type("Moment", (), {"step": 2})
    penalty = companion.penalty(Seen(example, outputs, (), network), None, moment)
    found = torch.autograd.grad(penalty, list(module.parameters()), allow_unused=True)

    whole = {name: torch.zeros_like(parameter) for name, parameter in module.named_parameters()}
    total = 0.0
    for taken in companion.widths(2):
        edits = edits_of(network, offers, queues, list(taken))
        cut = apply_edits(network, edits, check=False).module.train()
        answer = cut(example)
        loss = nn.functional.kl_div(
            answer.log_softmax(1), outputs.detach().log_softmax(1), reduction="batchmean", log_target=True
        )
        loss.backward()
        total += float(loss.detach())
        for name, parameter in cut.named_parameters():
            index = torch.arange(whole[name].numel()).reshape(whole[name].shape)
            for edit in edits:
                index = edit.left(name, index)
            if parameter.grad is not None:
                whole[name].view(-1)[index.flatten()] += parameter.grad.flatten()
    assert float(penalty.detach()) == pytest.approx(total, rel=1e-4)
    for (name, expected), gradient in zip(whole.items(), found, strict=True):
        assert torch.allclose(expected, torch.zeros(()) if gradient is None else gradient, atol=1e-5), name


def test_modes_come_back_after_batch_statistics() -> None:
    module = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(), nn.Linear(3, 3))
    module.train()
    module[1].eval()
    with batch_statistics(module):
        assert [part.training for part in module] == [True, False, False]
    assert [part.training for part in module] == [True, False, True]


# -- generated weights ---------------------------------------------------------------------------------


def test_a_generator_is_two_layers_for_each_weight() -> None:
    torch.manual_seed(0)
    weights = {"small": torch.randn(3, 4), "large": torch.randn(5, 6, 3, 3)}
    net = PruningNet(weights, {"small": (0,), "large": (0, 1)}, hidden=7, direct=20, seed=1)
    start = net(torch.tensor([0.5, 0.25]))
    for name, weight in weights.items():
        assert torch.equal(start[name], weight)
    part: Any
    for part in net.parts:
        nn.init.normal_(part.second, std=0.1)
        nn.init.normal_(part.start, std=0.1)
    small: Any
    large: Any
    small, large = net.parts
    signature = torch.tensor([0.5, 0.25])
    found = net(signature)
    with torch.no_grad():
        between = torch.relu(small.first @ signature[:1] + small.shift)
        expected = weights["small"] + weights["small"].std(correction=0) * (
            small.second @ between + small.start
        ).reshape(3, 4)
        assert torch.allclose(found["small"], expected)
        between = torch.relu(large.first @ signature + large.shift)
        numbers = large.second @ between + large.start
        for o in range(5):
            for i in range(6):
                factor = (1 + numbers[o]) * (1 + numbers[5 + i])
                assert torch.allclose(found["large"][o, i], weights["large"][o, i] * factor, atol=1e-6)
    assert sum(p.numel() for p in large.parameters()) == 7 * 2 + 7 + (5 + 6) * (7 + 1)
    other = net(torch.tensor([1.0, 1.0]))
    assert not torch.allclose(other["large"], found["large"])


@pytest.mark.parametrize("name", NAMES)
def test_a_network_with_generated_weights_trains_and_is_filled(network_of: Made, name: str) -> None:
    network, queues, offers = network_of(name)
    weights = weights_of(network, queues, offers)
    generated = Generated(network.module, weights, hidden=4, direct=64, seed=0)
    example = example_input(network, 4)
    torch.manual_seed(0)
    generated.train()
    with torch.no_grad():
        part: Any
        for part in generated.generator.parts:
            nn.init.normal_(part.second, std=0.05)
    generated(example).square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in generated.generator.parameters())

    taken = [end // 2 for end in weights.most]
    edits = edits_of(network, offers, queues, taken)
    cut = apply_edits(filled(network, generated.values(taken)), edits, check=False)
    with torch.no_grad():
        masked = functional_call(network.module.eval(), generated.values(taken, masked=True), (example,))
        assert torch.allclose(cut.module.eval()(example), masked, atol=1e-4)
