"""Give weights and activations the grids of few bits, and keep them with the network."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from recipelang.errors import Refusal
from recipelang.kinds import Dataset, Figure, Observed, Restriction
from recipelang.kinds.figure import words
from recipelang.scoring.streams import See, extremes, numbers
from recipelang.stages._joint import jointly
from recipelang.stages._made import made
from recipelang.stages._reasons import by_reason
from recipelang.stages._rounded import rounded
from recipelang.stages._widths import foreseen, searched
from recipelang.stages.context import Context, Foresight, Known, Outcome
from recipelang.surgery.network import Network
from recipelang.surgery.places import at_places, reads
from recipelang.surgery.quantizing import Places, activation_grids, attending, places_of, require_apart, weight_grids
from recipelang.surgery.restricting import on_device
from recipelang.surgery.simulated import computing
from recipelang.training.smoke import few
from recipelang.units import counted
from recipelang.verbs.quantize import Quantize

#: values of an activation that an estimator sees where extremes are not enough
SEEN = 2**16


def run(operation: Quantize, context: Context) -> Outcome:
    """Quantize the weights and what products and sums of the selection read.

    Raises:
        Refusal: RCP1403: the selection has nothing that can be quantized; RCP1010: a number is NaN or infinite;
            RCP1008: there is no data to observe; RCP1434: a rounder needs uniform grids;
            RCP1439: a source cannot make samples of this network; RCP1454: a mask would not stay; RCP1480: a weight
            shares its values.
        OutOfReach: RCP0904: a budget of widths cannot be met.
    """
    context = replace(context, network=attending(context.network, operation.selection))
    network, found = _require(operation, context.network)
    source, told = operation.samples.source if operation.samples else None, ""
    observed = partial(_observed, operation)
    if source is not None:
        data, told = made(source, replace(context, network=network))
        observed = partial(_observed, operation, instead=data)
        context = replace(context, data=context.data if operation.widths else data)
    if operation.widths is not None:
        done, found = searched(operation, replace(context, network=network), found, observed)
        return replace(done, note="; ".join(filter(None, (told, done.note, _left(found)))))
    together: dict[str, Restriction] = {}
    if operation.estimator.needs == "loss":
        together, found = jointly(operation, replace(context, network=network), found, observed)
        grids = {place: one for place, one in together.items() if place in found.weights}
    else:
        grids = weight_grids(network, found.weights, operation.bits, operation.estimator, operation.hardware)
    said = ""
    if operation.rounder and grids:
        rounding = rounded(operation.rounder, replace(context, network=network), grids, operation.samples)
        network, grids, said = rounding.network, dict(rounding.grids), rounding.note
    if together:
        grids |= {place: one for place, one in together.items() if place not in found.weights}
    elif found.activations:
        seen = observed(context, network.restricted(grids), found.activations)
        seen, found = found.wanting(operation.estimator, seen)
        grids |= activation_grids(seen, operation.bits, operation.estimator, operation.hardware)
    return Outcome(
        network.clone().restricted(grids),
        reached=_counted(found, operation.bits),
        note="; ".join(filter(None, (told, said, _left(found)))),
        edits=tuple(f"`{place}` has {grid.name}" for place, grid in grids.items()),
    )


def foresee(operation: Quantize, network: Network, known: Known) -> Foresight:
    """How many weights and activations get grids, and what stays in floating point.

    Raises:
        Refusal: RCP1403: there is nothing to quantize. RCP1439: a source cannot make samples of this network.
    """
    network, found = _require(operation, attending(network, operation.selection))
    if operation.samples is not None and operation.samples.source is not None:
        operation.samples.source.require_network(network)
    if operation.widths is not None:
        return foreseen(operation, network, found, _left(found))
    return Foresight(tuple(filter(None, (words(_counted(found, operation.bits)), _left(found)))))


def _require(operation: Quantize, network: Network) -> tuple[Network, Places]:
    """The network that is quantized, and what of it."""
    network, selection = operation.estimator.prepared(network, operation.selection)
    found = places_of(network, selection, operation.parts, operation.estimator)
    require_apart(network, found.weights, "shared")
    if found.activations and not operation.estimator.observes:
        known, why = operation.estimator.known(network, found.activations)
        # by place: several of them may be of one module, for different reasons
        found = replace(found, activations=tuple(known), inputs={**found.inputs, **why})
        if not known:
            raise Refusal(
                "RCP1439",
                f"`{operation.estimator.name}` looks at no data, and knows the range of no activation here: "
                f"{next(iter(why.values()))}",
                "write `by minmax`, which observes data",
            )
    if not found.weights and not found.activations:
        reasons = "; ".join(f"`{name}`: {why}" for name, why in list(found.floating.items())[:3])
        raise Refusal(
            "RCP1403",
            f"nothing here can be quantized: {reasons or 'the selection computes no product and no sum'}",
            "name more modules in `in`, or fewer in `except`",
        )
    return network, found


def _observed(
    operation: Quantize, context: Context, network: Network, places: Collection[str], instead: Dataset | None = None
) -> Mapping[str, Observed]:
    """What passes these places while everything that already has a grid is rounded.

    Args:
        instead: what is observed in place of the context's data.
    """
    if not operation.estimator.observes:
        return operation.estimator.known(network, tuple(places))[0]
    context = replace(context, data=instead) if instead is not None else context
    module = copy.deepcopy(network.module).to(context.device).eval()
    active = computing(on_device(network.restrictions, context.device))

    def watch(see: See) -> AbstractContextManager[Any]:
        def change(place: str, value: Tensor) -> Tensor:
            if place in places:
                see(place, value)
                return value
            for one in active.get(place, ()):
                value = one.apply(value)
            return value

        return at_places(module, change, reading=reads((*places, *active)))

    def passes(what: str) -> Iterable[Any]:
        return _inputs(operation, context, what)

    seen = extremes(module, watch, passes)
    values = {} if operation.estimator.needs == "extremes" else numbers(module, watch, passes, SEEN, context.seed)
    return {place: Observed(ends.low.cpu(), ends.high.cpu(), _cpu(values.get(place))) for place, ends in seen.items()}


def _cpu(values: Tensor | None) -> Tensor | None:
    return None if values is None else values.cpu()


def _inputs(operation: Quantize, context: Context, what: str) -> Iterator[Any]:
    """The inputs that are observed, on the device."""
    samples = operation.samples
    assert samples is not None  # the verb's: activations have some
    total = min(few(samples.count, context.smoke) or context.data.size(samples.split), context.data.size(samples.split))
    if not total:
        raise Refusal(
            "RCP1008",
            f"the data `{context.data.name}` has no {samples.split} samples, and activations must be observed",
            "use data with this split, or write `quantize weights`",
        )
    context.progress.start(what, total)
    try:
        for images, _ in context.data.batches(samples.split, samples=total, seed=context.seed):
            yield images.to(context.device)
            context.progress.advance(len(images))
    finally:
        context.progress.stop()


def _counted(found: Places, bits: int) -> tuple[Figure, ...]:
    """`56 of 57 weights have 8 bits and 82 activations have 8 bits`."""
    of = len(found.weights) + len(found.floating)
    weights = Figure(_have(of, bits), len(found.weights), noun="weight", of=of if found.floating else None)
    seen = len(found.activations)
    activations = Figure(_have(seen, bits), seen, noun="activation", joins="and" if weights.value else "")
    return tuple(figure for figure in (weights, activations) if figure.value)


def _have(count: int, bits: int) -> str:
    return f"{'has' if count == 1 else 'have'} {counted(bits, 'bit')}"


def _left(found: Places) -> str:
    """What stays in floating point, and why, by reason."""
    parts = by_reason(found.floating, "weight", "of ") + by_reason(found.inputs, "input", "of ")
    return f"in floating point: {'; '.join(parts)}" if parts else ""
