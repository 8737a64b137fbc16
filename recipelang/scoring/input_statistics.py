"""Sums over the inputs of each weight: their norms and second moments, accumulated in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.scoring.inputs import Entering, See, watching
from recipelang.scoring.passes import Collector
from recipelang.surgery.finite import finite

#: bytes of the second moments that are gathered together, in one pass
TOGETHER = 2**30


def reached(module: Callable[[Any], Any], weights: Mapping[str, Tensor], images: Any) -> dict[str, int]:
    """Names of the weights that an input reaches, in order of execution → how often in one forward pass."""
    counts: dict[str, int] = {}

    def see(name: str, entering: Entering) -> None:
        counts[name] = counts.get(name, 0) + 1

    with torch.no_grad(), watching(weights, see):
        module(images)
    return counts


def gathering_norms(weights: Mapping[str, Tensor]) -> tuple[Collector, Callable[[], dict[str, Tensor]]]:
    """What gathers name → ‖x‖₂ of each input over all rows, float32, in a shape that broadcasts against the weight; and
    what they are after the pass.

    Args:
        weights: parameter name → weight O×I or O×I×kernel of the network that runs.

    Raises:
        Refusal: after the pass, RCP1010: an input is not a finite number.
    """
    sums: dict[str, Tensor] = {}

    @torch.no_grad()
    def see(name: str, entering: Entering) -> None:
        squares = entering.squares().reshape(entering.groups, *weights[name].shape[1:])
        sums[name] = sums[name] + squares if name in sums else squares

    def after() -> dict[str, Tensor]:
        norms = {name: finite(f"an input of `{name}`", total).sqrt().float() for name, total in sums.items()}
        # In groups every output has its own inputs; otherwise one row is enough for all.
        return {
            name: n if len(n) == 1 else n.repeat_interleave(len(weights[name]) // len(n), 0)
            for name, n in norms.items()
        }

    return Collector("examining inputs", lambda _: watching(weights, see)), after


def second_moments(
    module: nn.Module,
    weights: Mapping[str, Tensor],
    calls: Mapping[str, int],
    look: Callable[[Collector], None],
) -> Iterator[tuple[str, Tensor]]:
    """(name, G×K×K float32): 2/rows · XᵀX of each weight's inputs, K of them in the order kernel…, I.

    Args:
        module: in evaluation mode, on its device.
        weights: as in `gathering_norms`.
        calls: the requested weights, in order, and how often each is used in a forward pass; a pass ends at the
            last use.
        look: makes a pass over the data in which the collector looks.

    Raises:
        Refusal: RCP1010: an input is not a finite number.
    """
    for names in _together(weights, calls):
        yield from _gathered(module, {n: weights[n] for n in names}, {n: calls[n] for n in names}, look)


def _gathered(
    module: nn.Module, weights: Mapping[str, Tensor], calls: Mapping[str, int], look: Callable[[Collector], None]
) -> Iterator[tuple[str, Tensor]]:
    sums: dict[str, Tensor] = {}
    rows = dict.fromkeys(weights, 0)

    @torch.no_grad()
    def see(name: str, entering: Entering) -> None:
        products = entering.products()
        sums[name] = sums[name].add_(products) if name in sums else products
        rows[name] += entering.rows

    first, *others = weights
    what = f"examining inputs of `{first}`" + (f" and {len(others)} more" if others else "")
    alone = _UntilSeen(module, calls)
    look(Collector(what, lambda _: watching(weights, alone.counting(see)), alone=alone))
    for name in list(sums):
        yield name, finite(f"an input of `{name}`", sums.pop(name).mul_(2 / rows[name])).float()


class _Enough(BaseException):
    """Everything requested has been observed; no `except Exception` of a network may catch this."""


class _UntilSeen:
    """Runs the network until the last product with one of the weights; others that look would miss what follows.

    Args:
        calls: weight → how often it is used in a forward pass.
    """

    def __init__(self, module: nn.Module, calls: Mapping[str, int]) -> None:
        self._module, self._calls, self._left = module, sum(calls.values()), 0

    def __call__(self, inputs: Any) -> None:
        self._left = self._calls
        with suppress(_Enough):
            self._module(inputs)

    def counting(self, see: See) -> See:
        """Sees, and stops the network where it is run alone."""

        def count(name: str, entering: Entering) -> None:
            see(name, entering)
            self._left -= 1
            if not self._left:
                raise _Enough

        return count


def _together(weights: Mapping[str, Tensor], calls: Mapping[str, int]) -> Iterator[list[str]]:
    """The names in order, as many at once as memory allows for their K×K float64, at least one."""
    names: list[str] = []
    total = 0
    for name in calls:
        size = 8 * weights[name][0].numel() ** 2 * _groups(weights[name])
        if names and total + size > TOGETHER:
            yield names
            names, total = [], 0
        names.append(name)
        total += size
    if names:
        yield names


def _groups(weight: Tensor) -> int:
    """As many groups as outputs in a depthwise convolution; other groups take too little memory to count."""
    return len(weight) if weight.ndim > 2 and weight.shape[1] == 1 else 1
