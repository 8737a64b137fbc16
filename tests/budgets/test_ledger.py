"""What steps lose and win, counted on real networks and compared with building every one of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from recipelang import catalogue
from recipelang.budgets.elements import Elements
from recipelang.budgets.joint import JointRemoval
from recipelang.budgets.ledger import Accounts, Goal
from recipelang.budgets.removal import Removal
from recipelang.budgets.sorts import sorts_of
from recipelang.budgets.weighing import weighed
from recipelang.kinds import Group, Queue, RemovalStep
from recipelang.methods.criteria.magnitude import Magnitude
from recipelang.methods.units.filters import Filters
from recipelang.methods.units.layers import Layers
from recipelang.plan import Any_, Reading, Selection, Test
from recipelang.scoring.evidence import Gathered
from recipelang.scoring.shared import Member, held_inside, rank_together, single_scores
from recipelang.surgery.network import Network

PARAMS = SimpleNamespace(kind="metric", name="params", source="structure", role="cost", unit="params")


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))).relu()


def module() -> nn.Module:
    """Two residual blocks between a stem and a classifier; the stem's channels are those of the sums."""
    torch.manual_seed(0)
    blocks = [Block(8), Block(8)]
    stem = nn.Conv2d(1, 8, 3, padding=1)
    return nn.Sequential(stem, nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)).eval()


def plain() -> nn.Module:
    """Two convolutions that keep the shape of their input, without a skip connection."""
    torch.manual_seed(0)
    convs = [nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU()]
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), *convs, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)
    ).eval()


class Scene:
    """A network, its layers and filters ranked by squared magnitude, and their removal."""

    def __init__(self, made: nn.Module, criterion: Any = None) -> None:
        self.network = Network(made, {}, (1, 8, 8))
        self.criterion = criterion or Magnitude(2)
        units = (Layers(), Filters(round=1))
        offers = [unit.find(self.network, Selection()) for unit in units]
        self.members = [
            Member(unit, offer.groups, Gathered(self.network, None, None, offer.groups, unit.ranks, ("weights",)))  # type: ignore[arg-type]
            for unit, offer in zip(units, offers, strict=True)
        ]
        scores = single_scores(self.criterion, self.members)
        rankings = rank_together(self.criterion, self.members, scores)
        self.queues = [queue for ranking in rankings for queue in ranking.queues]
        self.inside = held_inside(self.criterion, self.members, scores)
        removals = [
            Removal(self.network, one.unit, offer, self.criterion, one.evidence, judged=False)
            for one, offer in zip(self.members, offers, strict=True)
        ]
        self.together = JointRemoval(tuple(removals), lambda unit, network: unit.find(network, Selection()))
        self.looks = 0

    def count(self, steps: Sequence[RemovalStep]) -> int:
        self.looks += 1
        return sum(p.numel() for p in self.together.tried(steps).module.parameters())

    def accounts(self, bound: float) -> Accounts:
        elements = Elements(self.network.module, self.queues)
        sorts = sorts_of(self.network, self.queues, elements)
        return Accounts(self.queues, elements, sorts, [Goal(bound)], lambda steps: [self.count(steps)], self.inside)

    def order(self, bound: float) -> list[RemovalStep]:
        return list(catalogue.find("allocation", "knapsack")().order(self.queues, self.accounts(bound)))  # type: ignore[misc]


def test_elements_of_every_step_are_those_of_the_networks_that_are_built() -> None:
    scene = Scene(module())
    elements, taken = Elements(scene.network.module, scene.queues), list[RemovalStep]()
    whole = scene.count([])
    assert elements.total() == whole
    for step in scene.order(0.3 * whole):
        before = scene.count(taken)
        taken.append(step)
        assert elements.of(step) == elements.take(step) == before - scene.count(taken)
    assert elements.total() == scene.count(taken)


def test_what_is_lost_is_what_is_inside_and_nothing_twice() -> None:
    """The squares of all weights of what is removed, each once: a layer's less those of its filters removed before."""
    scene = Scene(module())
    accounts, removed = scene.accounts(100), 0.0
    rows: dict[str, set[int]] = {}
    weights = {name: w.detach() for name, w in scene.network.module.named_parameters() if w.ndim > 1}
    gone_layers: set[str] = set()
    groups = {(q.unit, q.group.name): q.group for q in scene.queues}

    def naive() -> float:
        """Of every weight, the rows that were removed, or all of it."""
        total = 0.0
        for name, weight in weights.items():
            if any(name.startswith(layer + ".") for layer in gone_layers):
                total += float((weight.double() ** 2).sum())
            else:
                total += sum(float((weight[row].double() ** 2).sum()) for row in rows.get(name, ()))
        return total

    for step in scene.order(100):
        lost = accounts.lost(step)
        accounts.take(step)
        group = groups[step.unit, step.group]
        if step.unit == "layers":
            gone_layers.add(step.group)
        else:
            for layer in group.layers:
                rows.setdefault(f"{layer}.weight", set()).update(step.parts)
        removed += lost
        assert removed == pytest.approx(naive(), rel=1e-6)
    assert accounts.spent == pytest.approx(removed)


@pytest.mark.parametrize("make", [module, plain])
def test_parts_of_both_units_leave_with_parity_in_any_order(make: Any) -> None:
    scene = Scene(make())
    order = scene.order(1)
    for k in range(1, len(order) + 1, 2):
        made, stays = scene.together.made(order[:k])
        tried = scene.together.tried(order[:k])
        assert not stays
        shapes = [{name: tuple(p.shape) for name, p in one.module.named_parameters()} for one in (made, tried)]
        assert shapes[0] == shapes[1]
        assert all(torch.equal(a, b) for a, b in zip(made.tensors().values(), tried.tensors().values(), strict=True))


def test_a_removed_layer_takes_its_filters_along() -> None:
    scene = Scene(module())
    inner = next(step for q in scene.queues if q.group.layers == ("2.conv1",) for step in q.steps)
    layer = next(step for q in scene.queues if q.group.name == "2" for step in q.steps)
    assert scene.together.surviving([inner, layer]) == [layer] == scene.together.surviving([layer, inner])
    assert scene.together.vanishing(scene.together.removals[1], [layer]) == ["2.conv1"]
    accounts = scene.accounts(100)
    assert not accounts.void(inner)
    accounts.take(layer)
    assert accounts.void(inner) and not accounts.void(layer)


@pytest.mark.parametrize("share", [0.7, 0.4])
def test_the_greedy_order_is_near_the_best_of_all_choices(share: float) -> None:
    """What reaches the budget along the order loses at most 1.5 times what the best of all subsets of steps does.

    Subsets are of prefixes of the queues; there are few, so that all of them can be tried.
    """
    scene = Scene(module())
    whole = scene.count([])
    bound = share * whole
    order, accounts = scene.order(bound), scene.accounts(bound)
    lost = 0.0
    for k, step in enumerate(order):
        if scene.count(order[:k]) < bound:
            break
        lost += accounts.lost(step)
        accounts.take(step)
    best = float("inf")
    layers = [q for q in scene.queues if q.unit == "layers"]
    others = [q for q in scene.queues if q.unit != "layers"]
    for chosen in (c for n in range(len(layers) + 1) for c in combinations(layers, n)):
        for counts in torch.cartesian_prod(*[torch.arange(0, len(q.steps) + 1) for q in others]).tolist():
            steps = [
                *(q.steps[0] for q in chosen),
                *(s for q, n in zip(others, counts, strict=True) for s in q.steps[:n]),
            ]
            elements = Elements(scene.network.module, scene.queues)
            ledger = scene_free(scene, elements)
            spent = sum(take(ledger, step) for step in scene.together.surviving(steps))
            if elements.total() < bound:
                best = min(best, spent)
    assert lost <= 1.5 * best


def scene_free(scene: Scene, elements: Elements) -> Accounts:
    """A ledger that measures nothing."""
    each = [[(queue.unit, queue.group.name)] for queue in scene.queues]
    return Accounts(scene.queues, elements, each, [Goal(1.0)], lambda steps: [0.0], scene.inside)


def take(accounts: Accounts, step: RemovalStep) -> float:
    lost = accounts.lost(step)
    accounts.take(step)
    return lost


def test_a_goal_that_is_reached_wins_nothing_more_until_all_are() -> None:
    """Cheap steps for one goal, expensive ones for the other: the order turns to what is missing."""
    a, b = (Group(name, 5, least=1, layers=(name,)) for name in "ab")
    queues = [
        Queue(group, (cost,) * 5, tuple(RemovalStep(group.name, (k,), cost, "filters") for k in range(4)), "filters")
        for group, cost in ((a, 1.0), (b, 3.0))
    ]

    def look(steps: Sequence[RemovalStep]) -> list[float]:
        """Each part of `a` takes a tenth of the first number, of `b` of the second."""
        return [1 - 0.1 * sum(step.group == name for step in steps) for name in "ab"]

    elements = Elements(nn.Linear(1, 1), queues)
    sorts = [[("filters", "a")], [("filters", "b")]]
    accounts = Accounts(queues, elements, sorts, [Goal(0.85), Goal(0.75)], look, {})
    order = catalogue.find("allocation", "knapsack")().order(queues, accounts)  # type: ignore[misc]
    assert [step.group for step in order] == ["a", "a", "b", "b", "b", "a", "a", "b"]
    assert accounts.reached == 2 * 1.0 + 3 * 3.0


def test_estimates_that_were_wrong_are_corrected_where_they_reach_the_goal() -> None:
    """The second survey promises more of the next step than it gives: it is read, and the order goes on."""
    a = Group("a", 9, least=1, layers=("a",))
    queue = Queue(a, (1.0,) * 9, tuple(RemovalStep("a", (k,), 1.0, "filters") for k in range(8)), "filters")
    clock = [1.0, 0.9, 0.8, 0.79, 0.78, 0.77, 0.3, 0.29, 0.28]
    seen: list[int] = []

    def look(steps: Sequence[RemovalStep]) -> list[float]:
        seen.append(len(steps))
        return [clock[len(steps)]]

    accounts = Accounts([queue], Elements(nn.Linear(1, 1), [queue]), [[("filters", "a")]], [Goal(0.6)], look, {})
    for step in queue.steps:
        accounts.take(step)
    assert accounts.reached == 6 and seen == [0, 4, 4, 6, 5, 6]


def test_equal_groups_at_another_resolution_are_another_sort() -> None:
    convs = [nn.Conv2d(6, 6, 3, padding=1, bias=False) for _ in range(4)]
    pooled = nn.Sequential(nn.Conv2d(1, 6, 1), *convs[:2], nn.MaxPool2d(2), *convs[2:], nn.Flatten(), nn.Linear(96, 2))
    network = Network(pooled.eval(), {}, (1, 8, 8))
    offer = Filters(round=1).find(network, Selection())
    queues = [Queue(g, (0.0,) * 6, (RemovalStep(g.name, (0,), 0.0, "filters"),), "filters") for g in offer.groups]
    found = sorts_of(network, queues, Elements(network.module, queues))
    assert (("filters", "0"),) in found and (("filters", "1"), ("filters", "2")) in found
    assert (("filters", "4"),) in found and (("filters", "5"),) in found


@given(st.lists(st.tuples(st.floats(0.01, 5), st.floats(0.01, 5)), min_size=1, max_size=8))
@settings(max_examples=50)
def test_of_single_steps_the_cheapest_for_its_gain_comes_first(items: list[tuple[float, float]]) -> None:
    queues = [
        Queue(
            Group(str(k), 2, least=1, layers=(str(k),)),
            (loss, 9.0),
            (RemovalStep(str(k), (0,), loss, "filters"),),
            "filters",
        )
        for k, (loss, _) in enumerate(items)
    ]

    class Fixed:
        def lost(self, step: RemovalStep) -> float:
            return items[int(step.group)][0]

        def won(self, step: RemovalStep) -> float:
            return items[int(step.group)][1]

        def void(self, step: RemovalStep) -> bool:
            return False

        def take(self, step: RemovalStep) -> frozenset[tuple[str, str]]:
            return frozenset()

    order = catalogue.find("allocation", "knapsack")().order(queues, Fixed())  # type: ignore[misc]
    prices = [items[int(step.group)][0] / items[int(step.group)][1] for step in order]
    assert prices == sorted(prices) and len(order) == len(items)


def test_of_alternatives_the_one_that_loses_less_is_prepared() -> None:
    """`params < 0.9 or params < 0.2`: the first is reached long before the second, and the order is for it."""
    scene = Scene(module())
    whole = scene.count([])
    tests = [Test(Reading(PARAMS, form="ratio"), "<", bound) for bound in (0.2, 0.9)]
    read = lambda reading, network: sum(p.numel() for p in network.module.parameters()) / whole  # noqa: E731
    knapsack = catalogue.find("allocation", "knapsack")()  # type: ignore[misc]

    def order(until: Any) -> list[RemovalStep]:
        return weighed(knapsack, scene.queues, scene.together, until, read, scene.inside)

    assert order(Any_(tuple(tests))) == order(tests[1])
