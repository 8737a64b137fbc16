"""One episode of HAQ: the places of a network in order, what an agent knows at each, and the width that it chooses.

Source: Wang, Liu, Lin, Lin, Han, "HAQ: hardware-aware automated quantization with mixed precision", CVPR 2019, sections
3.1 (states), 3.2 (actions) and 3.3 (widths held to the budget).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

from recipelang.kinds import Choice, Widths

#: numbers of a state: the place, inputs, outputs, kernel, stride, positions, elements, depthwise, weight or activation,
#: and the last action
FEATURES = 10


def priced(prices: Sequence[Sequence[float]]) -> list[int]:
    """The numbers of the choices whose narrower widths win something of the budget."""
    return [number for number, each in enumerate(prices) if any(price < 0 for price in each)]


def width_of(action: float, bits: Sequence[int]) -> int:
    """The width that an action in 0…1 stands for (equation 1): round(low − ½ + action · (high − low + 1)), and of the
    widths that a place may have the nearest one.

    Args:
        action: 0…1.
        bits: from the narrowest to the widest.
    """
    low, high = bits[0], bits[-1]
    wanted = min(max(round(low - 0.5 + action * (high - low + 1)), low), high)
    return min(bits, key=lambda one: (abs(one - wanted), -one))


@dataclass(frozen=True)
class WidthCourse:
    """What an agent goes through.

    Attributes:
        choices: of all places.
        open: the numbers of those whose narrower widths win something of the budget, in order; the others stay widest.
    """

    choices: Sequence[Choice]
    open: Sequence[int]

    def state(self, at: int, last: float) -> Tensor:
        """FEATURES numbers in 0…1, before the `at`-th open place is given a width; `last` is the action before it."""
        return torch.cat([self._fixed[at], torch.tensor([last])])

    def widths(self, actions: Sequence[float]) -> list[int]:
        """The widths that the actions stand for, the others at their widest."""
        found = [choice.bits[-1] for choice in self.choices]
        for number, action in zip(self.open, actions, strict=True):
            found[number] = width_of(action, self.choices[number].bits)
        return found

    @cached_property
    def _fixed(self) -> Tensor:
        """places × 9: what does not change from episode to episode, scaled to 0…1 over the places."""
        rows = []
        for at, number in enumerate(self.open):
            one = self.choices[number]
            sizes = [one.inputs, one.outputs, one.kernel, one.stride, one.height * one.width, one.elements]
            rows.append([at, *sizes, float(one.depthwise), float(one.part == "activations")])
        table = torch.tensor(rows, dtype=torch.float32).reshape(len(rows), FEATURES - 1)
        low, high = table.amin(0), table.amax(0)
        return (table - low) / (high - low).clamp_min(1e-12)


def lowered(
    widths: Sequence[int], choices: Sequence[Choice], open: Sequence[int], price: Callable[[Widths], float]
) -> list[int]:
    """The widths after as many places as it takes were narrowed by one step each, in order and again from the first
    one, until the budget is met; all at their narrowest where nothing meets it (section 3.3)."""
    found = list(widths)
    while price(found) > 1:
        narrower = [number for number in open if found[number] > choices[number].bits[0]]
        if not narrower:
            break
        for number in narrower:
            found[number] = below(choices[number], found[number])
            if price(found) <= 1:
                break
    return found


def below(choice: Choice, bits: int) -> int:
    """The next narrower width."""
    return max(one for one in choice.bits if one < bits)


def way(choices: Sequence[Choice], open: Sequence[int], goal: Widths) -> list[list[int]]:
    """From all places at their widest to `goal`, and on to their narrowest: at each step the widest place that is not
    there yet becomes narrower by one step, the last one first where several are as wide."""
    now = [choice.bits[-1] for choice in choices]
    found = [list(now)]
    for ends in ([*goal], [choice.bits[0] if n in open else choice.bits[-1] for n, choice in enumerate(choices)]):
        while wider := [n for n in open if now[n] > ends[n]]:
            widest = max(wider, key=lambda n: (now[n], n))
            now[widest] = below(choices[widest], now[widest])
            found.append(list(now))
    return found


def never_less(harms: Sequence[float]) -> list[float]:
    """Harms from the narrowest to the widest: a narrower width is taken to harm at least as much as every wider one,
    since what is seen otherwise is chance."""
    return list(accumulate(reversed(harms), max))[::-1]
