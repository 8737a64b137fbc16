"""`export safetensors`: the network as a folder that `recipelang.load` and `model artifact(…)` read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipelang.catalogue import method


@method("export", "safetensors")
@dataclass(frozen=True)
class Safetensors:
    """Constructor, edit log, masks and weights as readable JSON and safetensors: four files, no code.

    What: the training form, zeros written out; `recipelang.load(folder)` gives it back ready to predict, and
    `model artifact("folder")` continues its surgery.
    When it misleads: masked zeros are stored like other numbers, so a mask makes the files no smaller.
    Source: the safetensors format of Hugging Face.
    """

    def write(self, network: Any, folder: Path) -> tuple[Path, ...]:
        """Write the network into `folder`; the files written."""
        from recipelang.surgery.artifact import save

        return save(network, folder)
