"""The feature maps of ranked channels, where they are read; or of single weights, as they make them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from recipelang.images.batches import count
from recipelang.kinds import Batch
from recipelang.scoring.maps import BY_SAMPLE, CONSTANT, ENTERING, LEAVING, WITHOUT, Sides, by_sample, orders_of
from recipelang.scoring.passes import Collector

#: called with the name of a group or weight, its maps B×N×P, their gradients or None, and the targets of the batch
Observe = Callable[[str, Tensor, Tensor | None, Tensor], None]


def observing(
    module: nn.Module,
    weights: Mapping[str, Tensor],
    read: Mapping[str, Sequence[tuple[str, Tensor]]] | None,
    observe: Observe,
    three: Tensor,
    gradients: bool,
    shaped: bool = False,
) -> Collector:
    """What shows the maps of a pass.

    Args:
        module: in evaluation mode.
        weights: name → parameter that reads or makes the maps.
        read: name of a weight → (group, N×c channels of what enters it); None: what leaves each weight is shown.
        observe: is called with B×N×P.
        three: three inputs.
        gradients: whether gradients are shown too.
        shaped: whether maps are B×N×c×H×W where a convolution reads or makes them, and B×N×c×P elsewhere.
    """
    orders = orders_of(module, weights, three)
    now: list[Batch] = []

    def see(name: str, number: int, tensor: Tensor, gradient: Tensor | None) -> None:
        order = orders[name][number] if number < len(orders.get(name, ())) else BY_SAMPLE
        both = [by_sample(t, order, count(now[0].inputs)) if t is not None else None for t in (tensor, gradient)]
        if read is None:
            both = [t if t is None or not shaped else t.unsqueeze(2) for t in both]
            observe(name, both[0], both[1], now[0].targets)  # type: ignore[arg-type]
        for group, channels in (read or {}).get(name, ()):
            maps, slopes = (_of_parts(t, channels, shaped) if t is not None else None for t in both)
            observe(group, maps, slopes, now[0].targets)  # type: ignore[arg-type]

    sides = Sides(weights, LEAVING if read is None else ENTERING, see, gradients, shaped)

    @contextmanager
    def running(batch: Batch) -> Iterator[None]:
        now[:] = [batch]
        with sides.running():
            yield

    # What depends on no input, or on ids, has gradients only on the way to parameters.
    without = any({WITHOUT, CONSTANT} & set(each) for each in orders.values())
    apart = gradients and (without or not three.is_floating_point())
    return Collector(
        "looking at feature maps",
        running,
        sides.differentiating if gradients else None,
        {name: weight for name, weight in module.named_parameters() if weight.is_floating_point()} if apart else {},
        recognises=True,
    )


def _of_parts(tensor: Tensor, channels: Tensor, shaped: bool) -> Tensor:
    """B×C×P → B×N×(c·P): of N parts, c channels each; or B×C×H×W → B×N×c×H×W."""
    flat = channels.flatten()
    if len(flat) != tensor.shape[1] or not torch.equal(flat, torch.arange(len(flat))):
        tensor = tensor.index_select(1, flat.to(tensor.device))
    parts = tensor.unflatten(1, (len(channels), -1))
    return parts if shaped else parts.flatten(2)
