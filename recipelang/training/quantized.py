"""Quantizers that take part in a training: what computes in place of their grids, and what is trained along.

A restriction says by which quantizer it is trained (`trained`). For the time of a training such a quantizer has a state
at each of its places, which is in the checkpoint; afterwards only a restriction is left, with which the network is
executed. Restrictions that nothing trains compute as always, straight-through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.kinds import Moment, Quantizer, Restriction
from recipelang.meaning.spelling import built
from recipelang.surgery.network import Network
from recipelang.surgery.places import linear_reads
from recipelang.surgery.restricting import hold, is_parameter

#: place, restriction, value → what computes in place of the value
Instead = Callable[[str, Restriction, Tensor], Tensor]


@dataclass(frozen=True)
class Learned:
    """A restriction that is trained.

    Attributes:
        one: the restriction as training begins, on its device.
        quantizer: which trains it.
        state: what is trained along, and numbers of the quantizer; None where there is nothing.
        parameter: the weight; None for an activation.
    """

    one: Restriction
    quantizer: Quantizer
    state: nn.Module | None
    parameter: nn.Parameter | None


@dataclass(frozen=True)
class Learning:
    """What is trained of a network's restrictions.

    Attributes:
        network: the network that trains.
        found: place and kind of a restriction → how it is trained, in the order of the network's places.
    """

    network: Network
    found: Mapping[tuple[str, str], Learned]

    @property
    def states(self) -> dict[str, nn.Module]:
        """Name → state, of those that have one; a name of a module has no dots."""
        return {
            f"{place.replace('.', '/')}@{kind}": learned.state
            for (place, kind), learned in self.found.items()
            if learned.state is not None
        }

    def instead(self, moment: Moment) -> Instead:
        """What computes in a step: the quantizer's numbers, in float32 also under autocast."""

        def computed(place: str, one: Restriction, value: Tensor) -> Tensor:
            learned = self.found.get((place, one.kind))
            if learned is None:
                return one.apply(value)
            last = linear_reads(place) and value.ndim > 2
            given = value.movedim(-1, 1) if last else value
            with torch.autocast(value.device.type, enabled=False):
                result = learned.quantizer.computed(given.float(), learned.one, learned.state, moment)
            return (result.movedim(1, -1) if last else result).to(value.dtype)

        return computed

    def penalties(self, moment: Moment) -> list[Tensor]:
        """What is added to the loss."""
        asked = (learned.quantizer.penalty(learned.one, learned.state, moment) for learned in self.found.values())
        return [penalty for penalty in asked if penalty is not None]

    @torch.no_grad()
    def after_step(self, optimizer: torch.optim.Optimizer, moment: Moment) -> None:
        """After the optimizer and its restrictions, which hold again afterwards."""
        for learned in self.found.values():
            learned.quantizer.after_step(learned.parameter, learned.one, learned.state, moment, optimizer)
        if self.found:
            hold(self.network.module, self.network.restrictions, optimizer)

    @torch.no_grad()
    def finish(self, network: Network) -> Network:
        """The trained network, on the CPU, with the restrictions that are executed from now on."""
        restrictions = dict(network.restrictions)
        for (place, kind), learned in self.found.items():
            state = learned.state.cpu() if learned.state is not None else None
            value = network.module.get_parameter(place).detach() if is_parameter(place) else None
            before = next(one for one in restrictions[place] if one.kind == kind)
            after = learned.quantizer.finish(before, state, value)
            restrictions[place] = tuple(after if one is before else one for one in restrictions[place])
        return replace(network, restrictions=restrictions)


def learning(network: Network, device: str) -> Learning:
    """Prepare the quantizers that train restrictions of a network.

    Args:
        network: the network that trains, with its restrictions, on the device.
        device: where their states go.

    Raises:
        Refusal: RCP1424: a quantizer is not known here, or does not learn.
    """
    found = {}
    for place, each in network.restrictions.items():
        parameter = network.module.get_parameter(place) if is_parameter(place) and each else None
        for one in each:
            if spelling := getattr(one, "trained", ""):
                quantizer = quantizer_of(spelling, place)
                state = quantizer.begin(one, parameter)
                moved = state.to(device).train() if state is not None else None
                found[place, one.kind] = Learned(one, quantizer, moved, parameter)
    return Learning(network, found)


def quantizer_of(spelling: str, place: str) -> Quantizer:
    """The quantizer that a restriction names.

    Raises:
        Refusal: RCP1424: there is no such quantizer here, or it does not learn.
    """
    try:
        quantizer: Any = built(spelling, "quantizer", f"the grid of `{place}`")
        why = "" if quantizer.learns else "this quantizer takes no part in training"
    except Refusal as refusal:
        quantizer, why = None, refusal.message
    if quantizer is None or why:
        raise Refusal(
            "RCP1424",
            f"the numbers of `{place}` are trained by `{spelling}`: {why}",
            "install the package that has it, or quantize again with a quantizer that is here",
        )
    learned: Quantizer = quantizer
    return learned


def without_decay(optimizer: torch.optim.Optimizer, learning: Learning) -> torch.optim.Optimizer:
    """The optimizer, with the parameters of the quantizers in groups of their own that do not decay.

    A step size or a clipping value that decays towards zero would undo what it has learned; a method that wants it
    smaller has a penalty.
    """
    spared = {id(parameter) for state in learning.states.values() for parameter in state.parameters()}
    for group in list(optimizer.param_groups):
        mine = [parameter for parameter in group["params"] if id(parameter) in spared]
        if not mine or not group.get("weight_decay"):
            continue
        rest = [parameter for parameter in group["params"] if id(parameter) not in spared]
        if rest:
            group["params"] = rest
            others = {name: value for name, value in group.items() if name != "params"}
            optimizer.add_param_group({**others, "params": mine, "weight_decay": 0.0})
        else:
            group["weight_decay"] = 0.0
    return optimizer
