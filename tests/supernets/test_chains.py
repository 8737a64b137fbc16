"""Chains beside a training: bins, Adam and the gradient of their objective against independent ones, and a kill."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.kinds import Batch, Queue
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.plan import Duration, Training
from recipelang.supernets import markov
from recipelang.supernets.chains import Bins, Chains, adam, bins_of, drawn, expected
from recipelang.supernets.costs import CostModel, read_costs
from recipelang.supernets.generated import Generated
from recipelang.supernets.sandwich import Sandwich, named
from recipelang.supernets.shared import Shared
from recipelang.surgery.network import Network
from recipelang.surgery.tasks import task_named
from recipelang.surgery.tracing import example_input
from recipelang.training import loop
from recipelang.training.loop import fit

Made = Callable[..., tuple[Network, list[Queue], dict[str, Any]]]
NAME = "residual, depthwise, squeezed"


def test_bins_hold_all_removable_parts_the_most_important_first(network_of: Made) -> None:
    _, queues, _ = network_of(NAME)
    for queue in queues:
        for most in (1, 2, 3, 99):
            bins = bins_of(queue, most)
            assert bins.count == min(most, len(queue.steps))
            assert bins.ends[0] == 0 and bins.ends[-1] == len(queue.steps) and list(bins.ends) == sorted(bins.ends)
            removed = [part for step in queue.steps for part in step.parts]
            assert [part for parts in reversed(bins.parts) for part in parts] == removed
            for lost in range(bins.count + 1):  # what a number of lost bins means is what its steps mean
                gone = {part for step in queue.steps[: bins.ends[lost]] for part in step.parts}
                assert gone == {part for parts in bins.parts[bins.count - lost :] for part in parts}


def test_chains_that_keep_everything_or_nothing_take_nothing_or_everything() -> None:
    bins = [Bins((0, 2, 5), ((3, 4), (1,))), Bins((0, 1), ((0,),))]
    draws = torch.Generator().manual_seed(0)
    for sign, taken in ((1, (0, 0)), (-1, (5, 1))):
        logits = [sign * 40 * torch.ones(2), sign * 40 * torch.ones(1)]
        assert drawn(bins, logits, draws) == expected(bins, logits) == taken
    assert expected(bins, [torch.tensor([40.0, -40.0]), torch.tensor([40.0])]) == (2, 0)


def test_adam_is_that_of_torch() -> None:
    state, own = nn.Module(), nn.Parameter(torch.tensor([0.3, -1.0], dtype=torch.float64))
    for name in ("logits", "first", "second"):
        state.register_buffer(name, own.detach().clone() if name == "logits" else torch.zeros(2, dtype=torch.float64))
    optimizer = torch.optim.Adam([own], lr=0.1)
    for turn in range(1, 8):
        own.grad = torch.tensor([turn**0.5, -0.1 * turn], dtype=torch.float64)
        optimizer.step()
        adam(state, own.grad, turn, 0.1)
    assert torch.allclose(state.logits, own.detach())  # type: ignore[arg-type]


def chains(
    network: Network, queues: list[Queue], found: dict[str, Tensor], warmup: int = 2, weight: float = 0.3
) -> Chains:
    weights, bins = Shared(network.module, queues), tuple(bins_of(queue, 4) for queue in queues)
    draws = torch.Generator().manual_seed(5)
    held = [Batch(torch.randn(6, 1, 8, 8, generator=draws), torch.arange(6) % 3) for _ in range(2)]
    return Chains(
        groups=named(weights),
        bins=bins,
        warmup=warmup,
        rate=0.1,
        weight=weight,
        random=1,
        seed=4,
        weights=weights,
        task=task_named(),
        labels=None,
        cost=cost_of(network, queues, bins),
        held=held,
        found=found,
    )


def cost_of(network: Network, queues: list[Queue], bins: tuple[Bins, ...]) -> CostModel:
    """The parameters that are left, twice as many as a budget would allow."""
    weights = Shared(network.module, queues)
    parameters = {name: torch.ones_like(value) for name, value in network.module.named_parameters()}
    whole = sum(value.numel() for value in parameters.values())

    def cost(lost: Any) -> float:
        taken = [each.ends[count] for each, count in zip(bins, lost, strict=True)]
        left = {**parameters, **weights.values(parameters, weights.gates(taken))}
        return 2 * sum(float(value.sum()) for value in left.values()) / whole

    return read_costs(cost, [[len(parts) for parts in reversed(each.parts)] for each in bins], weights.neighbours())


def test_the_cost_of_a_real_network_is_exact(network_of: Made) -> None:
    network, queues, _ = network_of(NAME)
    bins = tuple(bins_of(queue, 4) for queue in queues)
    model, draws = cost_of(network, queues, bins), torch.Generator().manual_seed(0)
    weights = Shared(network.module, queues)
    parameters = {name: torch.ones_like(value) for name, value in network.module.named_parameters()}
    whole = sum(value.numel() for value in parameters.values())
    for _ in range(20):
        lost = [int(torch.randint(each.count + 1, (), generator=draws)) for each in bins]
        taken = [each.ends[count] for each, count in zip(bins, lost, strict=True)]
        left = {**parameters, **weights.values(parameters, weights.gates(taken))}
        assert model.of(lost) == pytest.approx(2 * sum(float(v.sum()) for v in left.values()) / whole)


def test_the_objective_is_the_loss_of_the_gated_network_and_the_distance(network_of: Made) -> None:
    """Written again from the definition; its gradient by differences."""
    network, queues, _ = network_of(NAME)
    companion, module = chains(network, queues, {}), network.module.double()
    batch = Batch(example_input(network, 4).double(), torch.tensor([0, 1, 2, 0]))
    draws = torch.Generator().manual_seed(1)
    logits = [torch.randn(bins.count, generator=draws, dtype=torch.float64) for bins in companion.bins]

    def naive(given: list[Tensor]) -> float:
        copy = network.clone().module.double()
        for name, value in copy.named_parameters():
            for number, queue in enumerate(queues):
                kept = torch.sigmoid(given[number]).cumprod(0)
                for place in queue.group.source.at("reads"):
                    if place.name == name:
                        for k, parts in enumerate(companion.bins[number].parts):
                            for part in parts:
                                for position in place.positions[part]:
                                    value.data.select(place.axis, position).mul_(float(kept[k]))
        for module in copy.modules():
            module.training = isinstance(module, nn.BatchNorm2d)
        loss = nn.functional.cross_entropy(copy(batch.inputs).float(), batch.targets)
        chances = [markov.chances(markov.kept(each)).flip(0) for each in given]
        return float((loss + 0.3 * markov.distance(companion.cost.expected(chances))).detach())

    each = [one.clone().requires_grad_() for one in logits]
    loss, _ = companion.objective(module, each, batch)
    assert float(loss.detach()) == pytest.approx(naive(logits), rel=1e-5)
    found = torch.autograd.grad(loss, each)
    for number in range(len(logits)):
        ends = []
        for sign in (1, -1):
            moved = [one.clone() for one in logits]
            moved[number][0] += sign * 1e-2
            ends.append(naive(moved))
        assert float(found[number][0]) == pytest.approx((ends[0] - ends[1]) / 2e-2, rel=2e-2, abs=2e-4)


class Killed(Exception):
    pass


class Data:
    """Twelve images of noise in batches of four."""

    name, target, labels, preprocessing, fingerprint, batch = "noise", "class", None, None, "noise", 4
    input_shape, target_shape = (1, 8, 8), None

    def size(self, split: str) -> int:
        return 12

    def batches(self, split: str, *, epoch: int | None = None, seed: int = 0, start: int = 0, **_: Any) -> Any:
        draws = torch.Generator().manual_seed(seed + (epoch or 0))
        images = torch.randn(12, 1, 8, 8, generator=draws)
        for k in range(start, 3):
            yield Batch(images[4 * k : 4 * k + 4], torch.arange(4) % 3)


class Silent:
    """Shows nothing, and ends a training after some steps."""

    def __init__(self, until: int | None = None) -> None:
        self.until, self.count = until, 0

    def start(self, what: str, total: int | None = None) -> None: ...

    def advance(self, parts: int = 1, note: str = "") -> None:
        self.count += parts
        if self.until is not None and self.count >= self.until:
            raise Killed

    def stop(self) -> None: ...

    def say(self, line: str) -> None: ...


def test_chains_that_are_killed_end_with_the_same_bytes(
    network_of: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    network, queues, _ = network_of(NAME)
    data: Any = Data()
    whole: dict[str, Tensor] = {}
    again: dict[str, Tensor] = {}

    def trained(found: dict[str, Tensor], **how: Any) -> Network:
        training = Training(Duration(7, "steps"), Sgd(0.05), companions=(chains(network, queues, found),))
        return fit(network, data, training, task=task_named(), seed=2, device="cpu", **how)[0]

    first = trained(whole, progress=Silent())
    with pytest.raises(Killed):
        trained({}, progress=Silent(6), checkpoint=tmp_path / "c")
    second = trained(again, progress=Silent(), checkpoint=tmp_path / "c")
    assert {n: t.numpy().tobytes() for n, t in first.tensors().items()} == {
        n: t.numpy().tobytes() for n, t in second.tensors().items()
    }
    assert whole.keys() == again.keys() and all(torch.equal(whole[key], again[key]) for key in whole)
    assert len(whole["cost"]) == 5 and bool((whole["cost"] > 0).all())
    start = torch.cat([markov.even(bins.count) for bins in chains(network, queues, {}).bins])
    assert not torch.equal(torch.cat([whole[str(k)] for k in range(len(queues))]), start)
    finished: dict[str, Tensor] = {}
    trained(finished, progress=Silent(), checkpoint=tmp_path / "c")  # a training that has ended tells its chains again
    assert all(torch.equal(whole[key], finished[key]) for key in whole)


@pytest.mark.parametrize("what", ["generated", "sandwich"])
def test_other_trainings_of_all_widths_that_are_killed_end_with_the_same_bytes(
    network_of: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    network, queues, _ = network_of(NAME)
    weights = Shared(network.module, queues)
    companions: tuple[Any, ...] = ()
    if what == "sandwich":
        how: Any = {"groups": named(weights), "random": 1, "seed": 3, "task": task_named(), "labels": None}
        companions = (Sandwich(weights=weights, **how),)
    else:
        network = Generated(network.module, weights, hidden=3, direct=50, seed=1).as_network(network)
    data: Any = Data()

    def trained(**how: Any) -> Network:
        training = Training(Duration(7, "steps"), Sgd(0.05), companions=companions)
        return fit(network, data, training, task=task_named(), seed=2, device="cpu", **how)[0]

    first = trained(progress=Silent())
    with pytest.raises(Killed):
        trained(progress=Silent(6), checkpoint=tmp_path / "c")
    second = trained(progress=Silent(), checkpoint=tmp_path / "c")
    assert {n: t.numpy().tobytes() for n, t in first.tensors().items()} == {
        n: t.numpy().tobytes() for n, t in second.tensors().items()
    }
    assert any(not torch.equal(t, network.tensors()[n]) for n, t in first.tensors().items())


def test_a_cost_pulls_the_chains_to_the_budget(network_of: Made) -> None:
    """With a large weight, the expected cost of parameters comes from twice the bound down to it."""
    network, queues, _ = network_of(NAME)
    found: dict[str, Tensor] = {}
    companion = chains(network, queues, found, warmup=0, weight=100.0)
    data: Any = Data()
    training = Training(Duration(60, "steps"), Sgd(0.01), companions=(companion,))
    fit(network, data, training, task=task_named(), seed=2, device="cpu", progress=Silent())
    assert 0.85 < float(found["cost"][-10:].mean()) < 1.1
