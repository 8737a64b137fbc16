"""Schedules that decide by their own law which weights are zero: each against that law, written naively."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from recipelang import catalogue
from recipelang.errors import SettingError
from recipelang.images.dataset import ImageDataset
from recipelang.kinds import Companion, Masking, Moment
from recipelang.methods.companions.slimming import Slimming
from recipelang.methods.optimizers.adam import Adam
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.patterns.blocks import Blocks
from recipelang.methods.patterns.filters import Filters
from recipelang.methods.patterns.kernels import Kernels
from recipelang.methods.patterns.weights import Weights
from recipelang.methods.schedules._rewiring import Weight, apportioned, drawn, least, most
from recipelang.methods.schedules.deepr import DeepR
from recipelang.methods.schedules.dynamic_sparse import DynamicSparse
from recipelang.methods.schedules.rigl import RigL
from recipelang.methods.schedules.set import Set
from recipelang.methods.schedules.sparse_momentum import SparseMomentum
from recipelang.methods.schedules.surgery import Surgery
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Course, Duration, Training
from recipelang.surgery.network import Network
from recipelang.training import loop
from recipelang.training.loop import fit

TASK = Classification()
NAMES = ("4.weight", "7.weight")
THREE = Duration(3)
#: every schedule with a law of its own, moving often enough for a training of 12 steps
ALL: dict[str, Any] = {
    "rigl": RigL(every=Duration(2, "steps")),
    "set": Set(every=Duration(2, "steps")),
    "deepr": DeepR(),
    "sparse_momentum": SparseMomentum(every=Duration(2, "steps")),
    "dynamic_sparse": DynamicSparse(every=Duration(2, "steps"), threshold=1e-2),
    "surgery": Surgery(decay=0.05),
}
each_schedule = pytest.mark.parametrize("schedule", ALL.values(), ids=list(ALL))


def masking(
    schedule: Any, target: float = 0.8, names: tuple[str, ...] = NAMES, pattern: Any = None, **more: Any
) -> Any:
    shares = dict.fromkeys(names, target)
    return Masking(Course(schedule, target), pattern or Weights(), names, shares, **more)


def training(schedule: Any, *beside: Any, duration: Duration = THREE, optimizer: Any = None, **more: Any) -> Training:
    companion = schedule.companion(masking(schedule, **more))
    return Training(duration, optimizer or Sgd(0.1), companions=(companion, *beside))


@dataclass(frozen=True)
class Seen:
    """What is true after a step, before masks move and after."""

    weights: dict[str, Tensor]
    gradients: dict[str, Tensor]
    state: dict[str, Tensor]
    optimizer: dict[str, dict[str, Tensor]]


@dataclass(frozen=True)
class Looking(Companion):
    """Writes down what the companion at its side has left, or finds."""

    seen: list[Seen] = field(default_factory=list, metadata={"key": False})
    beside: list[Any] = field(default_factory=list, metadata={"key": False})

    def after_step(self, network: Network, optimizer: torch.optim.Optimizer, state: Any, moment: Moment) -> None:
        module = network.module
        found = [(name, module.get_parameter(name)) for name in NAMES]
        self.seen.append(
            Seen(
                {name: p.detach().clone() for name, p in found},
                {name: p.grad.clone() for name, p in found if p.grad is not None},
                {n: b.clone() for one in self.beside for n, b in one.named_buffers()},
                {n: {k: v.clone() for k, v in optimizer.state[p].items() if v.ndim} for n, p in found},
            )
        )


@pytest.fixture
def watched(data: ImageDataset, silent: Any) -> Callable[..., tuple[Network, list[Seen], list[Seen]]]:
    """Train with a schedule; the network, and what there was before and after the masks moved in each step."""

    def run(network: Network, schedule: Any, **more: Any) -> tuple[Network, list[Seen], list[Seen]]:
        states: list[Any] = []
        before, after = Looking(beside=states), Looking(beside=states)
        whole = training(schedule, **more)
        inner = whole.companions[0]
        kind = type(inner)

        class Noting(kind):  # type: ignore[valid-type,misc]
            def begin(self, network: Any, moment: Moment) -> nn.Module:
                states.append(super().begin(network, moment))
                return states[-1]  # type: ignore[no-any-return]

        noting = Noting(inner.masking)
        trained, _ = fit(
            network, data, replace(whole, companions=(before, noting, after)), progress=silent(), task=TASK, seed=1,
            precision="float32",
        )  # fmt: skip
        return trained, before.seen, after.seen

    return run


def keeps(seen: Seen) -> dict[str, Tensor]:
    return {name: seen.state[f"keep{number}"] for number, name in enumerate(NAMES)}


def smallest(values: Tensor, among: Tensor, count: int) -> set[int]:
    """Naively: the indices of the smallest values, later ones first among equals."""
    candidates = sorted(
        (float(v), -i) for i, (v, a) in enumerate(zip(values.flatten(), among.flatten(), strict=True)) if a
    )
    return {-i for _, i in candidates[:count]}


def largest(values: Tensor, among: Tensor, count: int) -> set[int]:
    """Naively: the indices of the largest values, earlier ones first among equals."""
    candidates = sorted(
        (-float(v), i) for i, (v, a) in enumerate(zip(values.flatten(), among.flatten(), strict=True)) if a
    )
    return {i for _, i in candidates[:count]}


def indices(mask: Tensor) -> set[int]:
    return set(mask.flatten().nonzero().flatten().tolist())


# what all of them keep ----------------------------------------------------------------------------


def test_every_schedule_with_a_law_of_its_own_is_tested_here() -> None:
    own = [name for name in catalogue.names("schedule") if hasattr(catalogue.find("schedule", name), "companion")]
    assert set(own) == set(ALL)


@each_schedule
def test_the_number_of_zeros_is_the_same_after_every_step(network: Network, watched: Any, schedule: Any) -> None:
    trained, before, after = watched(network, schedule)
    assert len(after) == 12
    numbers = {name: network.module.get_parameter(name).numel() for name in NAMES}
    asked = {name: count - math.ceil(0.8 * count) for name, count in numbers.items()}
    moved = 0
    for was, now in zip(before, after, strict=True):
        kept = {name: int(keep.sum()) for name, keep in keeps(now).items()}
        if not isinstance(schedule, Surgery):
            assert sum(kept.values()) == sum(asked.values())
        if isinstance(schedule, RigL | Set | DeepR):
            assert kept == asked
        moved += sum(int((keeps(was)[name] != keep).sum()) for name, keep in keeps(now).items())
        for name, keep in keeps(now).items() if not isinstance(schedule, Surgery) else ():
            assert not now.weights[name][~keep].any()
            assert not any(state[~keep].any() for state in now.optimizer[name].values())
    assert moved or isinstance(schedule, Surgery)
    assert sum(int(mask.keep.sum()) for mask in trained.masks.values()) == sum(asked.values())
    for name in NAMES:
        assert not trained.module.get_parameter(name)[~trained.masks[name].keep].any()


@each_schedule
def test_what_comes_starts_at_zero_and_without_momentum(network: Network, watched: Any, schedule: Any) -> None:
    _, before, after = watched(network, schedule)
    moved = 0
    for was, now in zip(before, after, strict=True) if not isinstance(schedule, Surgery) else ():
        for name in NAMES:
            came = keeps(now)[name] & ~keeps(was)[name]
            moved += int(came.sum())
            assert not now.weights[name][came].any() or isinstance(schedule, Set)  # SET's start at random
            assert not any(state[came].any() for state in now.optimizer[name].values())
        assert int(now.state["moved"]) == moved


# the pieces of the laws ---------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=30), st.integers(0, 30)
)  # fmt: skip
def test_the_least_the_most_and_random_ones(pieces: list[tuple[int, bool]], count: int) -> None:
    scores, among = torch.tensor([float(s) for s, _ in pieces]), torch.tensor([a for _, a in pieces])
    assert indices(least(scores, among, count)) == smallest(scores, among, count)
    assert indices(most(scores, among, count)) == largest(scores, among, count)
    random = drawn(among, count)
    assert int(random.sum()) == min(count, int(among.sum())) and not (random & ~among).any()


@given(
    st.lists(st.tuples(st.floats(0, 10), st.integers(0, 20)), min_size=1, max_size=6), st.integers(0, 40)
)  # fmt: skip
def test_a_total_is_divided_in_proportion_within_the_room(parts: list[tuple[float, int]], total: int) -> None:
    weights = {str(n): weight for n, (weight, _) in enumerate(parts)}
    room = {str(n): space for n, (_, space) in enumerate(parts)}
    total = min(total, sum(room.values()))
    found = apportioned(total, weights, room)
    assert sum(found.values()) == total and all(0 <= found[name] <= room[name] for name in room)
    whole = sum(weights.values())
    if whole and all(total * weights[n] / whole <= room[n] for n in room):
        assert all(abs(found[n] - total * weights[n] / whole) < 1 + 1e-9 for n in room)


def test_random_ones_are_uniform() -> None:
    torch.manual_seed(0)
    among = torch.tensor([True, False, True, True, True])
    counts = sum(drawn(among, 2).long() for _ in range(2000))
    assert counts[1] == 0 and (counts[among] - 1000).abs().max() < 100  # four standard deviations are 90


# each law -----------------------------------------------------------------------------------------


def test_rigl_moves_the_smallest_to_the_largest_gradients(network: Network, watched: Any) -> None:
    schedule = RigL(every=Duration(2, "steps"), drop=0.5)
    _, before, after = watched(network, schedule)
    updates = []
    for step, (was, now) in enumerate(zip(before, after, strict=True), start=1):
        if step % 2 or step >= 9:  # T = 3/4 of 12
            assert all(torch.equal(keep, keeps(now)[name]) for name, keep in keeps(was).items())
            continue
        updates.append(step)
        part = 0.25 * (1 + math.cos(math.pi * step / 9))
        for name, keep in keeps(was).items():
            count = math.floor(part * int(keep.sum()))
            gone = smallest(was.weights[name].abs(), keep, count)
            stays = indices(keep) - gone
            others = torch.tensor([i not in stays for i in range(keep.numel())])
            came = largest(was.gradients[name].abs(), others, count)
            assert indices(keeps(now)[name]) == stays | came
    assert updates == [2, 4, 6, 8]


def test_set_removes_of_each_sign_what_is_closest_to_zero(network: Network, watched: Any) -> None:
    _, before, after = watched(network, Set(every=Duration(4, "steps"), part=0.4))
    updates = 0
    for step, (was, now) in enumerate(zip(before, after, strict=True), start=1):
        due = step in (4, 8)
        for name, keep in keeps(was).items():
            if not due:
                assert torch.equal(keep, keeps(now)[name])
                continue
            updates += 1
            value, gone = was.weights[name], set[int]()
            for sign in (value > 0, value < 0):
                gone |= smallest(value.abs(), keep & sign, math.floor(round(0.4 * int((keep & sign).sum()), 6)))
            stays, new = indices(keep) - gone, indices(keeps(now)[name])
            assert stays <= new and len(new) == int(keep.sum()) and gone
            came = now.weights[name].flatten()[sorted(new - stays)]
            bound = now.weights[name][0].numel() ** -0.5
            assert came.abs().max() <= bound and came.all() and came.unique().numel() == len(came)
    assert updates == 4


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_random_starts_are_those_of_a_layer_of_torch(layout: torch.memory_format) -> None:
    value = torch.zeros(64, 8, 3, 3).to(memory_format=layout)
    weight = Weight("w", 0, value, torch.zeros_like(value, dtype=torch.bool), Weights())
    came = torch.arange(value.numel()) % 3 == 0
    weight.set(came)
    weight.start(came)
    assert torch.equal(value != 0, weight.keep) and int(weight.keep.sum()) == int(came.sum())
    made = nn.Conv2d(8, 64, 3).weight.detach()
    for moment in (1, 2, 4):
        drawn_ones, torchs = (float(w.abs().pow(moment).mean()) for w in (value[weight.keep], made))
        assert drawn_ones == pytest.approx(torchs, rel=0.1)


def test_sparse_momentum_divides_what_was_removed_by_the_mean_momentum(network: Network, watched: Any) -> None:
    _, before, after = watched(network, SparseMomentum(every=Duration(3, "steps"), momentum=0.8))
    momenta = {name: torch.zeros_like(value) for name, value in before[0].weights.items()}
    moved_between = False
    for step, (was, now) in enumerate(zip(before, after, strict=True), start=1):
        momenta = {name: 0.8 * m + 0.2 * was.gradients[name] for name, m in momenta.items()}
        if step not in (3, 6, 9):
            continue
        part = 0.25 * (1 + math.cos(math.pi * step / 12))
        means = {name: float(momenta[name][keep].abs().mean()) for name, keep in keeps(was).items()}
        stays = {
            name: indices(keep) - smallest(was.weights[name].abs(), keep, math.floor(part * int(keep.sum())))
            for name, keep in keeps(was).items()
        }
        lost = sum(int(keep.sum()) - len(stays[name]) for name, keep in keeps(was).items())
        gained = {}
        for name, keep in keeps(now).items():
            new = indices(keep)
            assert stays[name] <= new
            gained[name] = len(new) - len(stays[name])
            others = torch.tensor([i not in stays[name] for i in range(keep.numel())])
            assert new - stays[name] == largest(momenta[name].abs(), others, gained[name])
        assert sum(gained.values()) == lost
        exact = {name: lost * mean / sum(means.values()) for name, mean in means.items()}
        assert all(abs(gained[name] - exact[name]) < 1 for name in NAMES)
        moved_between |= any(int(keep.sum()) != int(keeps(was)[name].sum()) for name, keep in keeps(now).items())
    assert moved_between


def test_dynamic_sparse_removes_below_one_threshold_and_adjusts_it(network: Network, watched: Any) -> None:
    schedule = DynamicSparse(every=Duration(2, "steps"), threshold=4e-2, part=0.02)
    _, before, after = watched(network, schedule)
    threshold, directions = 4e-2, set()
    numbers = {name: value.numel() for name, value in before[0].weights.items()}
    for step, (was, now) in enumerate(zip(before, after, strict=True), start=1):
        if step % 2 or step == 12:
            continue
        assert float(was.state["threshold"]) == threshold
        stays = {}
        for name, keep in keeps(was).items():
            large = indices(keep & (was.weights[name].abs().double() >= threshold))
            stays[name] = large or largest(was.weights[name].abs(), keep, 1)
        lost = sum(int(keep.sum()) - len(stays[name]) for name, keep in keeps(was).items())
        left = sum(len(found) for found in stays.values())
        for name, keep in keeps(now).items():
            assert stays[name] <= indices(keep)
            assert abs(int(keep.sum()) - len(stays[name]) - lost * len(stays[name]) / left) < 1
        wanted = 0.02 * sum(numbers.values())
        factor = 2.0 if lost < 0.9 * wanted else 0.5 if lost > 1.1 * wanted else 1.0
        directions.add(factor)
        threshold *= factor
        assert float(now.state["threshold"]) == threshold
    assert len(directions) > 1


def test_deepr_ends_what_crosses_zero_and_wakes_as_many(network: Network, watched: Any) -> None:
    _, before, after = watched(network, DeepR(drift=1e-2, temperature=0.0), optimizer=Sgd(0.2, momentum=0.0))
    ended_at_all = 0
    for step, (was, now) in enumerate(zip(before, after, strict=True), start=1):
        for number, name in enumerate(NAMES):
            keep, sign = keeps(was)[name], was.state[f"sign{number}"]
            assert set(sign.unique().tolist()) <= {-1, 1} and torch.equal(sign, now.state[f"sign{number}"])
            if step == 12:
                continue
            drifted = torch.where(keep, was.weights[name] - 0.2 * 1e-2 * sign, 0.0)
            ended = keep & (drifted * sign < 0)
            ended_at_all += int(ended.sum())
            new = keeps(now)[name]
            assert not (keep & ~ended & ~new).any() and int(new.sum()) == int(keep.sum())
            torch.testing.assert_close(now.weights[name], drifted.masked_fill(ended, 0))
            assert (now.weights[name] * sign >= 0).all()
    assert ended_at_all


def test_the_noise_of_deepr_has_the_temperature_of_the_formula(network: Network, watched: Any) -> None:
    _, before, after = watched(
        network, DeepR(drift=0.0, temperature=1e-4), optimizer=Sgd(0.05, momentum=0.0), target=0.1
    )
    noise = []
    for was, now in list(zip(before, after, strict=True))[:-1]:
        for name, keep in keeps(was).items():
            alive = keep & keeps(now)[name] & (now.weights[name] != 0)
            far = alive & (was.weights[name].abs() > 0.05)  # none of these ends: the sample is not cut off
            noise.append((now.weights[name] - was.weights[name])[far])
    drawn_noise = torch.cat(noise)
    assert len(drawn_noise) > 1000
    assert float(drawn_noise.std()) == pytest.approx(math.sqrt(2 * 0.05 * 1e-4), rel=0.05)
    assert abs(float(drawn_noise.mean())) < 3 * float(drawn_noise.std()) / math.sqrt(len(drawn_noise))


def test_surgery_is_a_training_of_dense_weights_with_gradients_at_masked_ones(
    another: Any, data: ImageDataset, silent: Any
) -> None:
    """SGD with momentum and weight decay by hand; both thresholds around the weight that the share lets stay."""
    network = another(dropout=0.0)
    schedule = Surgery(margin=0.3, decay=0.0)
    optimizer = Sgd(0.1, momentum=0.9, weight_decay=1e-2)
    trained, _ = fit(
        network, data, training(schedule, optimizer=optimizer), progress=silent(), task=TASK, seed=1,
        precision="float32",
    )  # fmt: skip
    module = network.clone().module.train()
    momenta = {name: torch.zeros_like(p) for name, p in module.named_parameters()}
    masks = {name: torch.ones_like(module.get_parameter(name), dtype=torch.bool) for name in NAMES}
    batches = (batch for epoch in range(3) for batch in data.batches("train", epoch=epoch, seed=1))
    spliced = 0
    for step, (images, labels) in enumerate(batches):
        dense = {name: module.get_parameter(name).detach().clone() for name in NAMES}
        for name in NAMES if step < 9 else ():
            sizes = dense[name].abs().flatten().sort(descending=True, stable=True)
            stay = sizes.values.numel() - math.ceil(0.8 * sizes.values.numel())
            middle = float(sizes.values[stay - 1])
            for i, size in enumerate(dense[name].abs().flatten().tolist()):
                low, high = (middle * 0.7, middle * 1.3) if step < 8 else (middle, middle)
                if size < low:
                    masks[name].view(-1)[i] = False
                elif size >= high:
                    spliced += not bool(masks[name].view(-1)[i])
                    masks[name].view(-1)[i] = True
        for name in NAMES:
            module.get_parameter(name).data.mul_(masks[name])
        loss = nn.functional.cross_entropy(module(images), labels)
        gradients = torch.autograd.grad(loss, list(module.parameters()))
        for name in NAMES:
            module.get_parameter(name).data.copy_(dense[name] if step < 9 else dense[name] * masks[name])
        decayed = optimizer.build(module).param_groups
        decay = {id(p): group["weight_decay"] for group in decayed for p in group["params"]}
        for (name, parameter), gradient in zip(module.named_parameters(), gradients, strict=True):
            momenta[name] = 0.9 * momenta[name] + gradient + decay[id(parameter)] * parameter.detach()
            parameter.data -= 0.1 * momenta[name]
            if name in masks and step >= 8:
                parameter.data.mul_(masks[name])
                momenta[name].mul_(masks[name])
    assert spliced
    for name in NAMES:
        assert torch.equal(trained.masks[name].keep, masks[name])
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(trained.module.state_dict()[name], tensor, rtol=1e-3, atol=1e-5)


def test_surgery_sets_masks_ever_more_rarely() -> None:
    schedule = Surgery(decay=0.5, power=2.0)
    assert [schedule.probability(i) for i in (0, 2, 6)] == [1.0, 0.25, 0.0625]


# where they work ----------------------------------------------------------------------------------


class Killed(Exception):
    """Simulates a process that dies."""


def kill_after(count: int) -> Any:
    def then(done: int) -> None:
        if done == count:
            raise Killed

    return then


@each_schedule
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_killed_and_the_same_bytes(
    network: Network, data: ImageDataset, silent: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schedule: Any,
    precision: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    optimizer = Sgd(0.1) if precision == "float32" else Adam(0.01)
    asked = training(schedule, Slimming(1e-3), optimizer=optimizer, scratch=True)
    how: Any = {"task": TASK, "seed": 4, "precision": precision}
    whole, record = fit(network, data, asked, progress=silent(), **how)
    for count in (3, 7):  # before and after an update
        with pytest.raises(Killed):
            fit(network, data, asked, progress=silent(kill_after(count)), checkpoint=tmp_path / "c", **how)
    again, record_again = fit(network, data, asked, progress=silent(), checkpoint=tmp_path / "c", **how)
    assert record_again.resumed_at == 6 and record_again.history == record.history
    assert all(torch.equal(again.tensors()[name], tensor) for name, tensor in whole.tensors().items())
    assert again.described() == whole.described()
    other = training(replace(schedule), Slimming(1e-3), optimizer=optimizer, scratch=True, target=0.7)
    _, fresh = fit(network, data, other, progress=silent(), checkpoint=tmp_path / "c", **how)
    assert fresh.resumed_at == 0


@each_schedule
def test_a_training_of_two_steps_ends_at_the_target(
    network: Network, data: ImageDataset, silent: Any, schedule: Any
) -> None:
    trained, record = fit(network, data, training(schedule), progress=silent(), task=TASK, seed=1, smoke=True)
    assert record.steps == 2
    assert all(Weights(0.8).holds(trained.module.get_parameter(name)) for name in NAMES)


def depthwise() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(), nn.Conv2d(8, 16, 1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3),
    )  # fmt: skip


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))


class Tokens(nn.Module):
    """Patches, one block of attention, a classifier: the linear weights of a ViT."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(self.patches(x).flatten(2).mT).mean(1))  # type: ignore[no-any-return]


@each_schedule
@pytest.mark.parametrize("make", [depthwise, perceptron, Tokens])
def test_networks_of_every_kind(data: ImageDataset, silent: Any, make: Any, schedule: Any) -> None:
    torch.manual_seed(0)
    network = Network(make().eval(), {}, (3, 8, 8), classes=tuple("abc"))
    names = tuple(name for name, p in network.module.named_parameters() if p.ndim > 1)
    asked = training(schedule, names=names, scratch=True, duration=Duration(5, "steps"))
    trained, _ = fit(network, data, asked, progress=silent(), task=TASK, seed=1)
    counts = [network.module.get_parameter(name).numel() for name in names]
    masked = sum(int((~mask.keep).sum()) for mask in trained.masks.values())  # a layer may have become whole
    assert sum(counts) - masked == sum(count - math.ceil(round(0.8 * count, 6)) for count in counts)


@pytest.mark.parametrize("pattern", [Kernels(), Filters(), Blocks(rows=2, columns=4)], ids=lambda one: one.name)
@pytest.mark.parametrize("name", ["rigl", "sparse_momentum", "surgery"])
def test_pieces_move_whole(network: Network, data: ImageDataset, silent: Any, pattern: Any, name: str) -> None:
    asked = training(ALL[name], names=("4.weight",), pattern=pattern, target=0.5)
    trained, _ = fit(network, data, asked, progress=silent(), task=TASK, seed=1)
    mask = trained.masks["4.weight"]
    pieces = pattern.split(mask.keep)
    assert (pieces.all(1) | ~pieces.any(1)).all() and int(pieces.any(1).sum()) == len(pieces) // 2
    assert mask.name == str(pattern.at(0.5))


def test_each_weight_begins_with_its_own_share(network: Network, data: ImageDataset, silent: Any) -> None:
    asked = replace(masking(ALL["set"]), shares={"4.weight": 0.9, "7.weight": 0.5})
    companion = ALL["set"].companion(asked)
    trained, record = fit(
        network, data, Training(THREE, Sgd(0.1), companions=(companion,)), progress=silent(), task=TASK, seed=1
    )
    assert [trained.masks[name].name for name in NAMES] == ["90% sparse", "50% sparse"]
    assert [int((~trained.masks[name].keep).sum()) for name in NAMES] == [math.ceil(0.9 * 576), 108]
    assert [figure.what for figure in record.left.reached] == ["moved"]


def test_a_weight_that_an_allocation_leaves_whole_is_not_touched(
    network: Network, data: ImageDataset, silent: Any
) -> None:
    """Zeros of what is removed and drawn again would come back into it at every update."""
    for name, schedule in ALL.items():
        asked = replace(masking(schedule), shares={"4.weight": 0.0, "7.weight": 0.8})
        training = Training(THREE, Sgd(0.1), companions=(schedule.companion(asked),))
        trained, _ = fit(network, data, training, progress=silent(), task=TASK, seed=1)
        if name in ("rigl", "set", "surgery"):
            assert set(trained.masks) == {"7.weight"} and trained.module.get_parameter("4.weight").all()


def test_settings_that_contradict_each_other() -> None:
    for wrong in ({"every": Duration(0)}, {"every": Duration(3), "end": Duration(3)}):
        with pytest.raises(SettingError):
            RigL(**wrong)  # type: ignore[arg-type]
