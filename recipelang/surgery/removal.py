"""Removing channels for good: the edit, held against the network in which their parameters are zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from recipelang.errors import Refusal
from recipelang.surgery import cutting
from recipelang.surgery.coupled import Removable
from recipelang.surgery.cutting import Chosen, CuttingTrial
from recipelang.surgery.edits import Edit, apply_edits
from recipelang.surgery.edits.remove_channels import RemoveChannels
from recipelang.surgery.edits.unfold_attention import UnfoldAttention
from recipelang.surgery.network import Network
from recipelang.surgery.parity import TOLERANCE, answers_in, largest_difference
from recipelang.surgery.randomised import hide_something
from recipelang.surgery.settling import settle
from recipelang.surgery.tracing import evaluating, example_input
from recipelang.surgery.without_numbers import few_images


@dataclass(frozen=True)
class Removed:
    """A network without some of its channels.

    Attributes:
        network: the new one.
        edit: what was removed, as it is in the network's log.
        stays: group → why its units could not be removed after all; usually empty.
    """

    network: Network
    edit: RemoveChannels
    stays: Mapping[str, str]


def edit_of(network: Network, found: Removable, chosen: Chosen) -> RemoveChannels:
    """The edit that removes these units; nothing is run, so that a search can try many.

    Args:
        network: that `found` was found in.
        found: of `find_removable`.
        chosen: name of a group → the numbers of the units that go.

    Raises:
        Refusal: RCP0755: nothing, or all of a group, would go.
    """
    return cutting.edit_of(network.module, found, chosen)


def edits_of(network: Network, found: Removable, chosen: Chosen) -> tuple[Edit, ...]:
    """The edits that remove these units from a network, as `edit_of`: attention of torch is unfolded before."""
    edit = edit_of(network, found, chosen)
    return (*unfolding(found, edit), edit)


def unfolding(found: Removable, edit: RemoveChannels) -> tuple[UnfoldAttention, ...]:
    """What has to be unfolded for a removal: the layers of attention of which something is cut."""
    cut = {name.rpartition(".")[0] for name in edit.names()}
    paths = tuple(path for path in found.unfolded if path in cut)
    return (UnfoldAttention(paths),) if paths else ()


def remove_channels(network: Network, found: Removable, chosen: Chosen) -> Removed:
    """A copy of the network without these units, compared with the one in which their parameters are zero.

    Where its own parameters may hide a wrong cut, or show one, the units are first removed from a copy with random
    ones, which tells the groups that have to stay. `find_removable` has done so with other units.

    Args:
        network: that `found` was found in; it is not changed. Its masks are cut as well.
        found: of `find_removable`.
        chosen: name of a group → the numbers of the units that go.

    Raises:
        Refusal: RCP0755: nothing, or all of a group, would go; RCP0756: a mask would not be in its pattern any more;
            RCP0702: parity does not hold.
    """
    edit = edit_of(network, found, chosen)  # refuses what cannot be meant, before anything is tried
    example = few_images(network.module, example_input(network))
    if not hide_something(network.module) and (edited := _exactly(network, found, edit, example)):
        return Removed(edited, edit, {})
    settled = settle(CuttingTrial(network.module, example, found), found, chosen)
    if not settled.chosen:
        why = next(iter(settled.stay.values()))
        raise Refusal("RCP0755", f"none of these channels can be removed: {why}", "choose other layers")
    edit = edit_of(network, settled.found, settled.chosen)
    before = unfolding(found, edit)
    copied = apply_edits(network, before, check=bool(before))
    if why := CuttingTrial(copied.module, example, found, own=True).refused(edit):
        raise Refusal(
            "RCP0702",
            f"{edit} is not exact: {why}",
            "choose other layers; `recipe layers MODEL` lists what can be removed",
        )
    return Removed(apply_edits(copied, [edit], check=False, copied=True), edit, settled.stay)


def _exactly(network: Network, found: Removable, edit: RemoveChannels, example: Tensor) -> Network | None:
    """The edited network, if it computes what the network does with the parameters of the removed units at zero; it is
    the only copy that is made: some are large."""
    copied = network.clone()
    with evaluating(copied.module), edit.neutralised(copied.module):
        expected = answers_in(copied.module(example))
    edited = apply_edits(copied, (*unfolding(found, edit), edit), check=False, copied=True)
    try:
        with evaluating(edited.module):
            difference = largest_difference(answers_in(edited.module(example)), expected)
    except Exception:  # the module is the user's: a trial tells which of the units have to stay
        return None
    return edited if expected and difference <= TOLERANCE else None
