"""Make the elements of weights share a few values."""

from __future__ import annotations

import torch
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.kinds import Figure
from recipelang.kinds.figure import words
from recipelang.stages._reasons import by_reason
from recipelang.stages.context import Context, Foresight, Known, Outcome
from recipelang.surgery.finite import finite
from recipelang.surgery.network import Network
from recipelang.surgery.quantizing import Places, places_of, require_apart
from recipelang.surgery.restricting import restrict
from recipelang.surgery.restrictions.shared import Shared
from recipelang.surgery.sparse import sparse_float_bytes
from recipelang.verbs.share import Share


def run(operation: Share, context: Context) -> Outcome:
    """Group the elements of the weights of the selection, and make each group its value.

    Raises:
        Refusal: RCP1403: the selection has no weight that can share; RCP1480: one is quantized; RCP1010: one is NaN
            or infinite.
    """
    found = _require(operation, context.network)
    shared: dict[str, Shared] = {}
    values: dict[str, Tensor] = {}
    for name in found.weights:
        shared[name], values[name] = _shared(operation, context, name)
    network = restrict(context.network, shared, values)
    told = tuple(f"`{name}` has {_told(one, values[name])}" for name, one in shared.items())
    return Outcome(network, reached=(*_counted(operation, found), *_sizes(shared)), note=_left(found), edits=told)


def foresee(operation: Share, network: Network, known: Known) -> Foresight:
    """How many weights share values, and which do not.

    Raises:
        Refusal: RCP1403: none can; RCP1480: one is quantized.
    """
    found = _require(operation, network)
    return Foresight(tuple(filter(None, (words(_counted(operation, found)), _left(found)))))


def _require(operation: Share, network: Network) -> Places:
    found = places_of(network, operation.selection, ("weights",))
    require_apart(network, found.weights, "grid", "codebook")
    if not found.weights:
        reasons = "; ".join(f"`{name}`: {why}" for name, why in list(found.floating.items())[:3])
        raise Refusal(
            "RCP1403",
            f"no weight here can share values: {reasons or 'the selection computes no product'}",
            "name more modules in `in`, or fewer in `except`",
        )
    return found


@torch.no_grad()
def _shared(operation: Share, context: Context, name: str) -> tuple[Shared, Tensor]:
    """The groups of a weight, and the weight as they make it."""
    weight = context.network.module.get_parameter(name).detach().cpu().float()
    finite(f"a number at `{name}`", weight)
    mask = context.network.masks.get(name)
    kept = torch.ones_like(weight, dtype=torch.bool) if mask is None else mask.keep.cpu()
    codes = torch.full(weight.shape, -1, dtype=torch.int16)
    levels = torch.zeros(1)
    if bool(kept.any()):
        levels = operation.sharing.values(weight[kept], 2**operation.bits, context.seed).float().sort().values
        codes[kept] = nearest(weight[kept], levels).to(torch.int16)
    one = Shared(codes, len(levels), operation.sharing.gradient)
    return one, one.values(levels)


def nearest(numbers: Tensor, levels: Tensor) -> Tensor:
    """The number of the nearest of rising levels."""
    middles = (levels[1:].double() + levels[:-1].double()) / 2
    return torch.bucketize(numbers.double(), middles)


def _told(one: Shared, value: Tensor) -> str:
    kept = int((one.codes >= 0).sum())
    return f"{one.name} for {kept:,} of {one.codes.numel():,} elements: {one.stored(value):,} B"


def _counted(operation: Share, found: Places) -> tuple[Figure, ...]:
    of = len(found.weights) + len(found.floating)
    what = f"{'shares' if of == 1 else 'share'} {2**operation.bits} values each"
    return (Figure(what, len(found.weights), noun="weight", of=of if found.floating else None),)


def _sizes(shared: dict[str, Shared]) -> tuple[Figure, ...]:
    """Bytes of these weights as float32, without their zeros, and shared."""
    numbers = sum(one.codes.numel() for one in shared.values())
    pruned = sum(sparse_float_bytes(one.codes >= 0) for one in shared.values())
    stored = sum(one.stored(None) for one in shared.values())
    zeros = (Figure("without zeros", pruned, "B"),) if pruned < 4 * numbers else ()
    return (Figure("float32", 4 * numbers, "B", joins=":"), *zeros, Figure("shared", stored, "B"))


def _left(found: Places) -> str:
    """Which weights stay as they are, and why."""
    return f"as they are: {'; '.join(by_reason(found.floating, 'weight'))}" if found.floating else ""
