"""Two copies of a network that is being rounded: as it was, and with its weights rounded so far."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.images.batches import count
from recipelang.kinds import Batch, Labels, Task
from recipelang.surgery.network import Network, Restrictions
from recipelang.surgery.places import at_places, calls_of
from recipelang.surgery.restricting import INPUT, is_parameter, on_device
from recipelang.surgery.simulated import computing
from recipelang.surgery.spreads import Spread
from recipelang.surgery.tracing import example_input


class Enough(BaseException):
    """Everything that was asked for has been seen; no `except Exception` of a network may catch this."""


@dataclass
class Known:
    """What was gathered for one piece and is of use to others.

    Attributes:
        reached: weight → how often it multiplies in one pass; None before a pass was made.
        outputs: weight → outputs of the network before, until its piece takes them.
        spreads: place → how its numbers spread, as BatchNorm tells; None before it was asked.
        chosen: path of a module → the numbers of the batches that are kept of it.
    """

    reached: dict[str, int] | None = None
    outputs: dict[str, Tensor] = field(default_factory=dict)
    spreads: Mapping[str, Spread] | None = None
    chosen: dict[str, set[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Twins:
    """A network before `quantize`, and the same with some weights rounded, both in evaluation mode on the device.

    Where earlier statements gave grids, both compute with them. Weights hold the values that compute, so that products
    with them are recognised.

    Attributes:
        network: as it was; not changed.
        before: computes what is wanted.
        rounded: its weights are replaced as they are rounded.
        weights: the parameters that are rounded, in order of execution.
        batches: what a pass is for → the samples, on the device, a few at a time; `count`: how many batches there are.
        task, labels: for the loss.
        seed: of what is drawn.
        brief: whether few steps are enough.
        activations: place → the restrictions of earlier statements there.
    """

    network: Network
    before: nn.Module
    rounded: nn.Module
    weights: tuple[str, ...]
    batches: Callable[[str], Iterator[Batch]]
    count: int
    task: Task
    labels: Labels | None
    seed: int
    brief: bool
    activations: Restrictions

    @staticmethod
    def of(network: Network, weights: tuple[str, ...], device: str, **others: Any) -> Twins:
        """Copies of a network.

        Args:
            weights: have full precision in both copies, whatever grids they had before.
            others: as the attributes.
        """
        active = on_device(computing(network.restrictions), device)
        before = copy.deepcopy(network.module).to(device).eval().requires_grad_(False)
        with torch.no_grad():
            for place, each in active.items():
                if is_parameter(place) and place not in weights:
                    parameter = before.get_parameter(place)
                    for one in each:
                        parameter.copy_(one.apply(parameter))
        activations = {place: each for place, each in active.items() if not is_parameter(place)}
        return Twins(network, before, copy.deepcopy(before), weights, activations=activations, **others)

    def restricted(self, module: nn.Module, path: str = "") -> AbstractContextManager[Any]:
        """Inside the block, one of the copies, or the part of it at a path, computes with the grids of activations."""
        prefix = f"{path}." if path else ""
        inside = [place for place in self.activations if place.startswith(prefix) or place.startswith(f"{path}:")]
        if not inside:
            return nullcontext()

        def change(place: str, value: Tensor) -> Tensor:
            if path and place == INPUT:
                return value
            full = f"{path}{place}" if place.startswith(":") else f"{prefix}{place}"
            for one in self.activations.get(full, ()):
                value = one.apply(value)
            return value

        return at_places(module, change)

    def run(self, module: nn.Module, inputs: Any) -> Any:
        """What one of the copies gives; stops where `Enough` is raised, and gives None."""
        with suppress(Enough), self.restricted(module):
            return module(inputs)

    def loss(self, output: Any, batch: Batch) -> Tensor:
        """The task's loss, summed over the samples of a batch: the gradient of a sample's loss is its own."""
        answer = self.task.answer(output, batch.targets, self.labels)
        return self.task.loss(answer, batch.targets) * count(batch.targets)

    @torch.no_grad()
    def take(self, values: Mapping[str, Tensor]) -> None:
        """From here on the rounded copy has these values, of parameters or buffers."""
        state = self.rounded.state_dict()
        for name, value in values.items():
            state[name].copy_(value)

    @cached_property
    def calls(self) -> Mapping[str, Any]:
        """Place → the function that computes it."""
        plain = replace(self.network, module=self.before)
        return calls_of(self.before, example_input(plain))

    @cached_property
    def known(self) -> Known:
        """What was gathered so far."""
        return Known()
