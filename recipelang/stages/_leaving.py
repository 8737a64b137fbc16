"""How the parts that a training has decided about leave the network, physically and with parity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from recipelang.budgets.tally import Tally
from recipelang.errors import Refusal
from recipelang.kinds import Decided, Finished, Group, Offer, Queue
from recipelang.plan import Selection
from recipelang.scoring.ranking import Ranking, require_finite
from recipelang.surgery.edits import apply_edits
from recipelang.surgery.network import Network
from recipelang.surgery.parity import TOLERANCE, answers_in, largest_difference
from recipelang.surgery.restrictions.mask import SHARE, Mask
from recipelang.surgery.tracing import evaluating, example_input
from recipelang.surgery.without_numbers import few_images
from recipelang.units import counted


def removed(left: Finished, by: str) -> Finished:
    """What companions leave, without the parts that they have decided to remove.

    Args:
        left: its network still holds those parts.
        by: the names of the companions, for the reasons of what stays.

    Raises:
        Refusal: RCP0702: a removal is not exact; RCP0756: a mask would leave its pattern; RCP1006: a score is not a
            finite number.
    """
    for number, decided in enumerate(left.decided):
        one = _again(decided, left.network) if number else decided
        network, tally = _without(left.network, one, by)
        note = (left.note, *tally.remarks, tally.staying)
        left = replace(
            left,
            network=network,
            reached=(*left.reached, tally.reached),
            edits=(*left.edits, *tally.edits),
            ranking=(*left.ranking, *tally.rows),
            note="; ".join(filter(None, note)),
        )
    return replace(left, decided=(), network=_without_idle_masks(left.network))


def _again(one: Decided, network: Network) -> Decided:
    """The same decision about a network from which parts of another unit have been removed.

    Groups that it does not have any more in this form stay.
    """
    if one.unit.ranks == "layer":  # layers are found by their path, whatever their width
        return one
    try:
        offer = one.unit.find(network, Selection())
    except Refusal:  # every group of it is down to its least number
        offer = Offer((), {})
    sizes = {group.name: group.size for group in one.offer.groups if group.name in one.scores}
    groups = tuple(group for group in offer.groups if sizes.get(group.name) == group.size)
    lost = sizes.keys() - {group.name for group in groups}
    why = "without the parts that were removed before, its channels are coupled in another way"
    return replace(one, offer=replace(offer, groups=groups, stay=dict.fromkeys(sorted(lost), why)))


def _without_idle_masks(network: Network) -> Network:
    """Without masks that keep every weight: all columns that they removed were cut with the channels that they read."""
    idle = {name for name, mask in network.masks.items() if SHARE.match(mask.pattern) and bool(mask.keep.all())}
    kept = {
        place: tuple(one for one in each if not (place in idle and isinstance(one, Mask)))
        for place, each in network.restrictions.items()
    }
    return replace(network, restrictions={place: each for place, each in kept.items() if each}) if idle else network


def _without(network: Network, one: Decided, by: str) -> tuple[Network, Tally]:
    """The network without what may go, and what is told of it."""
    require_finite(one.scores)
    groups = [group for group in one.offer.groups if group.name in one.scores]
    going = {group.name: _going(group, one.scores[group.name], one.gone[group.name]) for group in groups}
    chosen, inexact = _exactly(network, one, {name: parts for name, parts in going.items() if parts})
    smaller, stays = one.unit.remove(network, one.offer, chosen)
    gone = {name: parts for name, parts in chosen.items() if name not in stays}
    ranking = Ranking(
        tuple(Queue(group, tuple(one.scores[group.name].tolist()), (), one.unit.name) for group in groups),
        {group.name: float(one.scores[group.name].double().mean()) for group in groups},
    )
    tally = Tally(one.unit, by)
    tally.add(one.offer, ranking, gone, {**inexact, **stays})
    told = (_nothing(one, groups), _collapsed(one, groups), _rounded(one, groups, going))
    tally.remarks += [remark for remark in told if remark]
    return smaller, tally


def _going(group: Group, scores: Tensor, gone: Tensor) -> list[int]:
    """The parts of a group that leave, the smallest scores first: of those that may go as many as leave a width that
    the group may have, and at least its least number."""
    stay = max(int((~gone).sum()), group.least)
    count = group.size - -(-stay // group.step) * group.step
    free = [part for part in scores.sort(stable=True).indices.tolist() if gone[part]]
    return free[: max(0, count)]


def _exactly(
    network: Network, one: Decided, going: Mapping[str, Sequence[int]]
) -> tuple[dict[str, Sequence[int]], dict[str, str]]:
    """The parts without which the network computes what it does with them, and why those of other groups stay."""
    example = few_images(network.module, example_input(network))
    with evaluating(network.module):
        expected = answers_in(network.module(example))

    def difference(names: Sequence[str]) -> float:
        edits = one.unit.edits(network, one.offer, {name: going[name] for name in names})
        cut = apply_edits(network, edits, check=False)
        with evaluating(cut.module):
            return largest_difference(answers_in(cut.module(example)), expected)

    if not going or difference(list(going)) <= TOLERANCE:
        return dict(going), {}
    good: list[str] = []
    stay: dict[str, str] = {}
    for name in going:  # rare: something is made of these parts even where the companion made them of no effect
        if (found := difference([*good, name])) <= TOLERANCE:
            good.append(name)
        else:
            stay[name] = f"without what it would lose the network computes something else: {found:.1e}"
    return {name: going[name] for name in good}, stay


def _nothing(one: Decided, groups: Sequence[Group]) -> str:
    """That the training has decided about nothing."""
    if any(bool(one.gone[group.name].any()) for group in groups):
        return ""
    return (
        f"no {one.unit.one} lost its effect, so none is removed; a longer training or a stronger penalty removes more"
    )


def _collapsed(one: Decided, groups: Sequence[Group]) -> str:
    """Which groups would have lost everything, and keep their least number."""
    whole = [group.name for group in groups if group.least and bool(one.gone[group.name].all())]
    if not whole:
        return ""
    shown = ", ".join(f"`{name}`" for name in whole[:4]) + (f" and {len(whole) - 4} more" if len(whole) > 4 else "")
    loses, keeps = ("loses", "it keeps") if len(whole) == 1 else ("lose", "each keeps")
    return f"collapsed: {shown} {loses} every {one.unit.one}, so {keeps} one; a weaker penalty leaves more"


def _rounded(one: Decided, groups: Sequence[Group], going: Mapping[str, Sequence[int]]) -> str:
    """How many parts stay for the width's sake."""
    kept = sum(
        int(one.gone[group.name].sum()) - len(going[group.name]) - (group.least * bool(one.gone[group.name].all()))
        for group in groups
    )
    if kept <= 0:
        return ""
    finer = f"; `{one.unit.name}(round=1)` removes them" if hasattr(one.unit, "round") else ""
    return f"{counted(kept, one.unit.one)} without effect stay, so that widths are rounded{finer}"
