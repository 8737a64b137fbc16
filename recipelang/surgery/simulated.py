"""A network that computes with its restrictions: what is on a grid is rounded to it wherever it is read.

The result is that of the quantized network up to the order of sums; the time is not, since everything is computed in
floating point. In training the gradient passes through the rounding (straight-through).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.kinds import Restriction
from recipelang.surgery.network import Habits, Network, Restrictions
from recipelang.surgery.places import at_places, calls_of, reads
from recipelang.surgery.product_inputs import inputs_of_products
from recipelang.surgery.restricting import is_parameter, on_device
from recipelang.surgery.tracing import device_of, evaluating, example_input

#: Before the names of the parameters of what a wrapper holds as `inner`.
INNER = "inner."


def computing(restrictions: Restrictions) -> Restrictions:
    """Those that are part of what the network computes, by place; the others only hold their parameters."""
    found = {place: tuple(one for one in each if one.computes) for place, each in restrictions.items()}
    return {place: each for place, each in found.items() if each}


@contextmanager
def simulated(
    module: nn.Module,
    restrictions: Restrictions,
    instead: Callable[[str, Restriction, Tensor], Tensor] = lambda place, one, value: one.apply(value),
) -> Iterator[None]:
    """Within the block, `module(inputs)` computes with its restrictions.

    Args:
        module: of a network; where no restriction computes, nothing is done.
        restrictions: on the module's device.
        instead: a place, a restriction there and the value → what computes in its place; in training a quantizer that
            learns may have other numbers than `apply`.
    """
    active = computing(restrictions)
    if not active:
        yield
        return

    def change(place: str, value: Tensor) -> Tensor:
        for one in active.get(place, ()):
            value = instead(place, one, value)
        return value

    with at_places(module, change, reading=reads(active)):
        yield


class Simulated(nn.Module):
    """A module that always computes with restrictions.

    Args:
        inner: the module of a network.
        restrictions: the network's.
    """

    def __init__(self, inner: nn.Module, restrictions: Restrictions) -> None:
        super().__init__()
        self.inner = inner
        self._recipelang_habits = getattr(inner, "_recipelang_habits", Habits())
        self._restrictions, self._device = computing(restrictions), torch.device("cpu")

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As the inner module."""
        device = device_of(self.inner)
        if device != self._device:
            self._restrictions, self._device = on_device(self._restrictions, device), device
        with simulated(self.inner, self._restrictions):
            return self.inner(*args, **kwargs)


def running(network: Network) -> nn.Module:
    """What computes as the network does: its module, or that with its restrictions simulated."""
    return Simulated(network.module, network.restrictions) if computing(network.restrictions) else network.module


def require_places(network: Network) -> None:
    """Refuse a restriction of an activation that the network does not have, or that does not fit it.

    Raises:
        Refusal: RCP1404; RCP0705: what only holds a parameter is at an activation; RCP1405: the network does not run
            while its activations are observed.
    """
    wanted = {place: each for place, each in network.restrictions.items() if not is_parameter(place)}
    if not wanted:
        return
    for place, each in wanted.items():
        if idle := next((one for one in each if not one.computes), None):
            raise Refusal(
                "RCP0705",
                f"the {idle.kind} of `{place}` has no parameter in this network",
                f"a {idle.kind} belongs to a weight; use the folder as it was written",
            )
    calls = calls_of(network.module, example_input(network))
    if missing := sorted(wanted.keys() - calls.keys() - inputs_of_products(calls).keys()):
        raise _no_place(
            f"`{missing[0]}` is not a place of this network: no function of that name computes anything there"
        )
    for batch in (2, 3):  # what fits the number of images alone does not fit
        _require_fit(network, wanted, batch)


def _require_fit(network: Network, wanted: Restrictions, batch: int) -> None:
    """Refuse a restriction that cannot be on the activation at its place."""

    def change(place: str, value: Tensor) -> Tensor:
        for one in wanted.get(place, ()):
            if why := one.why_not(value):
                raise _no_place(f"the {one.kind} of `{place}` does not fit it: it {why}")
        return value

    reading = reads(wanted)
    with at_places(network.module, change, reading=reading), evaluating(network.module), torch.no_grad():
        network.module(example_input(network, batch))


def _no_place(message: str) -> Refusal:
    return Refusal("RCP1404", message, "quantize it again after the last structural change")
