"""`model onnx("net.onnx")`: a network from an ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import Refusal
from recipelang.kinds import ModelRequest


@method("model", "onnx")
@dataclass(frozen=True)
class Onnx:
    """A network from an ONNX file, as trainable layers of torch: `onnx("net.onnx")`.

    Its answers to random images are compared with onnxruntime's before anything is done with it. Layers are named after
    their weights where the exporter kept these names (`layer1.0.conv1`), else after their nodes; residual branches are
    modules, so that they can be removed. Sizes of images are those of the data, where the program takes them, and the
    batch becomes free, also where the file fixes it. Numbers of 16 or 64 bits become float32. A file of `export onnx`
    brings the names of its classes and its preprocessing. `classes=5` replaces the head with a new one, which needs
    training.

    An artifact of such a network loads without the file; it needs onnx2torch.

    Shapes: B×C×H×W → B×classes, or as the task wants it.
    Needs: `pip install "recipelang[onnx-import]"`.
    When it misleads: exporters fold BatchNorm into convolutions and drop dropout, so a network trains otherwise than
    the one that was exported, often with a smaller learning rate. Not for files with several inputs or outputs, control
    flow, or QuantizeLinear; an operator without a translation is refused, all of them at once.
    Source: https://onnx.ai; https://github.com/ENOT-AutoDL/onnx2torch, which translates most operators.
    """

    tasks: ClassVar[tuple[str, ...]] = ()

    file: str = setting(type="text", positional=True, hashed=False, help="The `.onnx` file.")
    classes: int | None = setting(
        None, type="integer", low=2, help="Number of outputs; replaces the head if it differs."
    )

    @property
    def pretrained(self) -> bool:
        """Whether the network starts from weights and not from random numbers."""
        return self.classes is None

    def require(self) -> None:
        """Refuse where a library is not installed."""
        from recipelang.importing.reading import require_importer

        require_importer()

    def files(self, resolve: Callable[[str], Path]) -> tuple[Path, ...]:
        """The file, and those beside it that hold its weights."""
        from recipelang.importing.reading import files_of

        return files_of(resolve(self.file))

    def build(self, request: ModelRequest) -> Any:
        """The network; see `kinds.ModelMethod`.

        Raises:
            Refusal: RCP0765: the file cannot be read; RCP0766: it has operators without a translation; RCP0767: it
                cannot be a network; RCP0768: onnxruntime gives other answers; RCP0708: the numbers of classes do not
                fit; RCP1027: a library is not installed.
        """
        self.require()
        from recipelang.surgery.assembly import assemble

        if request.built:
            return self._again(request)
        from recipelang.importing.imported import imported
        from recipelang.importing.reading import read_program

        program = read_program(request.resolve(self.file))
        target = request.task.target if request.task else "class"
        found = imported(program, request.input_shape, target)
        return assemble(
            found.module,
            request,
            model="onnx",
            settings={"file": Path(self.file).name},
            input_shape=found.shape,
            classes=self.classes,
            pretrained=True,
            known=program.told.classes,
            preprocessing=program.told.preprocessing,
            library="onnx2torch",
            built=found.built,
            notes=found.notes,
        )

    def _again(self, request: ModelRequest) -> Any:
        """The architecture of a saved network, without the file that it was first built from."""
        from recipelang.importing.building import built_again
        from recipelang.surgery.assembly import assemble

        if request.input_shape is None:
            help = "use a folder unchanged since a run or `export safetensors` wrote it"
            raise Refusal("RCP0714", "the network's source is damaged: it has no `input_shape`", help)
        return assemble(
            built_again(request.built),
            request,
            model="onnx",
            settings={"file": self.file},
            input_shape=request.input_shape,
            classes=self.classes,
            library="onnx2torch",
        )
