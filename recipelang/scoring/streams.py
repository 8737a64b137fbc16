"""What passes a place of a network, reduced batch by batch: extremes, and a bounded sample of the numbers.

    with watch(see):          # calls see(place, tensor) at every place, in the order of execution
        module(images)

`watch` says what a place is: the output of a module (`modules_watched`), or what a function of a module returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from torch import Tensor, nn

from recipelang.surgery.finite import not_finite
from recipelang.surgery.tracing import hooked
from recipelang.surgery.wiring import main_tensor

#: called with a place and the tensor there
See = Callable[[str, Tensor], None]
#: inside the block that it gives, every place is seen
Watch = Callable[[See], AbstractContextManager[Any]]
#: the inputs of a pass over the data; the string says what the pass is for
Passes = Callable[[str], Iterable[Any]]


@dataclass(frozen=True)
class Extremes:
    """The smallest and the largest number at a place.

    Attributes:
        low, high: float32, one number, or one for each channel.
    """

    low: Tensor
    high: Tensor


@torch.no_grad()
def extremes(
    module: nn.Module, watch: Watch, passes: Passes, axes: Mapping[str, int] | None = None
) -> dict[str, Extremes]:
    """Place → its extremes over all inputs, in one pass for all places.

    Args:
        module: in evaluation mode, on its device.
        watch: says where the places are.
        passes: the inputs.
        axes: place → the axis of its channels, where each channel has extremes of its own.

    Raises:
        Refusal: RCP1010: a number is NaN or infinite.
    """
    axes = axes or {}
    found: dict[str, Extremes] = {}

    def see(place: str, tensor: Tensor) -> None:
        values = tensor.detach().float()
        axis = axes.get(place)
        rows = values.reshape(1, -1) if axis is None else values.movedim(axis, 0).flatten(1)
        if not rows.numel():
            return
        low, high = rows.amin(1), rows.amax(1)
        if not bool(torch.isfinite(low).all() and torch.isfinite(high).all()):
            raise not_finite(f"a number at `{place}`")
        low, high = (low[0], high[0]) if axis is None else (low, high)
        before = found.get(place)
        found[place] = Extremes(
            torch.minimum(before.low, low) if before else low, torch.maximum(before.high, high) if before else high
        )

    for inputs in passes("looking for extremes"):
        with watch(see):
            module(inputs)
    return found


@torch.no_grad()
def numbers(module: nn.Module, watch: Watch, passes: Passes, count: int, seed: int = 0) -> dict[str, Tensor]:
    """Place → at most `count` of its numbers over all inputs, each number as likely as every other; one pass.

    Args:
        module, watch, passes: as in `extremes`.
        count: numbers per place; all of them where there are no more.
        seed: of the draw.

    Returns:
        float32, in no particular order.

    Raises:
        Refusal: RCP1010: a number is NaN or infinite.
    """
    kept: dict[str, Tensor] = {}
    seen: dict[str, int] = {}
    random = numpy.random.default_rng(seed)

    def see(place: str, tensor: Tensor) -> None:
        values = tensor.detach().flatten()
        fresh, stay = share(random, seen.get(place, 0), len(values), count)
        seen[place] = seen.get(place, 0) + len(values)
        new = values[torch.from_numpy(fresh).to(values.device)].float()
        kept[place] = torch.cat([kept[place][torch.from_numpy(stay).to(new.device)], new]) if place in kept else new
        if not bool(torch.isfinite(kept[place]).all()):
            raise not_finite(f"a number at `{place}`")

    for inputs in passes("sampling activations"):
        with watch(see):
            module(inputs)
    return kept


def share(random: numpy.random.Generator, earlier: int, new: int, count: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """How a uniform sample continues when more rows come.

    Args:
        random: decides.
        earlier: how many rows there were; min(earlier, count) of them are in the sample.
        new: how many come now.
        count: the largest size of the sample.

    Returns:
        Which of the new rows enter, and which places of the sample stay.
    """
    held, total = min(earlier, count), earlier + new
    if total <= count:
        return numpy.arange(new), numpy.arange(held)
    if not earlier:
        fresh = count
    elif total < 10**9:
        fresh = int(random.hypergeometric(new, earlier, count))
    else:  # numpy draws from no more; the two distributions are then alike
        fresh = int(random.binomial(count, new / total))
    fresh = min(max(fresh, count - held), new)
    return _distinct(random, new, fresh), _distinct(random, held, count - fresh)


def _distinct(random: numpy.random.Generator, n: int, count: int) -> numpy.ndarray:
    """This many different numbers below n."""
    return random.choice(n, count, replace=False, shuffle=False)


@contextmanager
def modules_watched(module: nn.Module, paths: Iterable[str], see: See) -> Iterator[None]:
    """Inside the block `see(path, output)` is called after each of these modules; of several tensors, the first;
    `path:input` is what enters the module."""

    def after(path: str) -> Any:
        def show(part: nn.Module, args: Any, output: Any) -> None:
            if (main := main_tensor(output)) is not None:
                see(path, main)

        return show

    def before(place: str) -> Any:
        def show(part: nn.Module, args: Any, kwargs: Any) -> None:
            if (main := main_tensor((*args, *kwargs.values()))) is not None:
                see(place, main)

        return show

    def hooks() -> Iterator[Any]:
        for place in paths:
            path, _, side = place.partition(":")
            part = module.get_submodule(path)
            if side == "input":
                yield part.register_forward_pre_hook(before(place), with_kwargs=True)
            else:
                yield part.register_forward_hook(after(place))

    with hooked(hooks()):
        yield


@contextmanager
def sides_watched(module: nn.Module, paths: Iterable[str], see: Callable[[str, str, Tensor], None]) -> Iterator[None]:
    """Inside the block `see(path, "input" | "output", tensor)` is called before and after each of these modules."""

    def show(place: str, tensor: Tensor) -> None:
        path, _, side = place.partition(":")
        see(path, side or "output", tensor)

    with modules_watched(module, [place for path in paths for place in (f"{path}:input", path)], show):
        yield
