"""Gates on the parts of a network: one number for each, which multiplies the weights that read the part.

    h = part's channels ──▶ W h        gate z:   W (z · h) = (W · z) h

The weights that read a channel are linear in it, so a gate on them is a gate on the channel as it is read, whatever
norm, activation or sum is on the way there. Only weights are multiplied: a step costs a product the size of each
weight, and works for any module, under autocast, and in any memory format. A part whose gate is 0 is exactly one that
is gone (`surgery.edits.remove_channels`), and a gate that is not 0 becomes part of the weights at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import accumulate

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.kinds import Group, Offer, Unit
from recipelang.kinds.unit import below
from recipelang.plan import Selection
from recipelang.surgery.edits import neutralised
from recipelang.surgery.network import Network
from recipelang.surgery.parity import TOLERANCE, answers_in, largest_difference
from recipelang.surgery.randomised import hiding_nothing
from recipelang.surgery.simulated import computing
from recipelang.surgery.tracing import evaluating, example_input
from recipelang.surgery.without_numbers import few_images
from recipelang.units import counted


@dataclass(frozen=True)
class Gates:
    """Where the numbers of all parts are multiplied.

    Attributes:
        sizes: group → how many parts it has; their numbers are in this order in a row.
        places: parameter → (axis, the part of each index along it; `total` where it is of none).
    """

    sizes: Mapping[str, int]
    places: Mapping[str, tuple[tuple[int, Tensor], ...]]
    _moved: dict[tuple[str, int, torch.device], Tensor] = field(default_factory=dict, compare=False, repr=False)

    @property
    def total(self) -> int:
        """The number of parts."""
        return sum(self.sizes.values())

    def each(self, numbers: Tensor) -> dict[str, Tensor]:
        """Numbers of all parts → group → those of its parts."""
        return dict(zip(self.sizes, numbers.split(list(self.sizes.values())), strict=True))

    def scaled(self, name: str, weight: Tensor, numbers: Tensor) -> Tensor:
        """A weight with what reads each part multiplied by its number.

        Args:
            name: of the parameter.
            weight: of any shape.
            numbers: one for each part, on the weight's device.
        """
        padded = torch.cat([numbers, numbers.new_ones(1)])
        for axis, index in self.places[name]:
            there = self._moved.setdefault((name, axis, weight.device), index.to(weight.device))
            weight = weight * padded[there].to(weight.dtype).reshape(-1, *[1] * (weight.ndim - axis - 1))
        return weight

    @contextmanager
    def open(self, module: nn.Module, numbers: Tensor) -> Iterator[None]:
        """Inside the block the module computes with its parts multiplied, with gradients for weights and numbers."""
        held: list[tuple[dict[str, nn.Parameter | None], str, nn.Parameter]] = []
        try:
            for name, owners in self._owners(module).items():
                parameter = module.get_parameter(name)
                value = self.scaled(name, parameter, numbers)
                for owner, leaf in owners:
                    held.append((owner._parameters, leaf, parameter))
                    owner._parameters[leaf] = value  # type: ignore[assignment]  # as torch.func.functional_call does
            yield
        finally:
            for parameters, leaf, parameter in held:
                parameters[leaf] = parameter

    @torch.no_grad()
    def fold(self, module: nn.Module, numbers: Tensor) -> None:
        """Multiply the weights themselves, in place, so that the module computes as it does inside `open`."""
        for name in self.places:
            parameter = module.get_parameter(name)
            parameter.copy_(self.scaled(name, parameter, numbers.to(parameter.device)))

    def _owners(self, module: nn.Module) -> dict[str, list[tuple[nn.Module, str]]]:
        """Parameter → every module that holds it, and its name there: tied weights are held by several."""
        names = {id(module.get_parameter(name)): name for name in self.places}
        found: dict[str, list[tuple[nn.Module, str]]] = {name: [] for name in self.places}
        for part in module.modules():
            for leaf, parameter in part._parameters.items():
                if id(parameter) in names:
                    found[names[id(parameter)]].append((part, leaf))
        return found


@dataclass(frozen=True)
class Gated:
    """The gates of a network.

    Attributes:
        offer: what the network offers of the unit; its groups are those that have gates.
        gates: where they are.
    """

    offer: Offer
    gates: Gates


def gates_on(network: Network, unit: Unit, selection: Selection, by: str) -> Gated:
    """Gates on all parts of a unit that a network offers for removal, each held against its removal.

    Args:
        network: is not changed; on any device.
        unit: of coupled channels: filters, neurons, heads.
        selection: the modules to look at.
        by: the companion, for messages.

    Raises:
        Refusal: RCP0910: nothing can be removed; RCP0703: an entry of the selection matches nothing; RCP0718: the
            network cannot be traced; RCP0850: its weights are on a grid, or no gate does what the removal does.
    """
    require_no_grids(network, by)
    network = network.on_cpu()  # where channels are followed
    offer = unit.find(network, selection)
    stay = _inexact(network, unit, offer)
    groups = tuple(group for group in offer.groups if group.name not in stay)
    if not groups:
        first, why = next(iter(stay.items()))
        message = f"`{by}` can gate no {unit.one} of this network: `{first}`: {why}"
        raise Refusal("RCP0850", message, f"remove {unit.name} `by magnitude` or `by taylor`")
    return Gated(replace(offer, groups=groups, stay={**offer.stay, **stay}), _gates(network.module, groups))


def weights_of(module: nn.Module, groups: Sequence[Group]) -> Tensor:
    """How many numbers of weights make each part, of all groups in a row; of a layer, all of its parameters."""
    parameters = dict(module.named_parameters())
    found: list[float] = []
    for group in groups:
        if not group.least:
            found.append(
                sum(w.numel() for name, w in parameters.items() if any(below(name, path) for path in group.layers))
            )
            continue
        made = [(place, parameters[place.name]) for place in group.source.at("makes") if place.name in parameters]
        counts = (sum(w.numel() // w.shape[p.axis] * len(p.positions[n]) for p, w in made) for n in range(group.size))
        found += [float(count) for count in counts]
    return torch.tensor(found)


def require_no_grids(network: Network, by: str) -> None:
    """Refuse weights on a grid: a gate would multiply them before they are rounded.

    Raises:
        Refusal: RCP0850: there are such.
    """
    if on_grids := sorted(computing(network.restrictions)):
        raise Refusal(
            "RCP0850",
            f"`{by}` multiplies weights during its training, and `{on_grids[0]}` is quantized",
            f"write the training with `{by}` before `quantize`",
        )


def _gates(module: nn.Module, groups: Sequence[Group]) -> Gates:
    sizes = {group.name: group.size for group in groups}
    total = sum(sizes.values())
    starts = dict(zip(sizes, accumulate(sizes.values(), initial=0), strict=False))
    shapes = {name: parameter.shape for name, parameter in module.named_parameters()}
    places: dict[str, dict[int, Tensor]] = {}
    for group in groups:
        for place in group.source.at("reads"):
            if place.name in shapes:
                axes = places.setdefault(place.name, {})
                index = axes.setdefault(place.axis, torch.full((shapes[place.name][place.axis],), total))
                for part, positions in enumerate(place.positions):
                    index[list(positions)] = starts[group.name] + part
    return Gates(sizes, {name: tuple(sorted(axes.items())) for name, axes in places.items()})


def _inexact(network: Network, unit: Unit, offer: Offer) -> dict[str, str]:
    """Groups whose gates at 0 are not their removal, and why: something that is not a weight reads them."""
    example = few_images(network.module, example_input(network))
    trial = hiding_nothing(network.module, example)
    some = {group.name: list(range(0, group.size - 1, 3)) for group in offer.groups}

    def differs(groups: Sequence[Group]) -> bool:
        gates = _gates(trial, groups)
        numbers = [torch.ones(size).index_fill(0, torch.tensor(some[name]), 0) for name, size in gates.sizes.items()]
        *_, edit = unit.edits(replace(network, module=trial), offer, {group.name: some[group.name] for group in groups})
        with evaluating(trial), neutralised(edit, trial):
            expected = answers_in(trial(example))
        with evaluating(trial), gates.open(trial, torch.cat(numbers)):
            found = answers_in(trial(example))
        return not largest_difference(found, expected) <= TOLERANCE

    if not differs(offer.groups):
        return {}
    why = "what reads it is not a weight alone"
    return {group.name: why for group in offer.groups if differs([group])}


class GateState(nn.Module):
    """The numbers behind the gates of a training, which Adam of their own trains; all of it is in a checkpoint.

    Args:
        gated: the gates.
        start: one number for each part.
    """

    reals: Tensor
    mean: Tensor
    square: Tensor
    steps: Tensor

    def __init__(self, gated: Gated, start: Tensor) -> None:
        super().__init__()
        self.gated = gated
        #: what multiplies the parts in this step, with gradients to `leaf`
        self.now: Tensor | None = None
        self.register_buffer("reals", start)
        self.register_buffer("mean", torch.zeros_like(start))
        self.register_buffer("square", torch.zeros_like(start))
        self.register_buffer("steps", torch.zeros(()))
        self._adam: torch.optim.Adam | None = None

    @property
    def leaf(self) -> Tensor:
        """The numbers as a tensor whose gradient `descend` uses; it shares their memory."""
        if self._adam is None:
            leaf = self.reals.detach().requires_grad_()
            self._adam = torch.optim.Adam([leaf])
            self._adam.state[leaf] = {"step": self.steps, "exp_avg": self.mean, "exp_avg_sq": self.square}
        found: Tensor = self._adam.param_groups[0]["params"][0]
        return found

    def descend(self, lr: float) -> None:
        """One step of Adam, and the gradient is gone."""
        assert self._adam is not None  # there was a forward pass
        self._adam.param_groups[0]["lr"] = lr
        self._adam.step()
        self._adam.zero_grad()

    def largest(self, values: Tensor) -> Tensor:
        """The number of the part with the largest value of each group that must keep one; of equal ones the last."""
        starts = accumulate(self.gated.gates.sizes.values(), initial=0)
        each = zip(self.gated.offer.groups, starts, self.gated.gates.each(values).values(), strict=False)
        found = [start + len(part) - 1 - part.flip(0).argmax() for group, start, part in each if group.least]
        return torch.stack(found) if found else torch.zeros(0, dtype=torch.long, device=values.device)


def foreseen(gated: Gated, unit: Unit, by: str) -> tuple[str, ...]:
    """What a training with gates may remove, in words, for the plan."""
    offer, stay = gated.offer, gated.offer.stay
    groups = counted(len(offer.groups), "group")
    found = [f"{by} may remove {offer.most:,} of {offer.size:,} {unit.name}, in {groups}"]
    if stay:
        first, more = next(iter(stay)), len(stay) - 1
        found.append(f"stays whole: `{first}` ({stay[first]}){f', and {more} more' if more else ''}")
    return tuple(found)
