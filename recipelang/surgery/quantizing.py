"""Which weights and activations of a network can have a grid, and making the grids."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.kinds import Observed, RangeEstimator, Scheme
from recipelang.plan import Selection
from recipelang.surgery.network import Network
from recipelang.surgery.places import ATTENTION, FunctionCall, calls_of, quantizable
from recipelang.surgery.products import idle_weights, products_of
from recipelang.surgery.restrictions.grid import Grid
from recipelang.surgery.selectors import resolve
from recipelang.surgery.tracing import example_input

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


def places_of(network: Network, selection: Selection, parts: Collection[str]) -> Places:
    """What of a network can have a grid.

    Args:
        network: weights are listed in its order.
        selection: the modules that `in` and `except` select. An activation is quantized for the modules that read it.
        parts: `weights`, `activations` or both.

    Raises:
        Refusal: RCP0703: a selector matches nothing. RCP0731, RCP1405: the network cannot be observed.
    """
    chosen = set(resolve(network.module, selection)) | (set() if selection.include else {""})
    calls = calls_of(network.module, example_input(network))
    weights, floating = _weights(network, calls, chosen)
    read = {place: wanting for place, paths in quantizable(calls).items() if (wanting := chosen.intersection(paths))}
    return Places(
        weights=weights if "weights" in parts else {},
        activations=tuple(read) if "activations" in parts else (),
        floating=floating if "weights" in parts else {},
        inputs=_unobserved(calls, weights, set().union(*read.values())) if "activations" in parts else {},
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


def _weights(
    network: Network, calls: Mapping[str, FunctionCall], chosen: Collection[str]
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
        elif product.kind not in KINDS:
            floating[product.name] = f"the weight of a {product.kind} layer"
        elif product.name not in read:
            floating[product.name] = "it is read below torch's functions"
        else:
            able[product.name] = product.outputs
    idle = idle_weights(network.module, products)
    floating |= {name: "no product uses it in evaluation" for name, (path, _) in idle.items() if path in chosen}
    return able, floating


@torch.no_grad()
def weight_grids(network: Network, weights: Mapping[str, int], bits: int, estimator: RangeEstimator) -> dict[str, Grid]:
    """Parameter name → its grid: signed, symmetric, one for each output or one for all.

    Args:
        network: holds the weights.
        weights: parameter name → the axis of its outputs.
        bits: of one number.
        estimator: chooses the ranges.

    Raises:
        Refusal: RCP1010: a weight is NaN or infinite.
    """
    found = {}
    for name, axis in weights.items():
        weight = network.module.get_parameter(name).detach().cpu().float()
        if not bool(weight.isfinite().all()):
            raise Refusal(
                "RCP1010",
                f"a number at `{name}` is NaN or infinite",
                "training has diverged: lower the learning rate, or start from other weights",
            )
        whole = estimator.per == "tensor"
        rows = weight.flatten() if whole else weight.movedim(axis, 0).flatten(1)
        scheme = Scheme(bits, signed=True, symmetric=True, axis=None if whole else axis)
        found[name] = _grid(estimator, Observed(rows.amin(-1), rows.amax(-1), rows), scheme)
    return found


def activation_grids(observed: Mapping[str, Observed], bits: int, estimator: RangeEstimator) -> dict[str, Grid]:
    """Place → its grid: unsigned with a zero point, one for all."""
    return {place: _grid(estimator, seen, Scheme(bits)) for place, seen in observed.items()}


def _grid(estimator: RangeEstimator, observed: Observed, scheme: Scheme) -> Grid:
    low, high = estimator.range(observed, scheme)
    return Grid.between(_as(low, observed.low), _as(high, observed.high), scheme)


def _as(value: Tensor, like: Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float32).cpu().expand(like.shape).contiguous()
