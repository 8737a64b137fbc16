"""Grids as QuantizeLinear and DequantizeLinear: how a quantized network becomes a program that computes in integers.

weight      integers ─▶ DequantizeLinear ─▶ product          the integers of the recipe, with one scale for each output
activation  value ─▶ QuantizeLinear ─▶ DequantizeLinear ─▶   at the places that have a grid, with the recipe's scale

A codebook has no integers: its levels are float32 numbers of the program, and an activation is compared with the
middles between them.

A runtime fuses these with the product between them and computes it in integers (onnxruntime: QLinearConv, QGemm).
BatchNorm is folded first: a weight's integers stay what they are, only their scales change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.runtimes.onnx_linear import DYNAMIC, GROUPED, in_groups, marked
from recipelang.surgery.folding import folded
from recipelang.surgery.network import Habits, Network
from recipelang.surgery.places import at_places, calls_of, moved, reads
from recipelang.surgery.restricting import is_parameter
from recipelang.surgery.restrictions.codebook import Codebook
from recipelang.surgery.restrictions.dynamic import Dynamic
from recipelang.surgery.restrictions.grid import Grid, grouped, ungrouped
from recipelang.surgery.simulated import computing
from recipelang.surgery.tracing import example_input

#: Bits of the integers of a program; a finer grid is computed in floating point.
MOST_BITS = 8


def grids(network: Network) -> dict[str, Grid]:
    """Place → its grid."""
    return {place: one for place, each in network.restrictions.items() for one in each if isinstance(one, Grid)}


def codebooks(network: Network) -> dict[str, Codebook]:
    """Place → its codebook."""
    return {place: one for place, each in network.restrictions.items() for one in each if isinstance(one, Codebook)}


def rounds(network: Network) -> bool:
    """Whether a network computes with grids or codebooks, so that its program has operations for them.

    Raises:
        Refusal: RCP0716: it computes with a restriction of another kind, for which there is none.
    """
    found = computing(network.restrictions)
    for place, each in found.items():
        for one in each:
            if not isinstance(one, Grid | Codebook | Dynamic):
                raise Refusal(
                    "RCP0716",
                    f"the network cannot be written as onnx: the {one.kind} of `{place}` has no form there",
                    "use `export safetensors`, which writes any network",
                )
    return bool(found)


def dynamic(network: Network) -> frozenset[str]:
    """The places whose range is computed."""
    return frozenset(p for p, each in network.restrictions.items() if any(isinstance(one, Dynamic) for one in each))


class Integers(nn.Module):
    """A folded network in which each grid and codebook is an operation of the exported program.

    Weights in groups and ranges that are computed are operations of a domain of ours, which `onnx_linear.rewritten`
    replaces with onnxruntime's.

    Args:
        network: with grids or codebooks; is not changed.

    Attributes:
        names: name of a buffer → the place whose integers, scales, zeros, levels or numbers it holds.
        groups: the name that holds the numbers of a weight in groups → its place, its grid, and the weight.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        ready = folded(network)
        self.inner, self._grids = ready.module.float(), grids(ready)
        # What is only moved is said to be on the same grid, or a sum that reads it would be computed in float32.
        shared = moved(calls_of(self.inner, example_input(ready))) if self._grids else {}
        self._grids |= {place: self._grids[source] for place, source in shared.items() if source in self._grids}
        self._recipelang_habits = getattr(ready.module, "_recipelang_habits", Habits())
        self.names: dict[str, str] = {}
        self._held: dict[str, dict[str, str]] = {}
        self.groups: dict[str, tuple[str, Grid, Tensor]] = {}
        for place, grid in self._grids.items():
            if is_parameter(place) and grid.scheme.bits <= MOST_BITS:
                weight = self._weight(place)
                if in_groups(grid, weight.shape):
                    self._hold(place, {"numbers": grid.apply(weight)})
                    self.groups[f"{place}.numbers"] = place, grid, weight
                else:
                    self._hold(place, _integers(grid, weight))
        self._dynamic = dynamic(ready)
        self._codebooks = codebooks(ready)
        for place, codebook in self._codebooks.items():
            if is_parameter(place):
                self._hold(place, {"levels": codebook.apply(self._weight(place))})
            else:
                self._hold(place, {"levels": codebook.levels, "middles": codebook.middles()})
        self.eval().requires_grad_(False)

    def _weight(self, place: str) -> Tensor:
        return self.inner.get_parameter(place).detach()

    def _hold(self, place: str, held: Mapping[str, Tensor]) -> None:
        """What stands for a weight, as buffers: parameter names are not names of buffers."""
        number, self._held[place] = len(self._held), {}
        for what, tensor in held.items():
            self._held[place][what] = f"held{number}_{what}"
            self.names[f"held{number}_{what}"] = f"{place}.{what}"
            self.register_buffer(f"held{number}_{what}", tensor.contiguous(), persistent=False)

    def forward(self, inputs: Tensor) -> Any:
        """As the network, with quantized_decomposed operations at its grids, and comparisons at its codebooks."""
        with at_places(self.inner, self._change, reading=reads({**self._codebooks, **self._grids})):
            return self.inner(inputs)

    def _change(self, place: str, value: Tensor) -> Tensor:
        if codebook := self._codebooks.get(place):
            held = [getattr(self, name) for name in self._held[place].values()]
            return held[0] if is_parameter(place) else _nearest(value, codebook.axis, *held)
        if place in self._dynamic:
            return marked(DYNAMIC, value)
        grid = self._grids.get(place)
        if grid is None:
            return value
        if grid.scheme.bits > MOST_BITS:
            return _in_floats(grid, value)
        if f"{place}.numbers" in self.groups:
            return marked(GROUPED, getattr(self, self._held[place]["numbers"]))
        if place in self._held:
            integers, scale, zero = (getattr(self, name) for name in self._held[place].values())
            return _dequantized(grid, value.shape, integers, scale, zero)
        return _quantized(grid, value)


def _integers(grid: Grid, weight: Tensor) -> dict[str, Tensor]:
    """A weight's integers, scales and zeros; with a row for each group where it has groups."""
    integers, axis, group = grid.codes(weight).to(_type(grid)), grid.scheme.axis, grid.scheme.group
    if axis is None or group is None:
        return {"integers": integers, "scale": grid.scale, "zero": grid.zero.long()}
    rows = grouped(integers, axis, group).flatten(0, 1)
    return {"integers": rows, "scale": grid.scale.flatten(), "zero": grid.zero.flatten().long()}


def _type(grid: Grid) -> torch.dtype:
    return torch.int8 if grid.scheme.signed else torch.uint8


def _operations() -> Any:
    """The operations that the exporter translates; torch registers them where they are defined."""
    from torch.ao.quantization.fx import _decomposed  # noqa: F401

    return torch.ops.quantized_decomposed


def _dequantized(grid: Grid, shape: torch.Size, integers: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    limits = grid.scheme.low, grid.scheme.high, _type(grid)
    axis, group = grid.scheme.axis, grid.scheme.group
    if axis is None:
        value: Tensor = _operations().dequantize_per_tensor(integers, *_numbers(grid), *limits)
    elif group is None:
        value = _operations().dequantize_per_channel(integers, scale, zero, axis, *limits)
    else:
        rows = _operations().dequantize_per_channel(integers, scale, zero, 0, *limits)
        value = ungrouped(rows.view(*grid.scale.shape, group), shape, axis)
    return value


def _quantized(grid: Grid, value: Tensor) -> Tensor:
    """An activation through the integers of its grid.

    QuantizeLinear stops at the limits of its type, not at those of the grid: with fewer bits it is clipped before.
    """
    (scale, zero), low, high = _numbers(grid), grid.scheme.low, grid.scheme.high
    if grid.scheme.bits < MOST_BITS or grid.scheme.symmetric:
        value = value.clamp((low - zero) * scale, (high - zero) * scale)
    limits = scale, zero, low, high, _type(grid)
    result: Tensor = _operations().dequantize_per_tensor(_operations().quantize_per_tensor(value, *limits), *limits)
    return result


def _in_floats(grid: Grid, value: Tensor) -> Tensor:
    """The nearest numbers of a grid in operations that every format has."""
    scale, zero = grid.spread(value.shape, value.device)
    integers = ((value / scale).round() + zero).clamp(grid.scheme.low, grid.scheme.high)
    return (integers - zero) * scale


def _nearest(value: Tensor, axis: int | None, levels: Tensor, middles: Tensor) -> Tensor:
    """The nearest levels of a codebook in operations that every format has."""
    if axis is not None:
        rows = [-1 if k == axis else 1 for k in range(value.ndim)]
        levels, middles = levels.view(*rows, levels.shape[1]), middles.view(*rows, middles.shape[1])
    found = levels[..., 0]
    for number in range(middles.shape[-1]):
        found = torch.where(value >= middles[..., number], levels[..., number + 1], found)
    return found


def _numbers(grid: Grid) -> tuple[float, int]:
    """Scale and zero as Python's numbers: in the traced graph, no tensor may decide anything."""
    return float(grid.scale), int(grid.zero)
