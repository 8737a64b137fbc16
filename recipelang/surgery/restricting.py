"""Restrictions on a network: where they are, how they are written and read, and whether they hold.

A restriction limits the numbers at a *place*: a parameter (`layer1.0.conv1.weight`), or what a function of a module
returns (`layer1.0:add`, `layer1.0:add[2]` the second time). It is kept beside the module, whose class, paths and state
stay as they are. One kind of restriction is one file under `surgery/restrictions/`; the folder is the index.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from recipelang import catalogue
from recipelang.errors import Refusal
from recipelang.surgery.entries import Wrong, entry, text
from recipelang.surgery.network import Network, Restriction, Restrictions

#: the input of the network, as a place
INPUT = "input"


def is_parameter(place: str) -> bool:
    """Whether the place is a parameter, and not what a function returns or the network's input."""
    return ":" not in place and place != INPUT


def module_of(place: str) -> str:
    """The path of the module that a place belongs to: `layer1.0` for `layer1.0.weight` and for `layer1.0:add[2]`."""
    return place.rpartition(".")[0] if is_parameter(place) else place.partition(":")[0] if ":" in place else ""


@torch.no_grad()
def restrict(
    network: Network, restrictions: Mapping[str, Restriction], values: Mapping[str, Tensor] | None = None
) -> Network:
    """A copy of the network with these restrictions, and these parameter values, if any.

    Args:
        network: is not changed. An earlier restriction of the same kind at the same place is replaced.
        restrictions: place → its restriction.
        values: parameter name → new value, of the same shape.

    Raises:
        Refusal: RCP0705: a restriction has no parameter of its name and shape.
    """
    restricted = network.clone()
    for name, value in (values or {}).items():
        restricted.module.get_parameter(name).copy_(value)
    restricted = restricted.restricted(restrictions)
    hold(restricted.module, {place: (one,) for place, one in restrictions.items()})
    return restricted


def hold(module: nn.Module, restrictions: Restrictions, optimizer: torch.optim.Optimizer | None = None) -> None:
    """Bring every restricted parameter back to what its restrictions allow, in place.

    Args:
        module: of the network, on any device.
        restrictions: place → restrictions; those of activations have nothing to hold.
        optimizer: whose state is brought back as well, after its step.

    Raises:
        Refusal: RCP0705: a restriction has no parameter of its name and shape.
    """
    if restrictions:
        for parameter, restriction in _restricted(module, restrictions):
            restriction.hold(parameter, optimizer)


@torch.no_grad()
def gather(module: nn.Module, restrictions: Restrictions) -> None:
    """Replace the gradients of restricted parameters by those with which an optimizer moves them, in place."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    for name, each in restrictions.items():
        parameter = parameters.get(name)
        for one in each if parameter is not None else ():
            if parameter is not None and parameter.grad is not None:
                parameter.grad = one.gathered(parameter.grad)


def broken(network: Network) -> tuple[str, ...]:
    """The names of the parameters that are not as a restriction holds them.

    Raises:
        Refusal: RCP0705: a restriction has no parameter of its name and shape.
    """
    return tuple(
        name
        for name, restrictions in network.restrictions.items()
        for parameter, restriction in _restricted(network.module, {name: restrictions})
        if not restriction.holds(parameter)
    )


def _restricted(module: nn.Module, restrictions: Restrictions) -> list[tuple[Tensor, Restriction]]:
    """Every restricted parameter with each of its restrictions."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    found: list[tuple[Tensor, Restriction]] = []
    for name, each in restrictions.items():
        for restriction in each if is_parameter(name) else ():
            parameter = parameters.get(name)
            why = "has no parameter in this network" if parameter is None else restriction.why_not(parameter)
            if parameter is None or why:
                raise Refusal(
                    "RCP0705",
                    f"the {restriction.kind} of `{name}` {why}",
                    "create it again after the last structural change",
                )
            found.append((parameter, restriction))
    return found


def on_device(restrictions: Restrictions, device: str | torch.device) -> Restrictions:
    """The restrictions with their tensors on a device."""
    return {
        place: tuple(
            type(one).read(one.json(), {name: tensor.to(device) for name, tensor in one.tensors().items()})
            for one in each
        )
        for place, each in restrictions.items()
    }


def carried(network: Network, change: Callable[[str, Tensor], Tensor]) -> Restrictions:
    """The restrictions after the network's parameters were reordered or cut.

    Args:
        network: before the change.
        change: parameter name, a tensor of its shape → that tensor reordered or cut as the parameter was.
    """
    shapes = {name: p.shape for name, p in network.module.named_parameters(remove_duplicate=False)}

    def moved(place: str, one: Restriction) -> Restriction:
        return one.carried(shapes[place], lambda tensor: change(place, tensor)) if place in shapes else one

    return {place: tuple(moved(place, one) for one in each) for place, each in network.restrictions.items()}


def without(network: Network, removed: Callable[[str], bool]) -> Network:
    """The network without the restrictions of removed parts.

    Args:
        network: its module is already without them.
        removed: whether the module or parameter at this path is gone.
    """
    left = {
        place: each
        for place, each in network.restrictions.items()
        if not removed(place if is_parameter(place) else module_of(place) or "\0")
    }
    return replace(network, restrictions=left)


# reading --------------------------------------------------------------------------------------


def read(place: str, told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Restriction:
    """The restriction that `Network.described` and `Network.tensors` describe.

    Args:
        place: where it is, for the message.
        told: its kind and its `json`.
        tensors: its tensors by their own names.

    Raises:
        Wrong: they describe none.
        Refusal: RCP0746: there is no such kind here.
    """
    kind = text(entry(told, "kind"), "`kind`")
    found: Any = catalogue.part("restriction", kind)
    if found is None:
        raise Refusal(
            "RCP0746",
            f"the network has a restriction of the kind `{kind}` at `{place}`, which is not known here",
            f"install the package that adds it; the kinds here are {', '.join(catalogue.names('restriction'))}",
        )
    one: Restriction = found.read({name: value for name, value in told.items() if name != "kind"}, tensors)
    if {"kind": one.kind, **one.json()} != dict(told):
        raise Wrong(f"the {kind} of `{place}` has an unknown entry")
    return one
