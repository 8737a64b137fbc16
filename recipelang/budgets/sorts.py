"""Groups that compute the same in another place: what one of them wins of a budget, the others win as well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from torch import Tensor, nn

from recipelang.budgets.elements import Elements
from recipelang.kinds import Queue
from recipelang.surgery.network import Network
from recipelang.surgery.tracing import evaluating, example_input, hooked

#: (unit, group)
Key = tuple[str, str]


def sorts_of(network: Network, queues: Sequence[Queue], elements: Elements) -> tuple[tuple[Key, ...], ...]:
    """The groups by sort: of equal unit, size and step, that lose equally many elements and make activations of equal
    size.

    Args:
        network: is run once.
        queues: of all units.
        elements: of the network before the first step.
    """
    sizes = activations(network, {path for queue in queues for path in queue.group.layers})
    sorts: dict[tuple[object, ...], list[Key]] = {}
    for queue in queues:
        group = queue.group
        made = tuple(sorted(sizes.get(path, 0) for path in group.layers))
        alike = queue.unit, group.size, group.step, elements.of(queue.steps[0]), made
        sorts.setdefault(alike, []).append((queue.unit, group.name))
    return tuple(map(tuple, sorts.values()))


def activations(network: Network, paths: set[str]) -> dict[str, int]:
    """Module path → numbers that it makes for one image, over all its calls."""
    found: dict[str, int] = {}

    def watch(path: str) -> Callable[[nn.Module, object, object], None]:
        def seen(module: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor):
                found[path] = found.get(path, 0) + prod(output.shape)

        return seen

    module = network.module
    known = dict(module.named_modules())
    with hooked(known[path].register_forward_hook(watch(path)) for path in paths if path in known), evaluating(module):
        module(example_input(network, batch=1))
    return found
