"""States and actions of AMC against its algorithm 1 for costs that add up, and networks nobody prepared."""

from __future__ import annotations

import itertools

import pytest
import torch
from chains import bare_queue, chain, queues_of
from hypothesis import given
from hypothesis import strategies as st

from recipelang.searching.course import FEATURES, Course, sizes_of

SIZES = (4, 8, 10)


def course(weights: tuple[float, ...], bound: float, most: tuple[int, ...] = (3, 7, 9)) -> Course:
    """Groups whose costs add up: W_k for the share that is kept."""
    queues = [bare_queue(size, str(size)) for size in SIZES]

    def cost(taken: object) -> float:
        kept = [1 - k / size for k, size in zip(taken, SIZES, strict=True)]  # type: ignore[call-overload]
        return sum(w * share for w, share in zip(weights, kept, strict=True)) / (bound * sum(weights))

    return Course(queues, [[0.0] * 6] * 3, cost, most)


@given(
    st.tuples(*[st.floats(0.1, 5)] * 3),
    st.floats(0.2, 1),
    st.tuples(st.integers(0, 3), st.integers(0, 7)),
    st.floats(0, 1),
)
def test_actions_are_held_to_the_budget_as_in_algorithm_1(
    weights: tuple[float, ...], bound: float, before: tuple[int, int], wanted: float
) -> None:
    """At least W_duty/W_t of a group is removed, W_duty what later groups cannot."""
    here = course(weights, bound)
    for at in range(3):
        taken = list(before[:at])
        most = [k / size for k, size in zip(here.most, SIZES, strict=True)]
        rest = sum(most[k] * weights[k] for k in range(at + 1, 3))
        reduced = sum(taken[k] / SIZES[k] * weights[k] for k in range(at))
        duty = (1 - bound) * sum(weights) - rest - reduced
        fewest = next(
            (k for k in range(here.most[at] + 1) if k / SIZES[at] * weights[at] >= duty - 1e-9), here.most[at]
        )
        found = here.clipped(taken, wanted)
        near = min(range(fewest, here.most[at] + 1), key=lambda k, at=at: abs(k / SIZES[at] - wanted))
        assert abs(found / SIZES[at] - wanted) <= abs(near / SIZES[at] - wanted) + 1e-6
        assert found >= fewest or abs(fewest / SIZES[at] * weights[at] - duty) < 1e-6


@given(st.tuples(*[st.floats(0.1, 5)] * 3), st.floats(0.4, 1), st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_every_episode_meets_a_budget_that_can_be_met(
    weights: tuple[float, ...], bound: float, wanted: list[float]
) -> None:
    here = course(weights, bound)
    taken: list[int] = []
    for action in wanted:
        taken.append(here.clipped(taken, action))
    if here.cost(here.most) <= 1:
        assert here.cost(taken) <= 1
    else:
        assert taken == list(here.most)


def test_states_say_what_was_saved_and_what_can_be_saved() -> None:
    here = course((1.0, 2.0, 1.0), 0.5)
    first = here.state([])
    assert first.shape == (FEATURES,) and first[-3:].tolist() == pytest.approx([0, (1.75 + 0.9) / 4, 0])
    second = here.state([2])
    assert second[-3:].tolist() == pytest.approx([0.5 / 4, 0.9 / 4, 0.5])
    assert here.state([2, 3])[-3:].tolist() == pytest.approx([(0.5 + 0.75) / 4, 0, 3 / 8])
    fixed = torch.stack([here.state(list(taken))[:-3] for taken in ((), (0,), (0, 0))])
    assert fixed[:, 0].tolist() == [0, 0.5, 1]
    assert fixed.min() >= 0 and fixed.max() <= 1


def test_sizes_of_a_chain_are_those_of_its_layers() -> None:
    network = chain(6, 8)
    assert sizes_of(network, queues_of(network)) == [[6, 4, 1, 1, 0, 1], [8, 6, 1, 1, 0, 1]]


def test_sizes_of_convolutions() -> None:
    from recipelang.nets.digits_resnet import digits_resnet
    from recipelang.surgery.network import Network

    network = Network(digits_resnet().eval(), {}, (1, 8, 8))
    queues = queues_of(network, "filters")
    found = {queue.group.name: size for queue, size in zip(queues, sizes_of(network, queues), strict=True)}
    assert found["layer1.0.conv1"] == [16, 16, 8, 8, 1, 3]
    assert found["layer2.0.conv1"] == [32, 16, 8, 8, 2, 3]
    assert found["layer2.1.conv1"] == [32, 32, 4, 4, 1, 3]
    assert all(size[0] == queue.group.size for queue, size in zip(queues, found.values(), strict=True))


def test_the_bisection_finds_the_fewest_steps() -> None:
    for bound, first in itertools.product((0.3, 0.5, 0.7), range(4)):
        here = course((1.0, 2.0, 1.0), bound)
        found = here.clipped([first], 0.0)
        meets = [k for k in range(8) if here.cost([first, k, 9]) <= 1]
        assert found == (meets[0] if meets else 7)
