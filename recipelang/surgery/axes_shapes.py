"""The rules of `axes` for operations that move, split, concatenate or reduce axes."""

from __future__ import annotations

from itertools import accumulate

import numpy

from recipelang.surgery.axes import SPACE, Axes, Axis, Dims, NoRule, OperatorCall, broadcast, rule


@rule("permute", "transpose", "swapaxes", "swapdims", "t", "numpy_T", "mT")
def permute(axes: Axes, call: OperatorCall) -> Dims:
    """The axes in another order."""
    x = call.given["self"]
    order = list(range(len(x)))
    if call.name == "permute":
        order = [dim % len(x) for dim in call.given["dims"]]
    elif call.name == "numpy_T":
        order.reverse()
    elif len(x) > 1:
        named = [value for name, value in call.given.items() if name != "self"]
        first, second = named if named else (-2, -1)
        order[first], order[second] = order[second], order[first]
    return Dims(x[k] for k in order)


@rule("movedim", "moveaxis")
def move(axes: Axes, call: OperatorCall) -> Dims:
    """Some axes moved to other places, the rest in their order."""
    x = call.given["self"]
    ends = [call.given[name] for name in ("source", "destination")]
    source, destination = ([k % len(x) for k in ([end] if isinstance(end, int) else end)] for end in ends)
    rest = iter([axis for k, axis in enumerate(x) if k not in source])
    placed = dict(zip(destination, source, strict=True))
    return Dims(x[placed[k]] if k in placed else next(rest) for k in range(len(x)))


@rule(
    "view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "_unsafe_view", "_reshape_alias", "view_as",
    "reshape_as", "ravel",
)  # fmt: skip
def reshape(axes: Axes, call: OperatorCall) -> Dims:
    """Axes that stay whole are kept; where axes are split or merged, all of those involved are frozen."""
    x, shape = next(call.tensors()), call.shapes[0]
    old = [axis for axis in x if len(axis) > 1]
    new = [size for size in shape if size > 1]
    kept: list[Axis] = []
    while old and new:
        a, b = [old.pop(0)], [new.pop(0)]
        while (before := numpy.prod([len(axis) for axis in a])) != (after := numpy.prod(b)):
            (a.append(old.pop(0)) if before < after else b.append(new.pop(0)))
        if len(a) == len(b) == 1:
            kept += a
        else:
            why = f"`{call.name}` splits or merges them"
            axes.freeze(a, why)
            kept += [axes.stuck(size, why) for size in b]
    left = iter(kept)
    return Dims(next(left) if size > 1 else axes.fresh(size) for size in shape)


@rule("expand", "broadcast_to")
def expand(axes: Axes, call: OperatorCall) -> Dims:
    """A single element is broadcast: the same everywhere, so its order does not matter."""
    return broadcast(axes, [call.given["self"]], call.shapes[0])


@rule("repeat")
def repeat(axes: Axes, call: OperatorCall) -> Dims:
    """Every axis repeated a number of times."""
    x, times = call.given["self"], call.given["repeats"]
    x = Dims((*(axes.fresh(1) for _ in range(len(times) - len(x))), *x))
    return Dims(
        axis if n == 1 else axes.fresh(n) if len(axis) == 1 else numpy.tile(axis, n)
        for axis, n in zip(x, times, strict=True)
    )


@rule("repeat_interleave")
def repeat_each(axes: Axes, call: OperatorCall) -> Dims:
    """Every index of an axis the same number of times, one after another."""
    x, times, dim = call.given["self"], call.given["repeats"], call.given["dim"]
    if not isinstance(times, int) or dim is None:
        raise NoRule
    return x.at(dim, numpy.repeat(x[dim], times))


@rule("select")
def select(axes: Axes, call: OperatorCall) -> Dims:
    """One index of an axis: only that one is distinguished from the others."""
    x, dim, index = call.given["self"], call.given["dim"], call.given["index"]
    dim, index = dim % len(x), index % len(x[dim])
    axes.freeze((x[dim][index : index + 1],), "one of them is used separately")
    return Dims(axis for k, axis in enumerate(x) if k != dim)


@rule("slice", "narrow")
def cut_out(axes: Axes, call: OperatorCall) -> Dims:
    """Some indices of an axis."""
    x, dim = call.given["self"], call.given["dim"]
    start = call.given["start"]
    end = start + call.given["length"] if call.name == "narrow" else call.given["end"]
    piece = x[dim][start : end : call.given.get("step", 1)]
    return x if len(piece) == len(x[dim]) else x.at(dim, piece)


@rule("chunk", "split", "split_with_sizes", "tensor_split")
def cut_up(axes: Axes, call: OperatorCall) -> list[Dims]:
    """Pieces that follow each other."""
    x, dim = call.given["self"], call.given["dim"]
    ends = list(accumulate(shape[dim] for shape in call.shapes))
    return [x.at(dim, x[dim][a:b]) for a, b in zip([0, *ends], ends, strict=False)]


@rule("unbind")
def unbind(axes: Axes, call: OperatorCall) -> list[Dims]:
    """Every index separately."""
    x, dim = call.given["self"], call.given["dim"]
    axes.freeze((x[dim],), "each of them is used separately")
    return [Dims(axis for k, axis in enumerate(x) if k != dim % len(x)) for _ in call.shapes]


@rule("cat", "concat", "concatenate")
def concatenate(axes: Axes, call: OperatorCall) -> Dims:
    """One after another along an axis; along the others index by index."""
    parts, dim = list(call.tensors()), call.given["dim"]
    if len({len(part) for part in parts}) != 1:  # torch accepts an empty vector among them
        raise NoRule
    joined = numpy.concatenate([axes.record(part[dim]) for part in parts])
    return Dims(
        joined if k == dim % len(parts[0]) else axes.join(*met) for k, met in enumerate(zip(*parts, strict=True))
    )


@rule("stack")
def stack(axes: Axes, call: OperatorCall) -> Dims:
    """Side by side along a new axis."""
    parts, shape = list(call.tensors()), call.shapes[0]
    whole = [axes.join(*met) for met in zip(*parts, strict=True)]
    dim = call.given["dim"] % len(shape)
    whole.insert(dim, axes.stuck(shape[dim], "each of them is a tensor of its own"))
    return Dims(whole)


@rule("pad", "constant_pad_nd")
def pad(axes: Axes, call: OperatorCall) -> Dims:
    """The same number before and after; any other padding depends on the order."""
    x, amounts = call.given["self"], call.given["pad"]
    mode = call.given.get("mode", "constant")
    for k in range(len(amounts) // 2):
        before, after = amounts[2 * k : 2 * k + 2]
        axis = x[-1 - k]
        if mode != "constant" and (before or after):
            axes.freeze((axis,), SPACE)
            x = x.at(-1 - k, axes.stuck(len(axis) + before + after, SPACE))
        elif before or after:
            inner = axis[max(0, -before) : len(axis) + min(0, after)]
            parts = [axes.fresh(max(0, before)), axes.record(inner), axes.fresh(max(0, after))]
            x = x.at(-1 - k, numpy.concatenate(parts))
    return x


@rule("roll", "flip")
def turn(axes: Axes, call: OperatorCall) -> Dims:
    """The indices of some axes in another order."""
    x, dims = call.given["self"], call.given["dims"]
    turned = {dim % len(x) for dim in dims} or set(range(len(x)))
    why = f"`{call.name}` gives them another order"
    axes.freeze([x[k] for k in turned], why)
    return Dims(axes.stuck(len(axis), why) if k in turned else axis for k, axis in enumerate(x))


@rule("mean", "sum", "amax", "amin", "var", "std", "linalg_vector_norm", "norm", "prod", "logsumexp", "any", "all")
def reduce(axes: Axes, call: OperatorCall) -> Dims:
    """Reduced: the order within an axis that is removed does not matter."""
    x, dims = call.given["self"], call.given.get("dim")
    dims = [dims] if isinstance(dims, int) else dims or range(len(x))
    gone = {dim % len(x) for dim in dims}
    if call.given.get("keepdim"):
        return Dims(axes.fresh(1) if k in gone else axis for k, axis in enumerate(x))
    return Dims(axis for k, axis in enumerate(x) if k not in gone)
