"""What a network offers for removal, what a statement asks of it, and both in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from recipelang.errors import Refusal
from recipelang.kinds import Offer, Unit, voters
from recipelang.scoring.weights import batchnorm_scales, of_groups
from recipelang.surgery.edits import apply_edits
from recipelang.surgery.network import Network
from recipelang.surgery.products import products_of
from recipelang.units import counted
from recipelang.verbs.prune import Prune


def offered(operation: Prune, network: Network) -> Offer:
    """What the network offers of the unit; what has no BatchNorm, or no weight that a criterion rests on, stays.

    Raises:
        Refusal: RCP0910: nothing can be removed; RCP0703: an entry of the selection matches nothing; RCP0916: the
            criterion needs BatchNorm or such a weight, and nothing that can be removed has one.
    """
    unit = operation.unit
    offer: Offer = unit.find(network, operation.selection)
    for criterion in voters(operation.criterion):
        kinds: tuple[str, ...] = getattr(criterion, "rests_on", ())
        if "batchnorm" in criterion.needs:
            scales = batchnorm_scales(network.module)
            known = of_groups(offer.groups, scales, "scales") if unit.ranks == "filter" else _holding(offer, scales)
            offer = _having(offer, set(known), criterion.name, "BatchNorm", unit)
        if criterion.unit == "element" and unit.ranks == "filter":
            weights = {
                each.name: network.module.get_parameter(each.name) for each in products_of(network) if each.parameter
            }
            known = of_groups(offer.groups, weights, "makes")
            offer = _having(offer, set(known), criterion.name, "a weight that is a parameter", unit, "makes")
        if kinds and unit.ranks == "layer":
            names = [product.name for product in products_of(network) if product.kind in kinds]
            offer = _having(offer, _holding(offer, names), criterion.name, " or ".join(kinds), unit)
    return offer


def _having(offer: Offer, known: set[str], criterion: str, what: str, unit: Unit, how: str = "") -> Offer:
    """The groups that have what a criterion needs; others stay.

    Raises:
        Refusal: RCP0916: none has.
    """
    how = how or ("scales" if unit.ranks == "filter" else "is in")
    if not known:
        message = f"`{criterion}` needs {what}, and none {how} the {unit.name} that can be removed"
        raise Refusal("RCP0916", message, "`by magnitude` or `by taylor`")
    groups = tuple(group for group in offer.groups if group.name in known)
    bare = {group.name: f"no {what} {how} it" for group in offer.groups if group.name not in known}
    return replace(offer, groups=groups, stay={**bare, **offer.stay})


def _holding(offer: Offer, names: Iterable[str]) -> set[str]:
    """The groups in whose layers one of these parameters is."""
    known = tuple(names)
    return {
        group.name
        for group in offer.groups
        if any(name.startswith(f"{path}.") for path in group.layers for name in known)
    }


def wanted(operation: Prune, offer: Offer) -> int | None:
    """How many parts the statement asks for; None where a condition decides.

    Raises:
        Refusal: RCP0911: more than can be removed, or fewer than the widths allow.
    """
    if operation.count is None and operation.share is None:
        return None
    unit = operation.unit
    count = operation.count if operation.count is not None else round((operation.share or 0) * offer.size)
    asked = f"{counted(count, unit.one)} {'is' if count == 1 else 'are'} to be removed"
    if count > offer.most:
        of = f" of {offer.size}" if unit.many else ""
        raise Refusal(
            "RCP0911", f"{asked}, and {offer.most}{of} can be", "remove fewer; `recipe layers MODEL` lists them"
        )
    least = min(group.first for group in offer.groups)
    if 0 < count < least:
        message = f"{asked}, and rounded widths let {least} or more go"
        raise Refusal("RCP0911", message, f"remove more{_finer(unit)}")
    return count


def remaining(operation: Prune, network: Network) -> Offer:
    """What a network offers of a unit after some of it was removed; it may be nothing."""
    try:
        return offered(operation, network)
    except Refusal as refusal:
        if refusal.code not in ("RCP0910", "RCP0703"):
            raise
        return Offer((), {})


def emptied(operation: Prune, network: Network, offers: Sequence[Offer]) -> Network:
    """The network without anything that the statement may remove: how far it can go at most.

    Layers are removed first, and of the network without them all channels that may be.
    """
    pieces = sorted(zip(operation.alone, offers, strict=True), key=lambda pair: pair[0].unit.ranks != "layer")
    for number, (one, offer) in enumerate(pieces):
        if number:
            try:
                offer = offered(one, network)
            except Refusal:  # what it had vanished with the layers
                continue
        if not offer.groups:
            continue
        gone = {group.name: range(group.most) for group in offer.groups}
        network = apply_edits(network, one.unit.edits(network, offer, gone), check=False)
    return network


def described(operation: Prune, offer: Offer) -> Iterator[str]:
    """What a unit finds: a layer each, or groups of channels with the widths that they may have, and what stays."""
    unit, names = operation.unit, [group.name for group in offer.groups]
    if not unit.many:
        yield f"{counted(offer.most, unit.one)} can be removed: {_some(names)}"
        return
    groups = counted(len(names), "group")
    yield f"{offer.most:,} of {offer.size:,} {unit.name} can be removed, in {groups}: {_some(names)}"
    steps = sorted({group.step for group in offer.groups})
    if steps[-1] > 1:
        yield f"widths stay a multiple of {' or '.join(map(str, steps))}{_finer(unit)}"
    if offer.stay:
        first = next(iter(offer.stay))
        more = f", and {counted(len(offer.stay) - 1, 'more', 'more')}" if len(offer.stay) > 1 else ""
        yield f"stays whole: `{first}` ({offer.stay[first]}){more}"


def _finer(unit: Unit) -> str:
    """How a recipe allows more widths, where the unit has a setting for that."""
    return f"; `{unit.name}(round=1)` allows every width" if hasattr(unit, "round") else ""


def _some(names: list[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:4])
    return shown if len(names) <= 4 else f"{shown}, {'… ' * (len(names) > 5)}`{names[-1]}`"
