"""A network made an ensemble of copies of itself: its edit, its restrictions, and a selection of its modules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from glob import escape

from recipelang.plan import Selection, Selector
from recipelang.surgery.averaged import MEMBERS, multiplied
from recipelang.surgery.edits import apply_edits
from recipelang.surgery.edits.ensemble import Ensemble
from recipelang.surgery.network import Network
from recipelang.surgery.selectors import resolve


def ensemble(network: Network, members: int) -> Network:
    """Copies of a network, each with its restrictions, as one network that averages their answers.

    Raises:
        Refusal: RCP0701: it is a single layer; RCP0702: the answer is not that of the network.
    """
    made = apply_edits(network, [Ensemble(members)])
    return replace(made, restrictions=multiplied(network.restrictions, members))


def in_members(network: Network, selection: Selection, members: int) -> Selection:
    """What of the ensemble is selected by a selection of the network, which may name modules, types, first or last.

    Raises:
        Refusal: RCP0703: an entry matches nothing.
    """
    chosen = resolve(network.module, selection)
    if selection.include:
        return Selection(include=_in_each(chosen, members))
    kept = set(chosen)
    return Selection(
        exclude=_in_each((path for path, _ in network.module.named_modules() if path and path not in kept), members)
    )


def _in_each(paths: Iterable[str], members: int) -> tuple[Selector, ...]:
    return tuple(Selector("glob", f"{MEMBERS}.{number}.{escape(path)}") for path in paths for number in range(members))
