"""What removing channels asks beyond reordering them: the rules of layers, norms and statistics.

A removed channel is one whose parameters are all zero, those that read it too; so nothing depends on what a norm or an
activation makes of an empty channel. Channels stay where they meet without a weight of their own (a mean, a softmax, a
LayerNorm), and where the code counts them. A sum and a norm of vectors are not among these: a channel that is zero
there may be removed, and whether it is zero is tried (`cutting`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, ClassVar

import numpy

from recipelang.surgery.axes import RULES, SPACE, Axes, Axis, Dims, NoRule, OperatorCall, rule

#: a choice of a factor: module, number of its operation, number of the choice there
Site = tuple[str, int, int]
CELLS = ("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
STATE = "they are the state of a recurrent cell"


@dataclass
class Removing(Axes):
    """Axes of which channels are to be removed.

    Where an axis is a product (groups × columns, heads × width), whole blocks of one factor may be removed and the
    other factors stay. Which factor is a choice at that site. A first walk explores: it follows all factors and ties
    none to the axis that was split, so that it shows which of them stay for a reason of their own. Those are chosen
    last. Where all of a chosen factor turns out to stay, another walk chooses the next.

    Attributes:
        exploring: whether this is the first walk.
        orders: site → the factors in the order of preference, from earlier walks; the first is chosen.
        options: site → the factors to choose from.
        factors: site → the axes of every factor that was followed.
        shut: atoms that are already known to stay.
        normalised: axes of parameters that are divided by their norm.
        heads: axes over which attention runs separately.
        products: axes with the factors that they are products of.
    """

    removing: ClassVar[bool] = True

    exploring: bool = False
    orders: dict[Site, list[int]] = field(default_factory=dict)
    options: dict[Site, list[int]] = field(default_factory=dict)
    factors: dict[Site, dict[int, list[Axis]]] = field(default_factory=dict)
    shut: set[int] = field(default_factory=set)
    normalised: list[Axis] = field(default_factory=list)
    heads: list[Axis] = field(default_factory=list)
    products: list[tuple[Axis, list[Axis]]] = field(default_factory=list)

    def freeze(self, axes: Sequence[Axis], why: str) -> None:
        """Keep every index of these axes."""
        super().freeze(axes, why)
        for axis in axes:
            self.shut.update(axis.tolist())

    def stays(self, axis: Axis) -> bool:
        """Whether all of an axis is already known to stay."""
        return self.shut.issuperset(axis.tolist())

    def choose(self, options: list[int]) -> tuple[Site, int]:
        """A new site, and the factor in force there.

        Args:
            options: the factors, the likeliest first.
        """
        number = next(k for k in count() if (*self.site, k) not in self.options)
        site = (*self.site, number)
        self.options[site] = self.orders.get(site, options)
        return site, self.options[site][0]

    def lost(self, free: numpy.ndarray, heads: numpy.ndarray) -> dict[Site, list[int]]:
        """The orders for the next walk, of the sites where all of the chosen factor stays.

        Args:
            free: of every atom, whether its channel may be removed after this walk.
            heads: of every atom, whether it is a head of attention: no other factor is chosen beside it.
        """
        orders: dict[Site, list[int]] = {}
        for site, options in self.options.items():
            followed = self.factors[site]
            stay = {k for k, axes in followed.items() if not any(free[axis].any() for axis in axes)}
            if self.exploring:
                options = [k for k in options if any(heads[axis].any() for axis in followed.get(k, ()))] or options
            order = sorted(options, key=lambda k: k in stay) if self.exploring else [*options[1:], options[0]]
            if order != self.options[site] and (self.exploring or options[0] in stay):
                orders[site] = order
        return orders


@rule("conv1d", "conv2d", "conv3d", removing=True)
def convolution(axes: Removing, call: OperatorCall) -> Dims:
    """In groups: whole groups leave, or the same channels of every group; whichever takes fewer at once comes first."""
    x, weight, groups = call.given["input"], call.given["weight"], call.given["groups"]
    if groups == 1:
        return RULES["conv2d"](axes, call)
    if len(x) != len(weight):
        raise NoRule
    axes.freeze((*x[2:], *weight[2:]), SPACE)
    axes.join(weight[0], call.vector("bias"))
    ins, outs = len(x[1]) // groups, len(weight[0]) // groups
    site, choice = axes.choose([0] if ins == outs == 1 else [0, 1] if ins + outs <= 2 * groups else [1, 0])
    if choice == 0:
        block = axes.fresh(groups)
        axes.join(x[1], numpy.repeat(block, ins))
        axes.join(weight[0], numpy.repeat(block, outs))
        axes.freeze(weight[1:2], "whole groups of the convolution leave")
        axes.factors[site] = {0: [block]}
    else:
        column = axes.fresh(outs)
        axes.join(x[1], numpy.tile(weight[1], groups))
        axes.join(weight[0], numpy.tile(column, groups))
        axes.factors[site] = {1: [weight[1], column]}
    return Dims((x[0], weight[0], *(axes.stuck(size, SPACE) for size in call.shapes[0][2:])))


@rule("conv_transpose1d", "conv_transpose2d", "conv_transpose3d", removing=True)
def transposed(axes: Removing, call: OperatorCall) -> Dims:
    """x B×I×…, weight I×O×k… → B×O×…"""
    x, weight = call.given["input"], call.given["weight"]
    if call.given["groups"] != 1 or len(x) != len(weight):
        raise NoRule
    axes.freeze((*x[2:], *weight[2:]), SPACE)
    axes.join(x[1], weight[0])
    axes.join(weight[1], call.vector("bias"))
    return Dims((x[0], weight[1], *(axes.stuck(size, SPACE) for size in call.shapes[0][2:])))


@rule("lstm", "gru", "rnn_tanh", "rnn_relu", removing=True)
def recurrent(axes: Removing, call: OperatorCall) -> list[Dims]:
    """What goes in may be removed; the state stays."""
    x, params = call.given["input"], list(call.given["params"])
    layer = len(params) // call.given["num_layers"]  # parameters of one layer, both directions
    one = layer // (1 + call.given["bidirectional"])
    for number, weight in enumerate(params):
        reads = number < layer and number % one == 0
        axes.freeze(weight[:1] if reads else weight, STATE)
        if reads:
            axes.join(x[-1], weight[1])
    axes.freeze(x[:-1], "they are steps of a sequence")
    return [Dims(axes.stuck(n, STATE) for n in shape) for shape in call.shapes]


@rule(*CELLS, removing=True)
def cell(axes: Removing, call: OperatorCall) -> list[Dims] | Dims:
    """One step of a recurrent cell: what goes in may be removed, the state stays."""
    into, reads = call.given["input"][-1], call.given["w_ih"][1]
    axes.join(into, reads)
    axes.freeze([axis for dims in call.tensors() for axis in dims if axis is not into and axis is not reads], STATE)
    outs = [Dims(axes.stuck(n, STATE) for n in shape) for shape in call.shapes]
    return outs if len(outs) > 1 else outs[0]


@rule("_weight_norm", "_weight_norm_interface", removing=True)
def weight_norm(axes: Removing, call: OperatorCall) -> Any:
    """A zero adds nothing to a norm. v itself is divided by its norm, so its zeros come from g alone."""
    v, g, dim = call.given["v"], call.given["g"], call.given["dim"]
    axes.join(v[dim], g[dim])
    axes.normalised.append(v[dim])
    return Dims(v) if len(call.shapes) == 1 else [Dims(v), Dims(g)]


@rule("mean", "amax", "amin", "var", "std", "prod", "logsumexp", "any", "all", removing=True)
def statistics(axes: Removing, call: OperatorCall) -> Dims:
    """Their number, or a single one of them, decides."""
    x, dims = call.given["self"], call.given.get("dim")
    over = [dims] if isinstance(dims, int) else dims or range(len(x))
    axes.freeze([x[dim] for dim in over], f"`{call.name}` is taken over them")
    return RULES["mean"](axes, call)


@rule("layer_norm", "rms_norm", removing=True)
def layer_norm(axes: Removing, call: OperatorCall) -> Dims:
    """Over the last axes together."""
    axes.freeze(call.given["input"][-len(call.given["normalized_shape"]) :], f"`{call.name}` normalises them together")
    return RULES["layer_norm"](axes, call)


@rule("group_norm", removing=True)
def group_norm(axes: Removing, call: OperatorCall) -> Dims:
    """Whole groups may be removed: each is normalised separately."""
    x, groups = call.given["input"], call.given["num_groups"]
    if groups == 1:
        axes.freeze((x[1],), f"`{call.name}` normalises them together")
    elif groups < len(x[1]):
        axes.join(x[1], numpy.repeat(axes.fresh(groups), len(x[1]) // groups))
    axes.join(x[1], call.vector("weight"), call.vector("bias"))
    return Dims(x)
