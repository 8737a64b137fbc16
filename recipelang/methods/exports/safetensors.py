"""`export safetensors`: the network as a folder that `recipelang.load` and `model artifact(…)` read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipelang.catalogue import method, setting
from recipelang.errors import Refusal


@method("export", "safetensors")
@dataclass(frozen=True)
class Safetensors:
    """Constructor, edit log, restrictions and weights as readable JSON and safetensors: four files, no code.

    What: the training form, zeros included; `recipelang.load(folder)` returns it ready to predict, and
    `model artifact("folder")` continues its surgery.
    Formula: a float32 weight takes 32 bits, with `packed=true` 17 if it is 2:4: half of the values, two bits for the
        position of each; its mask takes one bit for each weight instead of eight.
    When it misleads: masked zeros are stored like any other number, so a mask makes the files no smaller unless they
        are packed. Packed files are unpacked when they are read: they save disk space; `accelerate` decides how layers
        execute.
    Source: the safetensors format of Hugging Face; the packed form is described in docs/kernels.md.
    """

    packed: bool = setting(False, type="boolean", help="Whether weights that are 2:4 are stored in their packed form.")

    def write(self, network: Any, folder: Path) -> tuple[Path, ...]:
        """Write the network into `folder`; the files, after they were read back and compared with the network.

        Raises:
            Refusal: RCP1301: `packed` is set and no weight is 2:4; RCP0723: what was read back gives different outputs.
        """
        from recipelang.surgery.artifact import require_readable, save
        from recipelang.surgery.packing import packed_names

        if self.packed and not packed_names(network):
            help = "write `sparsify nm 2:4` above, or leave `packed` out"
            raise Refusal("RCP1301", "no weight of this network is 2:4, so there is nothing to pack", help)
        files = save(network, folder, packed=self.packed)
        try:
            require_readable(network, folder)
        except Refusal:
            for file in files:
                file.unlink()
            raise
        return files
