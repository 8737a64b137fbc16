"""Which weights and activations of a network can have a grid, and making the grids."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from recipelang import catalogue
from recipelang.errors import Refusal
from recipelang.kinds import Hardware, Observed, Quantizer, Restriction, Scheme
from recipelang.plan import Selection
from recipelang.surgery.edits import apply_edits
from recipelang.surgery.edits.unfold_attention import UnfoldAttention
from recipelang.surgery.finite import finite
from recipelang.surgery.headed import foldable
from recipelang.surgery.network import Network
from recipelang.surgery.places import ATTENTION, FunctionCall, calls_of, quantizable
from recipelang.surgery.product_inputs import inputs_of_products, outermost
from recipelang.surgery.products import idle_weights, products_of
from recipelang.surgery.restricting import module_of
from recipelang.surgery.restrictions.grid import Grid
from recipelang.surgery.selectors import resolve
from recipelang.surgery.tracing import example_input

#: inputs that share a scale with `per=group`, where a method does not say how many
DEFAULT_GROUP = 64
KINDS = ("linear", "convolution", "transposed convolution")


@dataclass(frozen=True)
class Places:
    """What of a selection can have a grid.

    Attributes:
        weights: parameter name → the axis of its outputs.
        activations: places, in order of execution.
        floating: name of a weight that stays in floating point → the reason.
        inputs: path of a layer whose input stays in floating point → the reason.
    """

    weights: Mapping[str, int]
    activations: tuple[str, ...]
    floating: Mapping[str, str]
    inputs: Mapping[str, str]

    def without(self, activations: Mapping[str, str]) -> Places:
        """Without these activations: place → why."""
        left = {module_of(place): why for place, why in activations.items()}
        kept = tuple(place for place in self.activations if place not in activations)
        return replace(self, activations=kept, inputs={**self.inputs, **left})

    def wanting(self, quantizer: Quantizer, seen: Mapping[str, Observed]) -> tuple[dict[str, Observed], Places]:
        """What was seen of the activations that a quantizer gives grids, and the places without the others.

        Of activations that were not observed, none is left out.
        """
        reasons = {place: quantizer.why_not(one) for place, one in seen.items()} if quantizer.observes else {}
        useless = {place: why for place, why in reasons.items() if why}
        return {place: one for place, one in seen.items() if place not in useless}, self.without(useless)


def places_of(
    network: Network, selection: Selection, parts: Collection[str], quantizer: Quantizer | None = None
) -> Places:
    """What of a network can have a grid.

    Args:
        network: weights are listed in its order.
        selection: the modules that `in` and `except` select. An activation is quantized for the modules that read it.
        parts: `weights`, `activations` or both.
        quantizer: says which layers are among them, whether the first and the last one are, and which activations;
            None: the rule. Of one for some kinds of layers, activations are quantized just where such a layer reads.

    Raises:
        Refusal: RCP0703: a selector matches nothing. RCP0731, RCP1405: the network cannot be observed. RCP1454: a
            weight has a mask, and the quantizer would not keep its zeros.
    """
    chosen = set(resolve(network.module, selection)) | (set() if selection.include else {""})
    calls = calls_of(network.module, example_input(network))
    ends = _ends(calls) if quantizer is not None and not quantizer.ends and not selection.include else {}
    kinds = quantizer.products if quantizer is not None else ()
    weights, floating = _weights(network, calls, chosen, kinds or KINDS)
    floating |= {name: ends[path] for name in weights if (path := name.rpartition(".")[0]) in ends}
    weights = {name: axis for name, axis in weights.items() if name not in floating}
    if quantizer is not None and not quantizer.keeps_zero and "weights" in parts:
        _require_no_masks(network, weights, quantizer)
    chosen -= ends.keys()
    found = inputs_of_products(calls) if quantizer is not None and quantizer.inputs_of_products else quantizable(calls)
    found = _read_by(calls, weights) if kinds else found
    read = {place: wanting for place, paths in found.items() if (wanting := chosen.intersection(paths))}
    return Places(
        weights=weights if "weights" in parts else {},
        activations=tuple(read) if "activations" in parts else (),
        floating=floating if "weights" in parts else {},
        inputs=_unobserved(calls, weights, set().union(*read.values())) if "activations" in parts else {},
    )


def _ends(calls: Mapping[str, FunctionCall]) -> dict[str, str]:
    """Path of a layer that multiplies before or after all others → why it stays in floating point."""
    first, last = outermost(calls)
    return {
        **dict.fromkeys(last, "the last layer, unless `in` names it"),
        **dict.fromkeys(first, "the first layer, unless `in` names it"),
    }


def _require_no_masks(network: Network, weights: Collection[str], quantizer: Any) -> None:
    masked = [name for name in weights for one in network.restrictions.get(name, ()) if one.kind == "mask"]
    if masked:
        raise Refusal(
            "RCP1454",
            f"`{masked[0]}` has a mask, and `{quantizer.name}` has no zero: what is masked would be a number again",
            "quantize by `twn`, `ttq` or `gxnor`, which keep zeros, or leave the masked modules out with `except`",
        )


def require_apart(network: Network, weights: Collection[str], *kinds: str) -> None:
    """Refuse shared values and a grid or codebook on the same weight.

    Args:
        weights: parameter names.
        kinds: of restrictions that they must not have.

    Raises:
        Refusal: RCP1480.
    """
    found = [name for name in weights for one in network.restrictions.get(name, ()) if one.kind in kinds]
    if found:
        there = "shares its values" if "shared" in kinds else "is quantized"
        raise Refusal(
            "RCP1480",
            f"`{found[0]}` {there}, and on a grid with a range for each output, one shared value would become several "
            "numbers",
            f'leave it out, `except "{found[0].rpartition(".")[0]}"`, or start from a network without',
        )


def _unobserved(
    calls: Mapping[str, FunctionCall], weights: Collection[str], supplied: Collection[str]
) -> dict[str, str]:
    """Layers whose weights can have a grid and whose input cannot, and why."""
    found = {}
    for name in weights:
        path = name.rpartition(".")[0]
        if path not in supplied:
            inside = any(call.function == ATTENTION for call in calls.values() if name in call.parameters)
            found[path] = "attention computes its input by itself" if inside else "no torch function computes its input"
    return found


def _read_by(calls: Mapping[str, FunctionCall], weights: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Place → the paths of the layers with these weights that read it."""
    found: dict[str, tuple[str, ...]] = {}
    for call in calls.values():
        if call.computes and call.reads and set(call.parameters) & set(weights):
            found[call.reads[0]] = (*found.get(call.reads[0], ()), *sorted(call.layers))
    return {place: found[place] for place in calls if place in found}


def attending(network: Network, selection: Selection) -> Network:
    """The network with the attention layers of a selection unfolded, so that their products are functions of their own;
    the same network where it has none. It computes the same.

    Raises:
        Refusal: RCP0703: a selector matches nothing.
    """
    chosen = set(resolve(network.module, selection))
    paths = tuple(
        path
        for path in foldable(network.module, example_input(network))
        if any(one == path or one.startswith(f"{path}.") for one in chosen)
    )
    return apply_edits(network, [UnfoldAttention(paths)]) if paths else network


def _weights(
    network: Network, calls: Mapping[str, FunctionCall], chosen: Collection[str], kinds: Collection[str]
) -> tuple[dict[str, int], dict[str, str]]:
    """The weights that can have a grid, with the axis of their outputs; and the reasons for the others."""
    read = {name for call in calls.values() for name in call.parameters}
    products = products_of(network)
    able, floating = {}, {}
    for product in products:
        if product.path not in chosen:
            continue
        if not product.parameter:
            floating[product.name] = product.why
        elif product.kind not in kinds:
            floating[product.name] = f"the weight of a {product.kind} layer"
        elif product.name not in read:
            floating[product.name] = "it is read below torch's functions"
        else:
            able[product.name] = product.outputs
    idle = idle_weights(network.module, products)
    floating |= {name: "no product uses it in evaluation" for name, (path, _) in idle.items() if path in chosen}
    return able, floating


@torch.no_grad()
def weight_grids(
    network: Network, weights: Mapping[str, int], bits: int, quantizer: Quantizer, hardware: Hardware | None = None
) -> dict[str, Restriction]:
    """Parameter name → the numbers that it may hold: signed, as the settings `per`, `form` and `group` say.

    Args:
        network: holds the weights.
        weights: parameter name → the axis of its outputs.
        bits: of one number.
        quantizer: decides the numbers.
        hardware: that must have them, if any.

    Raises:
        Refusal: RCP1010: a weight is NaN or infinite.
    """
    sought = sought_weights(network, weights, bits, quantizer)
    return {name: _restriction(quantizer, *one, hardware) for name, one in sought.items()}


@torch.no_grad()
def sought_weights(
    network: Network, weights: Mapping[str, int], bits: int, quantizer: Quantizer
) -> dict[str, tuple[Observed, Scheme]]:
    """Parameter name → its values and the integers of the grid that is sought; arguments as of `weight_grids`.

    Raises:
        Refusal: RCP1010: a weight is NaN or infinite.
    """
    found = {}
    for name, axis in weights.items():
        weight = network.module.get_parameter(name).detach().cpu().float()
        finite(f"a number at `{name}`", weight)
        scheme = weight_scheme(quantizer, bits, axis)
        values = rows_of(weight, scheme)
        found[name] = Observed(values.amin(-1), values.amax(-1), values), scheme
    return found


def activation_grids(
    observed: Mapping[str, Observed], bits: int, quantizer: Quantizer, hardware: Hardware | None = None
) -> dict[str, Restriction]:
    """Place → the numbers that an activation may hold: one grid, unsigned with a zero point where it is affine."""
    sought = sought_activations(observed, bits, quantizer, hardware)
    return {place: _restriction(quantizer, *one, hardware) for place, one in sought.items()}


def sought_activations(
    observed: Mapping[str, Observed], bits: int, quantizer: Quantizer, hardware: Hardware | None = None
) -> dict[str, tuple[Observed, Scheme]]:
    """Place → what was seen and the integers of the grid that is sought."""
    signed = hardware is not None and hardware.signed
    return {
        place: (seen, activation_scheme(quantizer, bits, signed or float(seen.low) < 0))
        for place, seen in observed.items()
    }


def weight_scheme(quantizer: Quantizer, bits: int, axis: int) -> Scheme:
    """The integers of a weight whose outputs are along this axis."""
    per = getattr(quantizer, "per", "channel")
    return Scheme(
        bits,
        signed=True,
        symmetric=getattr(quantizer, "form", None) != "affine",
        axis=None if per == "tensor" else axis,
        group=getattr(quantizer, "group", DEFAULT_GROUP) if per == "group" else None,
    )


def activation_scheme(quantizer: Quantizer, bits: int, negative: bool) -> Scheme:
    """The integers of an activation.

    Args:
        quantizer: symmetric, it gives signed integers where the activation is negative somewhere, else unsigned ones.
        bits: of one number.
        negative: whether the activation was seen below zero.
    """
    symmetric = getattr(quantizer, "form", None) == "symmetric"
    return Scheme(bits, signed=symmetric and negative, symmetric=symmetric)


def rows_of(weight: Tensor, scheme: Scheme) -> Tensor:
    """All values of a weight by the range that they share: (N,), (C, N) or (C, G, N)."""
    if scheme.axis is None:
        return weight.flatten()
    rows = weight.movedim(scheme.axis, 0).flatten(1)
    if scheme.group is None:
        return rows
    *whole, last = rows.split(scheme.group, 1)
    repeated = last[:, torch.arange(scheme.group) % last.shape[1]]
    return torch.stack([*whole, repeated], 1)


def _restriction(
    quantizer: Quantizer, observed: Observed, scheme: Scheme, hardware: Hardware | None = None
) -> Restriction:
    """What a quantizer restricts a tensor to, as the hardware has it; what it trains bears its spelling."""
    made: Any = quantizer.restriction(observed, scheme)
    if made is None:
        low, high = quantizer.range(observed, scheme)
        made = Grid.between(_as(low, observed.low), _as(high, observed.low), scheme)
        made = made.shifting() if hardware is not None and hardware.powers else made
    return replace(made, trained=catalogue.spell(quantizer)) if quantizer.learns else made


def _as(value: Tensor, like: Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float32).cpu().expand(like.shape).contiguous()
