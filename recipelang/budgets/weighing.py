"""In which order the groups of a statement lose parts, where several units or a budget's prices have a say in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from recipelang import catalogue
from recipelang.budgets.conditions import alternatives, falls
from recipelang.budgets.elements import Elements
from recipelang.budgets.joint import JointRemoval
from recipelang.budgets.ledger import Accounts, Goal, Key
from recipelang.budgets.sorts import sorts_of
from recipelang.kinds import Allocation, Queue, RemovalStep
from recipelang.plan import Condition, Reading, Test
from recipelang.surgery.network import Network

#: by how much a measured number has to be better than its bound, so that its interval is as well
NOISE = 0.02
Read = Callable[[Reading, Network], float]


def usual() -> Allocation:
    """The allocation of a statement that names none: one ranking of the whole network."""
    found = catalogue.find("allocation", "global")
    assert found is not None
    made: Allocation = found()
    return made


def weighed(
    allocation: Allocation,
    queues: Sequence[Queue],
    together: JointRemoval,
    until: Condition,
    read: Read,
    shares: Mapping[tuple[Key, Key], Sequence[float]],
) -> list[RemovalStep]:
    """The steps in the order of an allocation that weighs importance against the budget.

    Of alternatives joined by `or`, it is the order for the one that is reached with the least loss of importance, by
    the estimates; the budget is then searched along that order.

    Args:
        queues: of all units.
        together: removes steps for a measurement.
        until: the budget.
        read: a reading of a network.
        shares: (layer, group) → what of each score of the group is inside the layer.
    """
    network = together.removals[0].network
    elements = Elements(network.module, queues)
    sorts = sorts_of(network, queues, elements)
    best: tuple[float, list[RemovalStep]] | None = None
    for tests in alternatives(until):
        goals = [_goal(test, read, network) for test in tests]

        def look(steps: Sequence[RemovalStep], tests: Sequence[Test] = tests) -> list[float]:
            smaller = together.tried(steps)
            return [read(test.reading, smaller) for test in tests]

        accounts = Accounts(queues, elements.copy(), sorts, goals, look, shares)
        order = list(allocation.order(queues, accounts))
        spent = accounts.reached if accounts.reached is not None else float("inf")
        if best is None or spent < best[0]:
            best = spent, order
    assert best is not None
    return best[1]


def _goal(test: Test, read: Read, network: Network) -> Goal:
    bound = read(test.bound, network) if isinstance(test.bound, Reading) else test.bound
    falls_below = test.operator in ("<", "<=")
    sure = 1.0 if falls(test) else 1 - NOISE if falls_below else 1 + NOISE
    return Goal(sure * bound, falls_below)
