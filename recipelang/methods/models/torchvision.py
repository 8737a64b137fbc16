"""`model torchvision.resnet18(weights="DEFAULT")`: a classification network of torchvision."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import Refusal, SettingError, did_you_mean
from recipelang.kinds import ModelRequest
from recipelang.methods.models._own import require_file

_REGISTERED = re.compile(r"^@register_model\(\)\n(?:@.*\n)*def (\w+)", re.MULTILINE)


@method("model", "torchvision")
@dataclass(frozen=True)
class Torchvision:
    """A classification network of torchvision, named after a dot: `torchvision.resnet18(weights="DEFAULT")`.

    `weights` is the name of published weights (`DEFAULT`, `IMAGENET1K_V2`), which torchvision downloads once, or a
    file. `classes=5` replaces the head with a new one of five outputs, which needs training; without weights the head
    has as many outputs as the data has classes. Vision transformers without published weights are built for the size of
    the data's images.

    Published weights keep their classes if the data has all or some of them: folders are named after torchvision's
    names of the classes (`great_white_shark`), their WordNet numbers (`n01440764`) or, if all are present, their
    numbers from 0. They bring their resizing, crop, interpolation and normalisation, which the data then follows.

    Shapes: B×3×H×W → B×classes.
    When it misleads: published weights expect about the size of ImageNet images; images below 64 pixels are resized
    without regard to their proportions.
    Source: torchvision.models; each network's page there names its paper.
    """

    tasks: ClassVar[tuple[str, ...]] = ("classification", "multilabel")

    architecture: str = setting(type="text", dotted=True, help="The name in torchvision: `resnet18`.")
    weights: str = setting("", type="text", hashed=False, help="Name of published weights, or a file of weights.")
    at: str = setting(
        "",
        type="text",
        help="State dict in the file, or prefix of its names; default `state_dict`, `model_state_dict`, `model`.",
    )
    classes: int | None = setting(
        None, type="integer", low=2, help="Number of outputs; replaces the head if it differs."
    )

    def __post_init__(self) -> None:
        require_file(self.at, self.weights)
        known = self.dotted_names()
        if known and self.architecture not in known:
            guess = did_you_mean(self.architecture, known)
            message = f"torchvision has no classification network `{self.architecture}`"
            raise SettingError("architecture", message, f"{guess}the names are those of `torchvision.models`")

    @staticmethod
    @cache
    def dotted_names() -> frozenset[str]:
        """The names allowed after the dot: read from torchvision's files, since importing them would load torch."""
        found = importlib.util.find_spec("torchvision")
        folders = found.submodule_search_locations if found else None
        files = [file for folder in folders or () for file in (Path(folder) / "models").glob("*.py")]
        return frozenset(name for file in files for name in _REGISTERED.findall(file.read_text(encoding="utf-8")))

    @property
    def pretrained(self) -> bool:
        """Whether the network starts from weights and not from random numbers."""
        return bool(self.weights) and self.classes is None

    def files(self, resolve: Callable[[str], Path]) -> tuple[Path, ...]:
        """The file of weights; published ones are downloaded if they are not here yet."""
        from recipelang.surgery.checkpoints import files_of
        from recipelang.surgery.published import file_of, published

        if not self.weights:
            return ()
        entry = published(self.architecture, self.weights)
        return (file_of(entry),) if entry else files_of(resolve(self.weights))

    def build(self, request: ModelRequest) -> Any:
        """The network; see `kinds.ModelMethod`.

        Raises:
            Refusal: RCP0709: torchvision has no such network; RCP0710: no such weights, or they cannot be downloaded;
                RCP0706, RCP0707: the file cannot be read or does not fit; RCP0708: the numbers of classes do not fit.
        """
        from recipelang.surgery import published as torchvision_models
        from recipelang.surgery.assembly import assemble
        from recipelang.surgery.checkpoints import weights_for

        wanted = self.weights if request.weights else ""
        entry = torchvision_models.published(self.architecture, wanted) if wanted else None
        if entry and self.at:
            message = f"`at` looks into a file of weights, and `{self.weights}` are published ones"
            raise Refusal("RCP0743", message, "leave `at` out")
        shape: Any = request.input_shape or (torchvision_models.input_shape(entry) if entry else (3, 224, 224))
        return assemble(
            torchvision_models.construct(self.architecture, entry, shape[1]),
            request,
            model="torchvision",
            settings={"architecture": self.architecture},
            input_shape=shape,
            classes=self.classes,
            weights=weights_for(request, self.weights, self.at) if entry is None else None,
            pretrained=entry is not None,
            known=torchvision_models.class_names(entry) if entry else (),
            preprocessing=torchvision_models.preprocessing(entry, shape) if entry else None,
        )
