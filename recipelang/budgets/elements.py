"""How many numbers of a network's parameters each step removes, counted while steps are taken: nothing is built."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from torch import nn

from recipelang.kinds import Queue, RemovalStep
from recipelang.kinds.unit import below


class Elements:
    """The elements that the parameters of a network still have after the steps taken so far.

    Args:
        module: of the network before the first step; its parameters are not read, only their shapes.
        queues: of everything that may be removed from it.
        worth: parameter name → what each of its elements counts; 1 by default.
    """

    def __init__(self, module: nn.Module, queues: Sequence[Queue], worth: Mapping[str, float] | None = None) -> None:
        self._worth = worth or {}
        self._shapes = {name: list(parameter.shape) for name, parameter in module.named_parameters()}
        self._held = {(queue.unit, queue.group.name): self._places(queue) for queue in queues}

    def copy(self) -> Elements:
        """The same counts, to be continued by themselves."""
        other = copy.copy(self)
        other._shapes = {name: list(shape) for name, shape in self._shapes.items()}
        return other

    def total(self) -> float:
        """The elements of all parameters that are left."""
        return sum(self._worth.get(name, 1) * prod(shape) for name, shape in self._shapes.items())

    def touched(self, unit: str, group: str) -> frozenset[str]:
        """The parameters that lose something with a part of a group."""
        return frozenset(self._held[unit, group] or ())

    def of(self, step: RemovalStep) -> float:
        """The elements that a step would remove now; its number of parts where they hold no known parameters."""
        return self._removed(step, self._shapes) if self._known(step) else len(step.parts)

    def take(self, step: RemovalStep) -> float:
        """Remove them; how many they were."""
        count = self.of(step)
        if self._known(step):
            for name, shape in self._after(step).items():
                self._shapes[name] = shape
        return count

    def _known(self, step: RemovalStep) -> bool:
        return self._held[step.unit, step.group] is not None

    def _removed(self, step: RemovalStep, shapes: Mapping[str, list[int]]) -> float:
        after = self._after(step).items()
        return sum(self._worth.get(name, 1) * (prod(shapes[name]) - prod(shape)) for name, shape in after)

    def _after(self, step: RemovalStep) -> dict[str, list[int]]:
        """Parameter → its shape after the step, of those that it touches."""
        after = {}
        for name, axes in (self._held[step.unit, step.group] or {}).items():
            shape = list(self._shapes[name])
            if axes is None:
                shape = [0]
            else:
                for axis, counts in axes if prod(shape) else ():  # a removed layer has nothing left to cut
                    shape[axis] -= sum(counts[part] for part in step.parts)
            after[name] = shape
        return after

    def _places(self, queue: Queue) -> dict[str, list[tuple[int, tuple[int, ...]]] | None] | None:
        """Parameter → (axis, how many of its indices each part takes); None for the axes: all of it. None: unknown."""
        source: Any = queue.group.source
        if hasattr(source, "places"):
            places: dict[str, Any] = {}
            for place in source.places:
                if place.name in self._shapes:
                    counts = tuple(map(len, place.positions))
                    places.setdefault(place.name, []).append((place.axis, counts))
            return places
        if queue.group.size == 1 and queue.group.layers:
            paths = queue.group.layers
            return {name: None for name in self._shapes if any(below(name, path) for path in paths)}
        return None
