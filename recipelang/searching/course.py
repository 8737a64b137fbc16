"""One episode of AMC: the groups of a network in order, and what the agent knows and may do at each.

Source: He et al., "AMC: AutoML for model compression and acceleration on mobile devices", ECCV 2018, section 3.1
(states), 3.3 and algorithm 1 (actions held to the budget).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from recipelang.kinds import Queue
from recipelang.searching.bilinear import kept_shares
from recipelang.searching.bisection import bisected
from recipelang.surgery.network import Network
from recipelang.surgery.tracing import evaluating, example_input, hooked

#: numbers of a state: t, n, c, h, w, stride, k, what the group can save of the cost, what the groups before it have
#: saved, what those after it can save, and the last action
FEATURES = 11
Cost = Callable[[Sequence[int]], float]


@dataclass
class Course:
    """What an agent goes through.

    Attributes:
        queues: the groups, in order.
        sizes: of each: n, c, h, w, stride, k (`sizes_of`).
        cost: what numbers of steps cost; 1 or less meets the budget. Steps never raise it.
        most: the numbers of steps that may be taken at most.
    """

    queues: Sequence[Queue]
    sizes: Sequence[Sequence[float]]
    cost: Cost
    most: Sequence[int]

    def state(self, taken: Sequence[int]) -> Tensor:
        """FEATURES numbers in 0…1, before the group that follows `taken` loses any part."""
        at = len(taken)
        now = self.cost(self._then(taken))
        rest = now - self.cost([*taken, 0, *self.most[at + 1 :]])
        last = self._removed[at - 1][taken[-1]] if at else 0.0
        moving = torch.tensor([1 - now / self.whole, rest / self.whole, last])
        return torch.cat([self._fixed[at], moving])

    def clipped(self, taken: Sequence[int], wanted: float) -> int:
        """The number of steps nearest to a share of parts to be removed, of those with which the budget can still be
        met if all later groups lose as much as they may; the largest where there is none."""
        at = len(taken)
        choices = range(self._fewest(taken), self.most[at] + 1)
        return min(choices, key=lambda k: (abs(self._removed[at][k] - wanted), k))

    def removed(self, at: int, steps: int) -> float:
        """The share of a group's parts that is gone after these steps."""
        return self._removed[at][steps]

    @cached_property
    def whole(self) -> float:
        """What the network costs before anything is removed."""
        return self.cost([0] * len(self.queues))

    @cached_property
    def even(self) -> float:
        """The smallest share that meets the budget where every group loses it, in hundredths; 1 where none does."""
        for hundredth in range(100):
            wanted = hundredth / 100
            taken = [
                min(range(most + 1), key=lambda k, each=each: (abs(each[k] - wanted), -k))  # type: ignore[misc]
                for each, most in zip(self._removed, self.most, strict=True)
            ]
            if self.cost(taken) <= 1:
                return wanted
        return 1.0

    def _fewest(self, taken: Sequence[int]) -> int:
        """The fewest steps of the next group that leave the budget within reach, by bisection."""
        at = len(taken)

        def within(k: int) -> bool:
            return self.cost([*taken, k, *self.most[at + 1 :]]) <= 1

        return bisected(within, -1, self.most[at])

    def _then(self, taken: Sequence[int]) -> list[int]:
        return [*taken, *[0] * (len(self.queues) - len(taken))]

    @cached_property
    def _removed(self) -> list[list[float]]:
        return [[1 - share for share in kept_shares(queue)] for queue in self.queues]

    @cached_property
    def _fixed(self) -> Tensor:
        """groups × 8: what does not change from episode to episode, scaled to 0…1 over the groups."""
        count = len(self.queues)
        alone = [self.cost([most if g == at else 0 for g in range(count)]) for at, most in enumerate(self.most)]
        rows = [[at, *self.sizes[at], self.whole - alone[at]] for at in range(count)]
        table = torch.tensor(rows, dtype=torch.float32)
        low, high = table.amin(0), table.amax(0)
        return (table - low) / (high - low).clamp_min(1e-12)


def sizes_of(network: Network, queues: Sequence[Queue]) -> list[list[float]]:
    """For each group n, c, h, w, stride, k of the first layer that makes it.

    n parts; c numbers of the weight for one output and place of the kernel; h×w what enters, tokens×1 for a sequence;
    stride and k of a convolution, 0 and 1 of anything else.
    """
    makers = [_maker(network.module, queue) for queue in queues]
    places = entering(network, {path for path, _ in makers})
    found = []
    for queue, (path, weight) in zip(queues, makers, strict=True):
        stride, kernel = window_of(network.module, path)
        inputs = weight.numel() / len(weight) / kernel**2 if weight is not None and weight.ndim > 1 else 1.0
        height, width = places.get(path, (1, 1))
        found.append([float(queue.group.size), float(inputs), height, width, stride, kernel])
    return found


def _maker(module: nn.Module, queue: Queue) -> tuple[str, Tensor | None]:
    """The path of the first layer that makes a group, and its weight."""
    known = dict(module.named_parameters())
    made = [place.name for place in getattr(queue.group.source, "places", ()) if place.role == "makes"]
    weight = next((known[name] for name in made if name in known), None)
    return next(iter(queue.group.layers), ""), weight


def window_of(module: nn.Module, path: str) -> tuple[float, float]:
    """Stride and edge of the kernel of a convolution; 0 and 1 of anything else."""
    layer = module.get_submodule(path)
    if not isinstance(layer, nn.modules.conv._ConvNd):
        return 0.0, 1.0
    return float(layer.stride[0]), float(layer.kernel_size[0])


def entering(network: Network, paths: set[str]) -> dict[str, tuple[float, float]]:
    """Module path → height and width of what enters it."""
    found: dict[str, tuple[float, float]] = {}

    def watch(path: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def seen(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            first = inputs[0] if inputs else None
            if isinstance(first, Tensor) and first.ndim >= 2:
                images = isinstance(layer, nn.modules.conv._ConvNd)
                shape = first.shape[2:] if images else first.shape[1:-1]
                found[path] = (float(shape[0]) if shape else 1.0, float(shape[1]) if len(shape) > 1 else 1.0)

        return seen

    module = network.module
    hooks = (module.get_submodule(path).register_forward_pre_hook(watch(path)) for path in paths if path)
    with hooked(hooks), evaluating(module):
        module(example_input(network, batch=1))
    return found
