"""`model huggingface("microsoft/resnet-18")`: a network of transformers, from a folder or the hub's cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import Refusal
from recipelang.kinds import ModelRequest

IMAGES = ("AutoModelForImageClassification", "an image classifier")


@method("model", "huggingface")
@dataclass(frozen=True)
class HuggingFace:
    """An image or text classifier of transformers: `huggingface("microsoft/resnet-18")`, a folder of `save_pretrained`.

    A recipe downloads nothing: `hf download microsoft/resnet-18` does, once. The network brings its weights, the names
    of its classes (`id2label`) and what its image processor does, which the data then follows. `classes=5` replaces the
    head with a new one of five outputs, which needs training; a network without a trained head needs it.

    Code of the folder (`auto_map`) never runs, and a `.bin` file is read as plain tensors. Weights of 16 bits become
    float32. An artifact of such a network needs transformers to load, of a version that builds the same network.

    Texts: where the data's inputs are ids, or the folder says so without data, the network is one for sequence
    classification (BERT, DistilBERT, RoBERTa, …; decoders with such a head). Ids that fill up short texts are left out.

    Shapes: B×C×H×W, or ids int64 B×tokens → B×classes.
    Needs: `pip install "recipelang[hf]"`.
    When it misleads: resizing differs by a rounding from that of the image processor; an image processor that stretches
    images is followed in size and normalisation alone, as a note says.
    Source: https://huggingface.co/docs/transformers; each network's page there names its paper.
    """

    tasks: ClassVar[tuple[str, ...]] = ("classification", "multilabel")

    where: str = setting(
        type="text",
        positional=True,
        hashed=False,
        help="A folder, or an id that was downloaded.",
    )
    revision: str = setting("main", type="text", hashed=False, help="Branch, tag or commit of an id.")
    classes: int | None = setting(
        None, type="integer", low=2, help="Number of outputs; replaces the head if it differs."
    )

    @property
    def pretrained(self) -> bool:
        """Whether the network starts from weights and not from random numbers."""
        return self.classes is None

    def require(self) -> None:
        """Refuse where the library is not installed."""
        from recipelang.surgery.pretrained import require_transformers

        require_transformers()

    def files(self, resolve: Callable[[str], Path]) -> tuple[Path, ...]:
        """The files of the folder that decide what is built."""
        from recipelang.surgery.hub import open_folder
        from recipelang.surgery.image_processor import FILE

        return open_folder(self.where, resolve, self.revision).files(FILE)

    def build(self, request: ModelRequest) -> Any:
        """The network; see `kinds.ModelMethod`.

        Raises:
            Refusal: RCP0760: it is not on this machine; RCP0761: it brings its own code; RCP0762: it is not an image
                or text classifier, or damaged; RCP0782: the data's ids are not those of the network; RCP0706, RCP0707:
                its weights cannot be read or do not fit; RCP0708: the numbers of classes do not fit; RCP1027:
                transformers is not installed.
        """
        if request.built:
            return self._again(request)
        texts = self._of_texts(request) if request.inputs.whole or request.input_shape is None else None
        if texts is not None:
            return texts
        from recipelang.surgery.assembly import assemble
        from recipelang.surgery.hub import open_folder
        from recipelang.surgery.image_processor import processed
        from recipelang.surgery.pretrained import load_pretrained
        from recipelang.surgery.stem import flip_channels

        folder = open_folder(self.where, request.resolve, self.revision)
        loaded = load_pretrained(folder, *IMAGES, self.classes)
        channels = int(loaded.config.get("num_channels") or 3)
        size = request.input_shape[1:] if request.input_shape and len(request.input_shape) == 3 else None
        seen = processed(folder, size, channels)
        own = seen.preprocessing.size if seen.preprocessing else _image_size(loaded.config)
        shape = request.input_shape or (channels, *own)
        if seen.bgr:
            flip_channels(loaded.module, shape, self.where)
        return assemble(
            loaded.module,
            request,
            model="huggingface",
            settings={"where": _public(self.where, folder.path)},
            input_shape=shape,
            classes=self.classes,
            pretrained=True,
            known=loaded.names,
            preprocessing=seen.preprocessing,
            library="transformers",
            built={"config": loaded.config},
            notes=(*loaded.notes, *seen.notes),
        )

    def _of_texts(self, request: ModelRequest) -> Any:
        """A text classifier; None where there is no data and the folder is of something else."""
        from recipelang.surgery.assembly import assemble
        from recipelang.surgery.encoders import TEXTS, USUAL_LENGTH, classifies_texts, of_ids, places, require_places
        from recipelang.surgery.hub import open_folder
        from recipelang.surgery.pretrained import load_pretrained

        folder = open_folder(self.where, request.resolve, self.revision)
        if not request.inputs.whole and not classifies_texts(folder.config):
            return None
        loaded = load_pretrained(folder, *TEXTS, self.classes)
        inputs = of_ids(loaded.module, request.inputs, self.where)
        shape = request.input_shape or (min(USUAL_LENGTH, places(loaded.module) or USUAL_LENGTH),)
        require_places(loaded.module, shape[-1], self.where)
        return assemble(
            loaded.module,
            replace(request, input_shape=shape, inputs=inputs),
            model="huggingface",
            settings={"where": _public(self.where, folder.path)},
            input_shape=shape,
            classes=self.classes,
            pretrained=True,
            known=loaded.names,
            library="transformers",
            built={"config": loaded.config},
            notes=loaded.notes,
        )

    def _again(self, request: ModelRequest) -> Any:
        """The architecture of a saved network, without the folder that it was first built from."""
        from recipelang.surgery.assembly import assemble
        from recipelang.surgery.encoders import TEXTS, of_ids
        from recipelang.surgery.pretrained import rebuilt

        config = request.built.get("config")
        if not isinstance(config, dict) or request.input_shape is None:
            help = "use a folder unchanged since a run or `export safetensors` wrote it"
            raise Refusal("RCP0714", "the network's source is damaged: it has no `config`", help)
        module = rebuilt(config, *(TEXTS if request.inputs.whole else IMAGES), self.classes)
        if request.inputs.whole:
            of_ids(module, request.inputs, self.where)
        return assemble(
            module,
            request,
            model="huggingface",
            settings={"where": self.where},
            input_shape=request.input_shape,
            classes=self.classes,
            library="transformers",
        )


def _public(where: str, path: Path) -> str:
    """What is noted of where it was: an id or the name of the folder, never a path of this machine."""
    return where if path.parent.name == "snapshots" else Path(where).name


def _image_size(config: dict[str, Any]) -> tuple[int, int]:
    """(height, width) that a configuration states; 224 pixels, which most networks take, where it says nothing."""
    size = config.get("image_size")
    if isinstance(size, int):
        return size, size
    if isinstance(size, list | tuple) and len(size) == 2:
        return int(size[0]), int(size[1])
    return 224, 224
