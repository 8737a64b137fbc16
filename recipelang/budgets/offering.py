"""What a network offers for removal, what a statement asks of it, and both in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from recipelang.errors import Refusal
from recipelang.kinds import Offer, Unit
from recipelang.scoring.weights import batchnorm_scales, of_groups
from recipelang.surgery.network import Network
from recipelang.units import counted
from recipelang.verbs.prune import Prune


def offered(operation: Prune, network: Network) -> Offer:
    """What the network offers of the unit; groups of channels that no BatchNorm scales stay where that is what ranks.

    Raises:
        Refusal: RCP0910: nothing can be removed; RCP0703: an entry of the selection matches nothing; RCP0916: the
            criterion needs BatchNorm, and none scales a channel that can be removed.
    """
    unit = operation.unit
    offer: Offer = unit.find(network, operation.selection)
    if unit.ranks != "filter" or "batchnorm" not in operation.criterion.needs:
        return offer
    scaled = of_groups(offer.groups, batchnorm_scales(network.module), "scales")
    if not scaled:
        message = f"`{operation.criterion.name}` needs BatchNorm, and none scales the {unit.name} that can be removed"
        raise Refusal("RCP0916", message, "`by magnitude` or `by taylor`")
    groups = tuple(group for group in offer.groups if group.name in scaled)
    bare = {group.name: "no BatchNorm scales it" for group in offer.groups if group.name not in scaled}
    return replace(offer, groups=groups, stay={**bare, **offer.stay})


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
