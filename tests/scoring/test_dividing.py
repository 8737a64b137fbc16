"""The share of zeros divided among weights: laws of uniform, global and erk, on single weights and on larger pieces."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from recipelang import catalogue
from recipelang.methods.patterns.blocks import Blocks
from recipelang.methods.patterns.filters import Filters
from recipelang.methods.patterns.kernels import Kernels
from recipelang.methods.patterns.weights import Weights
from recipelang.plan import Course
from recipelang.scoring.dividing import COARSE, Dividing, Masked, queues_of, shares
from recipelang.scoring.following import Following
from recipelang.surgery.network import Network

SHAPES = {"a.weight": (8, 3, 3, 3), "b.weight": (16, 8, 3, 3), "c.weight": (32, 16, 1, 1), "d.weight": (5, 32)}
PATTERNS = {"weights": Weights(), "kernels": Kernels(), "filters": Filters(), "blocks": Blocks(1, 2)}


def allocation(name: str) -> Any:
    return catalogue.find("allocation", name)()  # type: ignore[misc]


def drawn(seed: int, pattern: str = "weights", scale: float = 1.0) -> dict[str, Tensor]:
    """Random scores; each weight on its own scale."""
    generator = torch.Generator().manual_seed(seed)
    names = [name for name, shape in SHAPES.items() if PATTERNS[pattern].refuses(torch.zeros(shape)) is None]
    return {name: torch.rand(SHAPES[name], generator=generator) * scale**k for k, name in enumerate(names)}


def masks(pattern: Any, scores: dict[str, Tensor], divided: Any) -> dict[str, Tensor]:
    return {name: pattern.at(divided[name]).mask(score) for name, score in scores.items()}


def zeros(found: dict[str, Tensor]) -> float:
    return 1 - sum(int(m.sum()) for m in found.values()) / sum(m.numel() for m in found.values())


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("name", ["global", "uniform", "erk"])
@pytest.mark.parametrize("target", [0.05, 0.5, 0.9])
def test_all_weights_together_have_the_share_that_is_asked_for(pattern: str, name: str, target: float) -> None:
    how, scores = PATTERNS[pattern], drawn(1, pattern, 1.5)
    found = masks(how, scores, shares(allocation(name), how, scores, target))
    largest = max(score.numel() / len(how.split(score)) for score in scores.values())
    total = sum(score.numel() for score in scores.values())
    assert target - 1e-9 <= zeros(found) < target + largest / total + 1e-9, "one piece more at most"
    assert all(bool(mask.any()) for mask in found.values()), "one piece of each weight stays"


@given(st.integers(0, 1000), st.floats(0.01, 0.99), st.sampled_from([0.3, 1.0, 4.0]))
@settings(max_examples=30)
def test_global_is_one_threshold_on_the_scores_of_all_weights(seed: int, target: float, scale: float) -> None:
    scores = drawn(seed, scale=scale)
    found = masks(Weights(), scores, shares(allocation("global"), Weights(), scores, target))
    kept = {name: scores[name][mask] for name, mask in found.items()}
    removed = torch.cat([scores[name][~mask] for name, mask in found.items()])
    for name, values in kept.items():
        least = values.sort().values
        step = math.ceil(scores[name].numel() / 1000)  # a weight's pieces leave in steps, ordered by their mean
        if len(values) > step and len(removed):
            assert float(least[step:].min()) >= float(removed.sort().values[: -2 * step or None].max()) - 1e-6


@given(st.floats(0.01, 0.99))
def test_densities_of_erk_are_in_proportion_to_sums_over_products_of_sizes(target: float) -> None:
    scores = drawn(0)
    found = shares(allocation("erk"), Weights(), scores, target)
    one = {name: sum(shape) / math.prod(shape) for name, shape in SHAPES.items()}
    sizes = {name: math.prod(shape) for name, shape in SHAPES.items()}
    low, high = 0.0, 1 / min(one.values())  # ε by bisection of the published formula
    for _ in range(100):
        epsilon = (low + high) / 2
        kept = sum(sizes[name] * min(1.0, epsilon * one[name]) for name in one)
        low, high = (epsilon, high) if kept < (1 - target) * sum(sizes.values()) else (low, epsilon)
    for name in one:
        expected = 1 - min(1.0, low * one[name])
        assert found[name] == pytest.approx(expected, abs=0.0011 + 2 / sizes[name]), name


@given(st.floats(0.001, 0.999))
def test_uniform_is_the_same_share_of_each(target: float) -> None:
    scores = drawn(2)
    assert shares(None, Weights(), scores, target) == dict.fromkeys(scores, target)
    for name, share in shares(allocation("uniform"), Weights(), scores, target).items():
        assert share == pytest.approx(target, abs=0.0011 + 1 / scores[name].numel())


@pytest.mark.parametrize("ends", [COARSE, (0.25, 0.5)])
def test_steps_hold_the_least_important_pieces_first(ends: tuple[float, ...]) -> None:
    scores = drawn(3)
    for queue, (name, score) in zip(queues_of(Weights(), scores, ends), scores.items(), strict=True):
        ordered = score.double().flatten().sort().values
        assert queue.group.source == SHAPES[name]
        assert [k for step in queue.steps for k in step.parts] == list(range(queue.gone(len(queue.steps))))
        assert queue.gone(len(queue.steps)) == min(score.numel() - 1, math.ceil(round(ends[-1] * score.numel(), 6)))
        for step in queue.steps:
            assert step.score == pytest.approx(float(ordered[list(step.parts)].mean()))


def test_what_is_removed_already_leaves_first_and_a_weight_of_one_piece_stays() -> None:
    score = torch.tensor([[5.0, -torch.inf, 1.0, -torch.inf]])
    queues = queues_of(Weights(), {"a": score, "b": torch.ones(1, 1)}, (0.5, 1.0))
    assert [step.score for step in queues[0].steps] == [-math.inf, 1.0] and not queues[1].steps
    assert shares(allocation("global"), Weights(), {"a": score, "b": torch.ones(1, 1)}, 0.4) == {"a": 0.5, "b": 0.0}


def test_a_search_tries_networks_with_pieces_at_zero() -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 3))
    network = Network(module, {}, (1, 8, 8))
    scores = {"0.weight": module[0].weight.detach().abs(), "2.weight": module[2].weight.detach().abs()}
    queues = queues_of(Weights(), scores, COARSE)
    tried = Masked(network, Weights(), scores).tried([*queues[0].steps[:5], *queues[1].steps[:10]])
    sparsity = {name: float((tried.module.get_parameter(name) == 0).double().mean()) for name in scores}
    assert sparsity == {"0.weight": pytest.approx(0.5), "2.weight": pytest.approx(0.9, abs=0.005)}
    assert bool(module[0].weight.all()), "the network itself is as it was"


def test_on_the_way_shares_are_in_proportion_and_global_ranks_again() -> None:
    scores = drawn(4, scale=3.0)
    ends = shares(allocation("erk"), Weights(), scores, 0.8)
    dividing = Dividing(0.8, ends)
    assert dividing.at(Weights(), scores, 0.4) == {name: pytest.approx(share / 2) for name, share in ends.items()}
    again = Dividing(0.8, ends, allocation("global"))
    assert again.at(Weights(), scores, 0.4) == shares(allocation("global"), Weights(), scores, 0.4)


@pytest.mark.parametrize("name", ["erk", "global"])
def test_masks_that_follow_a_schedule_end_with_the_allocations_shares(name: str) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Flatten(), nn.Linear(288, 3))
    network = Network(module, {}, (1, 8, 8))
    names = ("0.weight", "2.weight")

    def score(network: Network) -> dict[str, Tensor]:
        return {name: network.module.get_parameter(name).detach().abs() for name in names}

    first = score(network)
    made = allocation(name)
    ends = shares(made, Weights(), first, 0.7)
    dividing = Dividing(0.7, ends, made if made.compares else None)
    agp = catalogue.find("schedule", "agp")()  # type: ignore[misc]
    following = Following(Course(agp, 0.7), Weights(), names, score, dividing)
    from recipelang.kinds import Moment

    state = following.begin(network, Moment(0, 10, 5))
    for step in range(10):
        following.before_step(network, state, Moment(step, 10, 5))
    done = following.finish(network, state)
    found = {name: mask.keep for name, mask in done.masks.items()}
    assert zeros(found) == pytest.approx(0.7, abs=2 / 900)
    for each in names:
        own = 1 - float(found[each].double().mean())
        assert own == pytest.approx(ends[each], abs=0.002), "nothing was trained, so the ranking is the first one"
        assert done.masks[each].pattern == f"{100 * own:.4g}% sparse"
