"""Each law by which a schedule moves zeros, written naively, and the pieces that the laws share."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rewirings import NAMES, TASK, indices, keeps, largest, smallest, training
from torch import nn

from recipelang.images.dataset import ImageDataset
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.patterns.weights import Weights
from recipelang.methods.schedules._choosing import apportioned, drawn, least, most
from recipelang.methods.schedules._rewiring import Weight
from recipelang.methods.schedules.deepr import DeepR
from recipelang.methods.schedules.dynamic_sparse import DynamicSparse
from recipelang.methods.schedules.rigl import RigL
from recipelang.methods.schedules.set import Set
from recipelang.methods.schedules.sparse_momentum import SparseMomentum
from recipelang.methods.schedules.surgery import Surgery
from recipelang.plan import Duration
from recipelang.surgery.network import Network
from recipelang.training.loop import fit

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
