"""`sensitivity`: each group cut alone by brute force, the law of the order, and runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from recipelang.budgets.bench import Workbench
from recipelang.errors import Refusal
from recipelang.kinds import Ablation, Group, Queue, Quiet, RemovalStep
from recipelang.methods.allocations.sensitivity import Sensitivity


def loss_without(bench: Workbench, queue: Queue, count: int) -> float:
    """The loss on the held out images with the parameters of some filters of one convolution at zero."""
    module = bench.whole.clone().module
    at = int(queue.group.name)
    gone = [part for step in queue.steps[:count] for part in step.parts]
    with torch.no_grad():
        reader = next(m for m in module[at + 1 :] if isinstance(m, nn.Conv2d | nn.Linear))
        reader.weight[:, gone] = 0
        inputs, targets = (torch.cat(each) for each in zip(*bench.batches(), strict=True))
        return float(nn.functional.cross_entropy(module.eval()(inputs), targets))


def test_the_order_is_that_of_the_harm_of_cutting_each_group_alone(bench: Callable[..., Workbench]) -> None:
    found = bench()
    order = Sensitivity().explore(found.queues, found)
    harms = []
    for queue in found.queues:
        worst = float("-inf")
        for count, step in enumerate(queue.steps, 1):
            worst = max(worst, loss_without(found, queue, count) - loss_without(found, queue, 0))
            harms.append((worst, step))
    by_hand = [step for _, step in sorted(harms, key=lambda pair: round(pair[0], 5))]
    assert list(order) == by_hand
    (told,) = found.told
    (plot,) = told.plots
    assert [line.name for line in plot.lines] == ["0", "3", "6"]
    for line, queue in zip(plot.lines, found.queues, strict=True):
        assert line.x == tuple(100 * queue.gone(k) / queue.group.size for k in range(len(queue.steps) + 1))
        expected = [loss_without(found, queue, k) for k in range(len(queue.steps) + 1)]
        assert list(line.y) == pytest.approx(expected, rel=1e-4)


class Curves:
    """A bench that knows the loss of each cut."""

    def __init__(self, losses: Sequence[Sequence[float]]) -> None:
        self.losses, self.progress, self.told = losses, Quiet(), list[Any]()

    def score(self, taken: Sequence[int]) -> Ablation:
        assert sum(map(bool, taken)) <= 1, "one group at a time"
        cut = next((q for q, count in enumerate(taken) if count), 0)
        return Ablation(self.losses[cut][taken[cut]], 0.5)

    def remember(self, key: str, make: Callable[[], Any]) -> Any:
        return make()

    def tell(self, **said: Any) -> None:
        self.told.append(said)


@given(
    st.floats(0, 3),
    st.lists(st.lists(st.floats(0, 5, allow_subnormal=False), min_size=1, max_size=5), min_size=1, max_size=5),
)
def test_after_any_number_of_steps_all_groups_are_cut_to_the_same_harm(whole: float, rest: list[list[float]]) -> None:
    queues = [
        Queue(Group(str(q), len(losses) + 1), (), tuple(RemovalStep(str(q), (k,), 0.0) for k in range(len(losses))))
        for q, losses in enumerate(rest)
    ]
    order = Sensitivity().explore(queues, Curves([[whole, *losses] for losses in rest]))  # type: ignore[arg-type]
    assert sorted((s.group, s.parts) for s in order) == sorted((s.group, s.parts) for q in queues for s in q.steps)
    worst = {(str(q), k): max(losses[: k + 1]) - whole for q, losses in enumerate(rest) for k in range(len(losses))}
    harms = [worst[step.group, step.parts[0]] for step in order]
    assert harms == sorted(harms), "a threshold on the harm separates what is taken from what is not"
    for queue in queues:
        assert [step for step in order if step.group == queue.group.name] == list(queue.steps)


def test_the_score_may_be_what_is_harmed() -> None:
    queues = [Queue(Group(n, 2), (), (RemovalStep(n, (0,), 0.0),)) for n in "ab"]
    bench = Curves([[0.0, 0.0]] * 2)
    scores = {(0, 0): 0.9, (1, 0): 0.5, (0, 1): 0.8}
    bench.score = lambda taken: Ablation(0.0, scores[tuple(taken)])  # type: ignore[assignment,method-assign]
    order = Sensitivity(by="score").explore(queues, bench)  # type: ignore[arg-type]
    assert [step.group for step in order] == ["b", "a"]
    assert bench.told[0]["plots"][0].lines[0].y == (0.9, 0.5), "as it is, and not turned round"
    bench.score = lambda taken: Ablation(0.0, None)  # type: ignore[assignment,method-assign]
    with pytest.raises(Refusal) as refused:
        Sensitivity(by="score").explore(queues, bench)  # type: ignore[arg-type]
    assert refused.value.code == "RCP1061"


def test_it_has_nothing_to_say_without_groups() -> None:
    bench = SimpleNamespace(progress=Quiet(), remember=lambda key, make: 1.0, tell=lambda **said: None)
    assert Sensitivity().explore([], bench) == []  # type: ignore[arg-type]
