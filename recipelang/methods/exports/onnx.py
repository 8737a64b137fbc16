"""`export onnx`: the deployed network as an ONNX program."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipelang.catalogue import method, setting

FILE = "model.onnx"


@method("export", "onnx")
@dataclass(frozen=True)
class Onnx:
    """The deployed network (BatchNorm folded) as an ONNX program, for any batch size.

    What: one file with the input `input` and the output `output`, which onnxruntime and others execute. Class names and
        preprocessing are in its metadata, as `recipelang.json`; nothing else of this machine is. Quantized layers are
        8-bit integers between QuantizeLinear and DequantizeLinear with the recipe's scales.
    Shapes: images B×C×H×W, normalised → scores B×classes. Where answers are images, inputs may have any height and
    width, if the network's code allows it.
    Integers: weights are int8 and activations uint8, whose products are fast on CPUs with VNNI or the like. x86 without
        VNNI (`recipe doctor`) adds two such products in 16 bits, which overflow, and onnxruntime answers wrongly
        without a word. `onnx(integers=unsigned)` writes all 8-bit integers as uint8 with zero points that are 128
        higher: the same numbers, exact on any CPU. OpenVINO multiplies them in float32. The network is compared in the
        form that this processor executes right; where that is not the form of the file, the report says so.
    Needs: `pip install "recipelang[onnxruntime]"`: the program is executed and compared before it is written.
    When it misleads: masked zeros are stored and multiplied like any other number.
    Source: https://onnx.ai; torch.onnx.
    """

    opset: int = setting(20, type="integer", low=18, high=23, help="Version of ONNX's operators.")
    integers: str = setting(
        "signed",
        type="word",
        choices=("signed", "unsigned"),
        help="Whether 8-bit weights are int8, for CPUs with VNNI or the like, or uint8, for x86 CPUs without it.",
    )

    def require(self) -> None:
        """Refuse a machine without the libraries that write and check programs.

        Raises:
            Refusal: RCP1027.
        """
        from recipelang.runtimes.installed import ONNX, require_libraries

        require_libraries("export onnx", ONNX, "onnxruntime")

    def require_network(self, network: Any) -> None:
        """Refuse, in a plan, a network whose code depends on values in a way that no program has.

        Raises:
            Refusal: RCP0716.
        """
        from recipelang.surgery.tracing import example_input
        from recipelang.surgery.without_numbers import branches_on_values

        if branches_on_values(network.module, example_input(network)):
            from recipelang.runtimes.onnx_program import program_of

            program_of(network, self.opset)

    def write(self, network: Any, folder: Path) -> tuple[Path, ...]:
        """Write the program into `folder`, after onnxruntime's answers were compared with the network's.

        Raises:
            Refusal: RCP0716: the network cannot be an ONNX program; RCP1027: a library is not installed; RCP1028,
                RCP1029: onnxruntime gives other answers, or cannot execute it.
        """
        self.require()
        from recipelang.files import atomic
        from recipelang.runtimes.onnx_executable import verified_program

        program = verified_program(network, self.opset, signed=self.integers == "signed")
        with atomic(folder / FILE) as file:
            file.write(program)
        return (folder / FILE,)

    def remark(self, network: Any) -> str:
        """That the file is for other processors than this one, or that `integers` changes nothing of it."""
        from recipelang.runtimes.onnx_executable import said_of_integers

        said = said_of_integers(network, self.opset, signed=self.integers == "signed")
        return f"{FILE}: {said}" if said else ""
