"""The rules of removal for operations that split, merge, slice and shuffle axes: what leaves in blocks, what the code
counts."""

from __future__ import annotations

import math
from itertools import accumulate, pairwise

import numpy

from recipelang.surgery.axes import RULES, SPACE, Axis, Dims, NoRule, OperatorCall, rule
from recipelang.surgery.axes_removal import Removing

LOOKED_UP = "they are looked up by number"


@rule(
    "view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "_unsafe_view", "_reshape_alias", "view_as",
    "reshape_as", "ravel", removing=True,
)  # fmt: skip
def reshape(axes: Removing, call: OperatorCall) -> Dims:
    """Axes are split into factors and merged from them; of the factors of each, one may be removed."""
    old = [axis for axis in next(call.tensors()) if len(axis) > 1]
    new = [size for size in call.shapes[0] if size > 1]
    made: list[Axis] = []
    while old and new:
        a, b = [old.pop(0)], [new.pop(0)]
        while (before := math.prod(map(len, a))) != (after := math.prod(b)):
            (a.append(old.pop(0)) if before < after else b.append(new.pop(0)))
        made += a if len(a) == len(b) == 1 else _refactored(axes, a, b, f"`{call.name}` splits or merges them")
    rest = iter(made)
    return Dims(next(rest) if size > 1 else axes.fresh(1) for size in call.shapes[0])


def _refactored(axes: Removing, old: list[Axis], new: list[int], why: str) -> list[Axis]:
    """Axes of the new sizes, made of the factors that both the old and the new ones are products of."""
    ends = [1, *sorted({*accumulate(map(len, old), int.__mul__), *accumulate(new, int.__mul__)})]
    if any(b % a for a, b in pairwise(ends)):
        axes.freeze(old, why)
        return [axes.stuck(size, why) for size in new]
    factors = [b // a for a, b in pairwise(ends)]
    parts: list[Axis] = []
    for axis in old:
        sizes = _leading(factors[len(parts) :], len(axis))
        parts += [axis] if len(sizes) == 1 else _split(axes, axis, [axes.fresh(size) for size in sizes], why)
    made, used = [], 0
    for size in new:
        merged = parts[used : used + len(_leading(factors[used:], size))]
        used += len(merged)
        made.append(merged[0] if len(merged) == 1 else _merged(axes, axes.fresh(size), merged, why))
    return made


def _leading(factors: list[int], size: int) -> list[int]:
    """The first factors, whose product this size is."""
    taken: list[int] = []
    while math.prod(taken) < size:
        taken.append(factors[len(taken)])
    return taken


def _split(axes: Removing, axis: Axis, parts: list[Axis], why: str) -> list[Axis]:
    """An axis as the product of these."""
    # Of three the middle one (q k v × heads × width), otherwise the largest: it counts channels and not their copies.
    largest_first = sorted(range(len(parts)), key=lambda k: -len(parts[k]))
    site, pick = axes.choose([1, 2, 0] if len(parts) == 3 else largest_first)
    axes.factors[site] = {k: [part] for k, part in enumerate(parts)}
    _spread(axes, axis, parts, None if axes.stays(axis) else pick, why)
    return parts


def _merged(axes: Removing, axis: Axis, parts: list[Axis], why: str) -> Axis:
    """A new axis that is the product of these."""
    _spread(axes, axis, parts, next((k for k, part in enumerate(parts) if not axes.stays(part)), None), why)
    return axis


def _spread(axes: Removing, axis: Axis, parts: list[Axis], pick: int | None, why: str) -> None:
    """Join an axis with the factor of it that may be removed; the others stay, and all of it where there is none."""
    axes.products.append((axis, parts))
    if axes.exploring:
        return
    axes.freeze([part for k, part in enumerate(parts) if k != pick], why)
    if pick is None:
        axes.freeze((axis,), why)
    else:
        inner = math.prod(map(len, parts[pick + 1 :]))
        axes.join(axis, numpy.tile(numpy.repeat(parts[pick], inner), len(axis) // inner // len(parts[pick])))


@rule("chunk", "split", "split_with_sizes", "tensor_split", removing=True)
def cut_up(axes: Removing, call: OperatorCall) -> list[Dims]:
    """Pieces of one size lose the same places; others have sizes of their own, numbers that an edit changes."""
    dim, pieces = call.given["dim"], RULES["chunk"](axes, call)
    if len({len(piece[dim]) for piece in pieces}) == 1:
        axes.join(*(axes.record(piece[dim]) for piece in pieces))
    return list(pieces)


@rule("slice", "narrow", removing=True)
def cut_out(axes: Removing, call: OperatorCall) -> Dims:
    """The bounds are numbers that an edit changes; those that count from the end, or in steps, stay."""
    x, dim, out = call.given["self"], call.given["dim"], RULES["slice"](axes, call)
    bounds = [call.given.get(name) or 0 for name in ("start", "end")]
    if len(out[dim]) < len(x[dim]) and (min(bounds) < 0 or call.given.get("step", 1) != 1):
        axes.freeze((x[dim],), "a slice counts from a fixed place")
    return out


@rule("select", removing=True)
def select(axes: Removing, call: OperatorCall) -> Dims:
    """Everything before it stays, or after it where it is counted from the end."""
    axis, index = call.given["self"][call.given["dim"]], call.given["index"]
    axes.freeze((axis[: index + 1] if index >= 0 else axis[index:],), "one of them is used separately")
    return RULES["select"](axes, call)


@rule("pad", "constant_pad_nd", removing=True)
def pad(axes: Removing, call: OperatorCall) -> Dims:
    """How much is added stands in the code."""
    out = RULES["pad"](axes, call)
    for old, new in zip(call.given["self"], out, strict=True):
        if old is not new:
            added = new if call.given.get("value") else new[~numpy.isin(new, old)]
            axes.freeze((added,), "they are padding of a fixed width")
    return out


@rule("pixel_shuffle", "pixel_unshuffle", removing=True)
def pixel_shuffle(axes: Removing, call: OperatorCall) -> Dims:
    """Every r² channels become one, or one becomes r²."""
    x, shape = call.given["self"], call.shapes[0]
    axes.freeze(x[-2:], SPACE)
    if call.name == "pixel_unshuffle":
        out = numpy.repeat(x[-3], shape[-3] // len(x[-3]))
    else:
        out = axes.fresh(shape[-3])
        axes.join(x[-3], numpy.repeat(out, len(x[-3]) // shape[-3]))
    return Dims((*x[:-3], out, *(axes.stuck(n, SPACE) for n in shape[-2:])))


@rule("channel_shuffle", "native_channel_shuffle", removing=True)
def channel_shuffle(axes: Removing, call: OperatorCall) -> Dims:
    """groups × columns become columns × groups; the same column of every group leaves."""
    x, groups = call.given.get("self") or call.given["input"], call.given["groups"]
    axes.join(x[1], numpy.tile(axes.fresh(len(x[1]) // groups), groups))
    return x.at(1, x[1].reshape(groups, -1).T.flatten())


@rule("index", removing=True)
def look_up(axes: Removing, call: OperatorCall) -> Dims:
    """Axes that are looked up by number stay, if they are beside each other; those before and after may be removed."""
    x, asked = call.given["self"], [k for k, index in enumerate(call.given["indices"]) if index is not None]
    first, last = asked[0], asked[-1] + 1
    if asked != list(range(first, last)):
        raise NoRule
    axes.freeze(x[first:last], LOOKED_UP)
    middle = call.shapes[0][first : len(call.shapes[0]) - len(x) + last]
    return Dims((*x[:first], *(axes.stuck(n, LOOKED_UP) for n in middle), *x[last:]))
