"""The edit log: what was removed from a network, as JSON that can be read, compared and replayed.

network ── apply_edits(log) ──▶ smaller network        each edit checked for parity
module  ── replay(log) ───────▶ the same architecture  on a new build, before weights are loaded

One edit is one file of this folder, which is the index.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from recipelang import catalogue
from recipelang.contracts import refuse_broken
from recipelang.errors import Refusal
from recipelang.kinds import Edit
from recipelang.surgery.candidates import find_layers
from recipelang.surgery.edits.remove_layer import RemoveLayer, remove
from recipelang.surgery.entries import Wrong, shown
from recipelang.surgery.network import Network, Restrictions
from recipelang.surgery.parity import cannot_run, observe, require_parity
from recipelang.surgery.restricting import carried, without
from recipelang.surgery.tracing import example_input

__all__ = ["Edit", "RemoveLayer", "apply_edits", "from_json", "left", "neutralised", "remove", "replay"]


def apply_edits(network: Network, edits: Iterable[Edit], *, check: bool = True, copied: bool = False) -> Network:
    """A copy of the network with these edits made and logged; restrictions are cut as their parameters are, or dropped.

    Args:
        network: is not changed, even where an edit fails.
        edits: in this order.
        check: whether to compare every edit with the neutralised network (`parity`).
        copied: whether `network` is a copy that is used for nothing else, and may be changed: some are large.

    Raises:
        Refusal: RCP0701: an edit names what the network does not have; RCP0702: parity does not hold; RCP0756: a mask
            would leave its pattern.
    """
    edits = tuple(edits)
    restrictions = _left_restrictions(network, edits)
    edited = network if copied else network.clone()
    if check:
        example = example_input(edited)
        points = [c.paths[-1] for c in find_layers(edited.module, example)]
    for edit in edits:
        if check:
            points = [point for point in points if not edit.removes(point)]
            _apply_checked(edited.module, edit, [] if edit.resizes else points, example)
        else:
            edit.apply(edited.module)
    return replace(edited, edits=edited.edits + edits, restrictions=restrictions)


def neutralised(edit: Any, module: nn.Module) -> AbstractContextManager[None]:
    """A block in which the module computes without what an edit removes; nothing is copied.

    Raises:
        Refusal: RCP0255: an edit of an installed package cannot do that.
    """
    if not hasattr(edit, "neutralised"):
        refuse_broken("edit", edit.kind, type(edit), ["it has no `neutralised`, which leaving parts out needs"])
    block: AbstractContextManager[None] = edit.neutralised(module)
    return block


def left(edits: Iterable[Edit], name: str, tensor: Tensor) -> Tensor | None:
    """What remains of a tensor of the shape of a parameter or buffer after these edits; None where nothing does."""
    remaining: Tensor | None = tensor
    for edit in edits:
        remaining = edit.left(name, remaining) if remaining is not None else None
    return remaining


def _left_restrictions(network: Network, edits: tuple[Edit, ...]) -> Restrictions:
    def cut(name: str, tensor: Tensor) -> Tensor:
        remaining = left(edits, name, tensor)
        return tensor if remaining is None else remaining

    staying = without(network, lambda path: any(edit.removes(path) for edit in edits))
    return carried(staying, cut)


def _apply_checked(module: nn.Module, edit: Edit, points: list[str], example: Tensor) -> None:
    expected = observe(module, points, lambda: edit.run_neutralised(module, example))
    edit.apply(module)
    try:
        found = observe(module, points, lambda: module(example))
    except Exception as error:  # the module is the user's: anything it raises means that the edit is wrong
        raise cannot_run(str(edit), error) from error
    require_parity(expected, found, str(edit))


def replay(module: nn.Module, edits: Iterable[Edit]) -> None:
    """Make the edits on a freshly built module, in place, without checks: its weights are not loaded yet.

    Raises:
        Refusal: RCP0701: an edit names what the network does not have.
    """
    for edit in edits:
        edit.apply(module)


def from_json(entry: Any) -> Edit:
    """The edit of one entry of a log.

    Raises:
        Refusal: RCP0714: the entry is not an edit.
    """
    kind = entry.get("edit") if isinstance(entry, dict) else None
    try:
        known = catalogue.names("edit")
        if not isinstance(kind, str) or kind not in known:
            raise Wrong(f"{shown(kind)} is not one of {', '.join(known)}" if kind else "it does not name its kind")
        edit: Edit = catalogue.part("edit", kind).read(entry)
    except Wrong as error:
        raise Refusal(
            "RCP0714",
            f"the edit log has an entry that is not an edit: {error}",
            "use the folder as it was written, with the version that wrote it or a later one",
        ) from error
    return edit
