"""Removing a whole layer: a residual branch, or a run of convolution, norm and activation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.surgery.candidates import Candidate
from recipelang.surgery.entries import MOST_TENSORS, Wrong, sequence, text
from recipelang.surgery.neutral import run_with_neutral
from recipelang.surgery.parity import run_bypassing
from recipelang.surgery.wiring import StandIn, are_wires


@dataclass(frozen=True)
class RemoveLayer:
    """Replace a layer with an Identity or a `wiring.StandIn`, so that every other module keeps its path.

    Attributes:
        name: the candidate's name.
        paths: the modules that are removed: one for a residual layer; conv, norm and activation for a plain one.
        wires: what the stand-in returns, as JSON; empty for an Identity.
    """

    kind: ClassVar[str] = "remove_layer"
    resizes: ClassVar[bool] = False

    name: str
    paths: tuple[str, ...]
    wires: str = ""

    def __str__(self) -> str:
        return f"removing `{self.name}`"

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> RemoveLayer:
        """The edit of an entry of a log.

        Raises:
            Wrong: it is not as `json` writes it.
        """
        wires = entry.get("wires")
        if entry.keys() - {"wires"} != {"edit", "name", "paths"}:
            raise Wrong("it has other entries than `edit`, `name`, `paths` and `wires`")
        paths = [text(path, "a path") for path in sequence(entry["paths"], "`paths`", MOST_TENSORS)]
        if not paths or not all(paths) or not (wires is None or are_wires(wires)):
            raise Wrong("its `paths` or `wires` are not those of a layer")
        return cls(text(entry["name"], "`name`"), tuple(paths), json.dumps(wires) if wires else "")

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
            module.set_submodule(path, self.stand_in(part).train(part.training))

    def stand_in(self, part: nn.Module) -> nn.Module:
        """The replacement for one of the modules."""
        return StandIn(json.loads(self.wires), part) if self.wires else nn.Identity()

    def left(self, name: str, tensor: Tensor) -> Tensor | None:
        """The tensor, or None where the layer holds the parameter or buffer of this name."""
        return None if self.removes(name) else tensor

    def removes(self, path: str) -> bool:
        """Whether the edit removes the module or parameter at this path."""
        return any(path == gone or path.startswith(gone + ".") for gone in self.paths)

    @contextmanager
    def neutralised(self, module: nn.Module) -> Iterator[None]:
        """Inside the block the stand-ins take the place of the layer's modules."""
        parts = [(path, _find(module, path)) for path in self.paths]
        try:
            for path, part in parts:
                module.set_submodule(path, self.stand_in(part).train(part.training))
            yield
        finally:
            for path, part in parts:
                module.set_submodule(path, part)

    def run_neutralised(self, module: nn.Module, example: Tensor) -> Any:
        """Run the unchanged module with the branch at zero, or a plain run bypassed."""
        for path in self.paths:
            _find(module, path)
        if len(self.paths) == 1:
            return run_with_neutral(module, self.paths[0], example)
        return run_bypassing(module, self.paths, example)


def remove(candidate: Candidate) -> RemoveLayer:
    """The edit that removes a candidate."""
    return RemoveLayer(candidate.name, candidate.paths, candidate.wires)


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
