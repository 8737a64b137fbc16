"""The schedules that decide by their own law which weights are zero, and what tests see of their steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from recipelang.kinds import Companion, Masking, Moment
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.patterns.weights import Weights
from recipelang.methods.schedules.deepr import DeepR
from recipelang.methods.schedules.dynamic_sparse import DynamicSparse
from recipelang.methods.schedules.rigl import RigL
from recipelang.methods.schedules.set import Set
from recipelang.methods.schedules.sparse_momentum import SparseMomentum
from recipelang.methods.schedules.surgery import Surgery
from recipelang.methods.tasks.classification import Classification
from recipelang.plan import Course, Duration, Training
from recipelang.surgery.network import Network

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
