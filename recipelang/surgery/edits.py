"""The edit log: what was removed from a network, as JSON that can be read, compared and replayed.

network ── apply_edits(log) ──▶ smaller network        each edit checked for parity
module  ── replay(log) ───────▶ the same architecture  on a new build, before weights are loaded
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.surgery.candidates import Candidate, find_layers
from recipelang.surgery.network import Network
from recipelang.surgery.neutral import run_with_neutral
from recipelang.surgery.parity import cannot_run, observe, require_parity, run_bypassing
from recipelang.surgery.restricting import without
from recipelang.surgery.tracing import example_input
from recipelang.surgery.wiring import StandIn, are_wires


class Edit(Protocol):
    """One change of a network's structure: a frozen dataclass whose fields are JSON values."""

    kind: ClassVar[str]

    def apply(self, module: nn.Module) -> None:
        """Change the module in place."""

    def run_neutralised(self, module: nn.Module, example: Tensor) -> Any:
        """Run the unchanged module as the changed one should answer."""

    def removes(self, path: str) -> bool:
        """Whether the edit removes the module or parameter at this path."""

    def json(self) -> dict[str, Any]:
        """The edit as JSON, its kind under `edit`; `from_json` reads it."""


@dataclass(frozen=True)
class RemoveLayer:
    """Replace a layer with an Identity or a `wiring.StandIn`, so that every other module keeps its path.

    Attributes:
        name: the candidate's name.
        paths: the modules that are removed: one for a residual layer; conv, norm and activation for a plain one.
        wires: what the stand-in returns, as JSON; empty for an Identity.
    """

    kind: ClassVar[str] = "remove_layer"

    name: str
    paths: tuple[str, ...]
    wires: str = ""

    def __str__(self) -> str:
        return f"removing `{self.name}`"

    def json(self) -> dict[str, Any]:
        """`{"edit": "remove_layer", "name": "layer1.0", "paths": ["layer1.0"]}`, with `wires` where there are any."""
        entry: dict[str, Any] = {"edit": self.kind, "name": self.name, "paths": list(self.paths)}
        return entry | {"wires": json.loads(self.wires)} if self.wires else entry

    def apply(self, module: nn.Module) -> None:
        """Change the module in place.

        Raises:
            Refusal: RCP0701: there is no such module.
        """
        for path in self.paths:
            part = _find(module, path)
            put(module, path, self.stand_in(part).train(part.training))

    def stand_in(self, part: nn.Module) -> nn.Module:
        """The replacement for one of the modules."""
        return StandIn(json.loads(self.wires), part) if self.wires else nn.Identity()

    def run_neutralised(self, module: nn.Module, example: Tensor) -> Any:
        """Run the unchanged module with the branch at zero, or a plain run bypassed."""
        for path in self.paths:
            _find(module, path)
        if len(self.paths) == 1:
            return run_with_neutral(module, self.paths[0], example)
        return run_bypassing(module, self.paths, example)

    def removes(self, path: str) -> bool:
        """Whether the edit removes the module or parameter at this path."""
        return any(path == gone or path.startswith(gone + ".") for gone in self.paths)


def remove(candidate: Candidate) -> RemoveLayer:
    """The edit that removes a candidate."""
    return RemoveLayer(candidate.name, candidate.paths, candidate.wires)


def apply_edits(network: Network, edits: Iterable[Edit], *, check: bool = True) -> Network:
    """A copy of the network with these edits made and logged; restrictions of removed parts are dropped.

    Args:
        network: is not changed, even where an edit fails.
        edits: in this order.
        check: whether to compare every edit with the neutralised network (`parity`).

    Raises:
        Refusal: RCP0701: an edit names a missing module; RCP0702: parity does not hold.
    """
    edits = tuple(edits)
    edited = network.clone()
    if check:
        example = example_input(edited)
        points = [c.paths[-1] for c in find_layers(edited.module, example)]
    for edit in edits:
        if check:
            points = [point for point in points if not edit.removes(point)]
            _apply_checked(edited.module, edit, points, example)
        else:
            edit.apply(edited.module)
    left = without(edited, lambda path: any(edit.removes(path) for edit in edits))
    return replace(left, edits=edited.edits + edits)


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
        Refusal: RCP0701: an edit names a missing module.
    """
    for edit in edits:
        edit.apply(module)


def from_json(entry: Any) -> Edit:
    """The edit of one entry of a log.

    Raises:
        Refusal: RCP0714: the entry is not an edit.
    """
    match entry:
        case {"edit": "remove_layer", "name": str(name), "paths": [*paths], **rest}:
            wires = rest.pop("wires", None)
            wired = wires is None or are_wires(wires)
            if not rest and wired and paths and all(isinstance(path, str) and path for path in paths):
                return RemoveLayer(name, tuple(paths), json.dumps(wires) if wires else "")
    raise Refusal(
        "RCP0714",
        f"the edit log has an entry that is not an edit: {str(entry)[:100]}",
        "use the folder as it was written",
    )


def put(module: nn.Module, path: str, part: nn.Module) -> None:
    """Replace the module at a path."""
    parent, _, leaf = path.rpartition(".")
    setattr(module.get_submodule(parent), leaf, part)


def _find(module: nn.Module, path: str) -> nn.Module:
    """The submodule of this path."""
    try:
        if path:
            return module.get_submodule(path)
    except AttributeError:
        pass
    raise Refusal(
        "RCP0701",
        f"the network has no layer `{path}` to remove",
        "`recipe layers MODEL` lists the layers that can be removed",
    )
