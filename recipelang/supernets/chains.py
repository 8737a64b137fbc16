"""Chains of the widths of all groups, learned beside the weights that networks of all widths share.

Guo, Wang, Li, Yan, "DMCP: Differentiable Markov channel pruning for neural networks", CVPR 2020.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.kinds import Batch, Companion, Labels, Moment, Queue, Seen
from recipelang.plan import unhashed
from recipelang.supernets import markov
from recipelang.supernets.costs import CostModel
from recipelang.supernets.sandwich import distilled
from recipelang.supernets.shared import Shared, run

#: of Adam
DECAYS, EPSILON = (0.9, 0.999), 1e-8


@dataclass(frozen=True)
class Bins:
    """The parts of a queue that its chain keeps or loses together.

    Attributes:
        ends: how many steps of the queue are taken when 0, 1, … bins are lost.
        parts: of each bin, the most important first.
    """

    ends: tuple[int, ...]
    parts: tuple[tuple[int, ...], ...]

    @property
    def count(self) -> int:
        """The number of bins."""
        return len(self.parts)


def bins_of(queue: Queue, most: int) -> Bins:
    """The steps of a queue in at most this many bins, of equally many steps as far as possible."""
    count = min(most, len(queue.steps))
    ends = tuple(round(number * len(queue.steps) / count) for number in range(count + 1))
    held = [
        tuple(part for step in queue.steps[first:last] for part in step.parts)
        for first, last in zip(ends, ends[1:], strict=False)
    ]
    return Bins(ends, tuple(reversed(held)))


@dataclass(frozen=True, kw_only=True)
class Chains(Companion):
    """Trains the weights with widths drawn from the chains, and in turn the chains with the weights.

    Weights: as `sandwich.Sandwich`, the random widths drawn from the chains.
    Chains: after the first `warmup` steps, each step of the weights is followed by one of Adam on the logits of the
        transitions, on samples that the weights are not trained on. Loss: the task's, of the network whose parts are
        multiplied by the probability that they are kept, + weight · distance(expected cost) (`markov.distance`).

    Attributes:
        groups: of the queues (`sandwich.named`).
        bins: of each queue.
        warmup: steps of the weights before the first one of the chains.
        rate: of Adam.
        weight: of the distance.
        random, seed: as of `Sandwich`.
        weights, task, labels: as of `Sandwich`.
        cost: of the numbers of lost bins, 1 where the budget holds.
        held: batches for the chains, on the device.
        found: receives the logits of each queue, and under `cost` the expected cost after each step of the chains.
    """

    groups: tuple[str, ...]
    bins: tuple[Bins, ...]
    warmup: int
    rate: float
    weight: float
    random: int
    seed: int
    weights: Shared = unhashed()
    task: Any = unhashed()
    labels: Labels | None = unhashed()
    cost: CostModel = unhashed()
    held: Sequence[Batch] = unhashed()
    found: dict[str, Tensor] = unhashed()

    def begin(self, network: Any, moment: Moment) -> nn.Module:
        """Logits with which all widths are equally likely, and Adam's moments."""
        state = nn.Module()
        start = torch.cat([markov.even(bins.count) for bins in self.bins])
        state.register_buffer("logits", start)
        state.register_buffer("first", torch.zeros_like(start))
        state.register_buffer("second", torch.zeros_like(start))
        state.register_buffer("cost", torch.zeros(max(0, moment.total - self.warmup), dtype=torch.float64))
        return state

    def penalty(self, seen: Seen, state: nn.Module | None, moment: Moment) -> Tensor:
        """Of the smallest network and of those drawn from the chains."""
        return distilled(self.widths(state, moment.step), seen, self.weights, self.task, self.labels)

    def widths(self, state: nn.Module | None, step: int) -> list[tuple[int, ...]]:
        """How many steps of each queue are taken: all of them, and numbers drawn from the chains."""
        draws = torch.Generator().manual_seed(self.seed + step)
        logits = self.logits(state)
        return [self.weights.most, *(drawn(self.bins, logits, draws) for _ in range(self.random))]

    def after_step(
        self, network: Any, optimizer: torch.optim.Optimizer, state: nn.Module | None, moment: Moment
    ) -> None:
        """One step of the chains."""
        turn = moment.step - self.warmup
        if turn < 0 or state is None:
            return
        logits = [each.clone().requires_grad_() for each in self.logits(state)]
        batch = self.held[moment.step % len(self.held)]
        loss, cost = self.objective(network.module, logits, batch)
        found = torch.cat(torch.autograd.grad(loss, logits))
        state.get_buffer("cost")[turn] = float(cost.detach())
        adam(state, found, turn + 1, self.rate)

    def objective(self, module: nn.Module, logits: Sequence[Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
        """What the chains minimise on a batch, and the expected cost; scalars."""
        kept = [markov.kept(each) for each in logits]
        gates = [
            markov.part_gates(each, bins.parts, queue.group.size)
            for each, bins, queue in zip(kept, self.bins, self.weights.queues, strict=True)
        ]
        parameters = {name: one.detach() for name, one in module.named_parameters(remove_duplicate=False)}
        raw = run(module, self.weights.values(parameters, gates, soft=True), batch.inputs)
        task = self.task.loss(self.task.answer(raw, batch.targets, self.labels), batch.targets)
        cost = self.cost.expected([markov.chances(each).flip(0) for each in kept])
        return task + self.weight * markov.distance(cost).to(task), cost

    def logits(self, state: nn.Module | None) -> list[Tensor]:
        """Of the transitions of each queue."""
        assert state is not None
        return list(state.get_buffer("logits").cpu().split([bins.count for bins in self.bins]))

    def finish(self, network: Any, state: nn.Module | None) -> Any:
        """The trained network; the chains are told."""
        assert state is not None
        self.found.update({str(number): each.clone() for number, each in enumerate(self.logits(state))})
        self.found["cost"] = state.get_buffer("cost").clone()
        return network


def drawn(bins: Sequence[Bins], logits: Sequence[Tensor], draws: torch.Generator) -> tuple[int, ...]:
    """How many steps of each queue are taken, drawn from their chains."""
    return tuple(each.ends[each.count - markov.drawn(chain, draws)] for each, chain in zip(bins, logits, strict=True))


def expected(bins: Sequence[Bins], logits: Sequence[Tensor]) -> tuple[int, ...]:
    """How many steps of each queue are taken, by the mean number of bins that are kept."""
    return tuple(each.ends[each.count - markov.expected_width(chain)] for each, chain in zip(bins, logits, strict=True))


@torch.no_grad()
def adam(state: nn.Module, gradient: Tensor, turn: int, rate: float) -> None:
    """One step of Adam (Kingma and Ba 2015) on `logits`, with its moments in `first` and `second`.

    Args:
        turn: its number, from 1.
    """
    buffers: Mapping[str, Tensor] = dict(state.named_buffers())
    first, second = buffers["first"], buffers["second"]
    gradient = gradient.to(first)
    first.lerp_(gradient, 1 - DECAYS[0])
    second.mul_(DECAYS[1]).addcmul_(gradient, gradient, value=1 - DECAYS[1])
    mean, square = first / (1 - DECAYS[0] ** turn), second / (1 - DECAYS[1] ** turn)
    buffers["logits"].sub_(rate * mean / (square.sqrt() + EPSILON))
