"""`model artifact("runs/quickstart-1/main")`: a network that a run saved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recipelang.catalogue import method, setting
from recipelang.kinds import ModelRequest


@method("model", "artifact")
@dataclass(frozen=True)
class Artifact:
    """A network saved by a run or by `export safetensors`: rebuilt, edits replayed, restrictions and weights loaded.

    Its constructor, edit log and restrictions stay with it, so that further surgery continues the log. Labels of the
    data are matched to outputs by the names of the classes, in any order; a class that the network does not know is
    refused. A network without class names (saved without data) takes them from the data, with a note.
    Shapes: as the network that was saved.
    Source: the folder, four files without code.
    """

    folder: str = setting(type="text", positional=True, hashed=False, help="The folder of the network.")

    @property
    def pretrained(self) -> bool:
        """Whether the network starts from weights and not from random numbers."""
        return True

    @property
    def sparse(self) -> bool:
        """Whether weights may be in a pattern from the start."""
        return True

    def files(self, resolve: Callable[[str], Path]) -> tuple[Path, ...]:
        """The files of the folder; those of a network where one is missing, so that it can be said which."""
        from recipelang.surgery.artifact import FILES, files_in

        folder = resolve(self.folder)
        return tuple(folder / name for name in dict.fromkeys((*FILES, *files_in(folder))))

    def build(self, request: ModelRequest) -> Any:
        """The network; see `kinds.ModelMethod`."""
        from recipelang.surgery.artifact import load, tried
        from recipelang.surgery.tasks import task_named
        from recipelang.surgery.tracing import example, outputs_of

        folder = request.resolve(self.folder)
        network = tried(load(folder, trust=request.trust), folder)
        if request.input_shape is not None:
            given = example(network.module, request.input_shape, inputs=request.inputs)
            outputs_of(network.module, given, task_named(network.task))
            network = replace(network, input_shape=request.input_shape, inputs=request.inputs)
        return network
