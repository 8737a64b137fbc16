"""`export pt2`: the deployed network as a program that plain torch runs."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from recipelang.catalogue import method
from recipelang.errors import Refusal
from recipelang.lazy import torch

FILE = "model.pt2"
NO_INTEGERS = "torch.export has no form of its own for the rounding of quantized networks"
INSTEAD = "use `export onnx`, which holds their integers, or `export safetensors`"


@method("export", "pt2")
@dataclass(frozen=True)
class Pt2:
    """The deployed network (BatchNorm folded) as a program of torch.export, for any batch size.

    What: `torch.export.load("model.pt2").module()(images)` runs it, without recipelang and without the code that built
    it. Class names and preprocessing are in the same file, as `recipelang.json`.
    Shapes: images B×C×H×W, normalised → scores B×classes. Where answers are images, inputs may have any height and
    width, if the network's code allows it.
    When it misleads: masked zeros are multiplied like any other number.
    Source: torch.export.
    """

    cannot_hold: ClassVar[Mapping[str, tuple[str, str]]] = {"quantized": (NO_INTEGERS, INSTEAD)}

    def require_network(self, network: Any) -> None:
        """Refuse, in a plan, a network whose code depends on values in a way that no program has.

        Raises:
            Refusal: RCP0716.
        """
        from recipelang.surgery.tracing import example_input
        from recipelang.surgery.without_numbers import branches_on_values

        if branches_on_values(network.module, example_input(network)):
            self._program(network)

    def write(self, network: Any, folder: Path) -> tuple[Path, ...]:
        """Write the program into `folder`, after it was read back and compared with the deployed network.

        Raises:
            Refusal: RCP0716: torch.export cannot trace the network, or the program gives different outputs.
        """
        from recipelang.files import atomic
        from recipelang.surgery.deployed import deployed
        from recipelang.surgery.simulated import computing
        from recipelang.surgery.tracing import example_input

        if computing(network.restrictions):
            raise _refused(NO_INTEGERS, INSTEAD)
        written, reloaded = self._program(network)
        for size in (1, 3):
            _compare(reloaded, deployed(network), example_input(network, size))
        with atomic(folder / FILE) as file:
            file.write(written.getbuffer())
        return (folder / FILE,)

    def _program(self, network: Any) -> tuple[io.BytesIO, Any]:
        """The bytes of the program, and the program as it is read back from them."""
        from recipelang.surgery.card import card
        from recipelang.surgery.deployed import deployed
        from recipelang.surgery.traced import traced
        from recipelang.surgery.tracing import example_input, first_line, hushed

        module, example = deployed(network), example_input(network)
        written = io.BytesIO()  # torch's error for a full disk is not an OSError
        try:
            with hushed():
                program = traced(module, network, example)
                torch.export.save(program, written, extra_files={"recipelang.json": card(network)})
                reloaded = torch.export.load(io.BytesIO(written.getvalue())).module()
        except Exception as error:  # torch.export raises many kinds for code that it cannot trace
            if "Constraints violated" in str(error):
                raise _refused(
                    "its code fixes how many images a batch has: `len(x)` counts them at once",
                    "write `x.shape[0]` for `len(x)` in `forward`, or use `export safetensors`",
                ) from error
            raise _refused(f"torch.export cannot trace it: {type(error).__name__}: {first_line(error)}") from error
        return written, reloaded


def _compare(reloaded: Any, module: Any, images: Any) -> None:
    """Refuse a program that gives different outputs than the network it came from."""
    from recipelang.surgery.parity import TOLERANCE, relative_difference

    with torch.no_grad():
        difference = relative_difference(reloaded(images), module(images))
    if not difference <= TOLERANCE:
        raise _refused(f"the program gives different outputs (by {difference:.1e})")


def _refused(why: str, help: str = "use `export safetensors`, which writes any network") -> Refusal:
    return Refusal("RCP0716", f"the network cannot be written as pt2: {why}", help)
