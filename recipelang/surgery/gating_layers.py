"""Gates on whole layers: one number for each block, which multiplies what its branch adds to its skip connection.

    x ─┬──────────────────────▶ + ─▶        gate z:   x + z · F(x)
       └─▶ F … ─▶ last weights ─┘

The last weights of a branch are found by trial: a smallest set of modules inside, from the end, without whose
parameters the block is its skip connection. The branch is linear in them (γ and β of a last norm; weight and bias of a
last convolution), so a gate on them is a gate on the branch, and one that is not 0 becomes part of them at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from recipelang.errors import Refusal
from recipelang.kinds import Group, Unit
from recipelang.plan import Selection
from recipelang.surgery.edits import remove
from recipelang.surgery.gating import Gated, Gates, require_no_grids
from recipelang.surgery.network import Network
from recipelang.surgery.parity import TOLERANCE, answers_in, largest_difference
from recipelang.surgery.randomised import hiding_nothing
from recipelang.surgery.tracing import evaluating, example_input, hooked

Call = tuple[tuple[Any, ...], dict[str, Any]]


def gates_on_layers(network: Network, unit: Unit, selection: Selection, by: str) -> Gated:
    """Gates on the blocks that a network offers for removal.

    Args:
        network: is not changed; on any device.
        unit: `layers`.
        selection: the modules to look at.
        by: the companion, for messages.

    Raises:
        Refusal: RCP0910: no layer can be removed; RCP0703: an entry of the selection matches nothing; RCP0850: weights
            are on a grid, or no layer has a branch that can be gated.
    """
    require_no_grids(network, by)
    network = network.on_cpu()
    offer = unit.find(network, selection)
    example = example_input(network)
    trial = hiding_nothing(network.module, example)
    calls = _calls(trial, [path for group in offer.groups for path in group.layers], example)
    found: dict[str, tuple[str, ...]] = {}
    stay: dict[str, str] = {}
    for group in offer.groups:
        names = _last_weights(trial, group, calls)
        if why := _why_not(network.module, group, names):
            stay[group.name] = why
        else:
            found[group.name] = names
    groups = tuple(group for group in offer.groups if group.name in found)
    if not groups:
        first, why = next(iter(stay.items()))
        message = f"`{by}` can gate no {unit.one} of this network: `{first}`: {why}"
        raise Refusal("RCP0850", message, f"remove {unit.name} `by magnitude` or `by imprint`, or gate `filters`")
    return Gated(replace(offer, groups=groups, stay={**offer.stay, **stay}), _gates(network.module, groups, found))


def _gates(module: nn.Module, groups: Sequence[Group], names: Mapping[str, tuple[str, ...]]) -> Gates:
    places = {
        name: ((0, torch.full((len(module.get_parameter(name)),), number)),)
        for number, group in enumerate(groups)
        for name in names[group.name]
    }
    return Gates({group.name: 1 for group in groups}, places)


def _why_not(module: nn.Module, group: Group, names: tuple[str, ...]) -> str:
    """Why a gate cannot be on these weights; "" where it can."""
    if group.joins:
        return "no skip connection carries its input past it"
    if not names:
        return "without its last weights it is not its skip connection"
    owners: dict[int, set[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), set()).add(name)
    for name in names:
        parameter = module.get_parameter(name)
        if not parameter.requires_grad:
            return f"`{name}` is frozen"
        if ".parametrizations." in name or not parameter.ndim or len(owners[id(parameter)]) > 1:
            return f"its branch is not linear in `{name}` alone"
    return ""


def _calls(module: nn.Module, paths: Sequence[str], example: Tensor) -> dict[str, Call]:
    """Path → the arguments that the module at it is called with."""
    found: dict[str, Call] = {}

    def watch(path: str) -> Any:
        def before(part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            found.setdefault(path, _copied((args, kwargs)))

        return module.get_submodule(path).register_forward_pre_hook(before, with_kwargs=True)

    with hooked(watch(path) for path in paths), evaluating(module):
        module(example)
    return found


def _last_weights(module: nn.Module, group: Group, calls: Mapping[str, Call]) -> tuple[str, ...]:
    """The parameters of a smallest set of modules of a block, from its end, without which it is its skip connection;
    none where it is not so even without all of them, or has no skip connection."""
    if group.joins or len(group.layers) != 1 or group.layers[0] not in calls:
        return ()
    (path,) = group.layers
    part, call = module.get_submodule(path), calls[path]
    holders = {name: list(one.parameters(recurse=False)) for name, one in part.named_modules()}
    holders = {name: each for name, each in holders.items() if each}
    stand_in = remove(group.source).stand_in(part)

    def is_skip(names: Sequence[str]) -> bool:
        zeros = [parameter for name in names for parameter in holders[name]]
        with evaluating(module), _zeroed(zeros):
            args, kwargs = _copied(call)
            return largest_difference(answers_in(part(*args, **kwargs)), expected) <= TOLERANCE

    with evaluating(module):
        args, kwargs = _copied(call)
        expected = answers_in(stand_in(*args, **kwargs))
    chosen = list(holders)
    if not is_skip(chosen):
        return ()
    for name in list(holders):
        if len(chosen) > 1 and is_skip(rest := [other for other in chosen if other != name]):
            chosen = rest
    return tuple(
        ".".join(filter(None, (path, name, leaf)))
        for name in chosen
        for leaf, _ in part.get_submodule(name).named_parameters(recurse=False)
    )


@contextmanager
def _zeroed(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    kept = [parameter.detach().clone() for parameter in parameters]
    try:
        for parameter in parameters:
            parameter.data.zero_()
        yield
    finally:
        for parameter, value in zip(parameters, kept, strict=True):
            parameter.data.copy_(value)


def _copied(call: Call) -> Call:
    """The arguments of a call; the module may change them in place."""
    copied: Call = tree_map(lambda value: value.clone() if isinstance(value, Tensor) else value, call)
    return copied
