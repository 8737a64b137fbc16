"""A compressed network ready to predict: what `recipelang.load` returns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.failures import one_exception
from recipelang.images.decode import prepare, prepare_file
from recipelang.kinds import PRECISIONS, Deployment, Preprocessing, Task
from recipelang.measuring.clock import check_device
from recipelang.runtimes.eager import ON_CPU, placed
from recipelang.surgery import artifact
from recipelang.surgery.network import Network
from recipelang.surgery.tasks import task_named


@dataclass(frozen=True)
class Prediction:
    """The class that a network predicts for one image.

    Attributes:
        name: the most probable class.
        probability: its probability.
        probabilities: class name → probability, of all classes, in the order of the outputs.
    """

    name: str
    probability: float
    probabilities: dict[str, float]


@dataclass(frozen=True)
class Labelling:
    """The labels that a network finds in one image, which may have several.

    Attributes:
        names: those that are more likely than not, the most probable first.
        probabilities: label → probability, of all labels, in the order of the outputs.
    """

    names: tuple[str, ...]
    probabilities: dict[str, float]


class Predictor(nn.Module):
    """A network in its deployed form, with its preprocessing and class names.

    Args:
        network: as it was saved.
        how: where and in which precision it runs.
    """

    def __init__(self, network: Network, how: Deployment = ON_CPU) -> None:
        super().__init__()
        self.network = network
        self.how = how
        self.deployed = placed(network, how).module
        self.classes = network.classes
        self.preprocessing = network.preprocessing
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Preprocessed images B×C×H×W → scores B×classes, or the answers of another task."""
        scores: Tensor = self.deployed(images.to(self.how.device, getattr(torch, self.how.precision)))
        return scores

    def predict(self, images: Any) -> list[Any]:
        """Classify images, or turn them into the images that the network gives, as its task says.

        Args:
            images: one image or several, each a PIL image or the path of an image file.

        Returns:
            a `Prediction` for each image; a `Labelling` where an image may have several labels; for tasks whose
            answers are images, a PIL image.

        Raises:
            RecipeError: RCP0717: the network was saved without preprocessing; RCP0724: its answers are NaN; RCP0805,
                RCP0806: a file is not an image; RCP0843: the task's answers are neither classes nor images.
        """
        with one_exception():
            return self._predicted(images)

    def _predicted(self, images: Any) -> list[Any]:
        """See `predict`."""
        single = isinstance(images, str | Path) or not isinstance(images, Iterable)
        several = [images] if single else list(images)
        if not several:
            return []
        if self.preprocessing is None:
            raise Refusal(
                "RCP0717",
                "the network was saved without the preprocessing of its images",
                "save it from a recipe that names `data`, or call it on tensors that you have preprocessed",
            )
        task = task_named(self.network.task)
        if not task.labelled:
            return [self._image(image, task) for image in several]
        inputs = torch.cat([_input(image, self.preprocessing) for image in several])
        of_labels = task.target == "labels"
        with torch.no_grad():
            rows = _probabilities(self(inputs), several, of_labels)
        return [self._labelling(row) if of_labels else self._prediction(row) for row in rows]

    def _image(self, image: Any, task: Task) -> Image.Image:
        """The image that the network makes of one image, which keeps its size."""
        if task.target != "image":
            raise Refusal(
                "RCP0843",
                f"the answers of the task {task.name} are neither classes nor images",
                "call the predictor on tensors: `predictor(inputs)`",
            )
        assert self.preprocessing is not None
        with torch.no_grad():
            answer = task.answer(self(_input(image, self.preprocessing, whole=True)))[0].cpu()
        if not answer.isfinite().all():
            raise _not_finite("pixels", image, 0)
        pixels = answer.clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)

    def _prediction(self, row: list[float]) -> Prediction:
        best = max(range(len(row)), key=row.__getitem__)
        return Prediction(self.classes[best], row[best], dict(zip(self.classes, row, strict=True)))

    def _labelling(self, row: list[float]) -> Labelling:
        likely = sorted((k for k in range(len(row)) if row[k] > 0.5), key=lambda k: -row[k])
        return Labelling(tuple(self.classes[k] for k in likely), dict(zip(self.classes, row, strict=True)))


def load(
    folder: Path, *, trust: bool = False, device: str = "cpu", precision: str = "float32", batch: int = 1
) -> Predictor:
    """The network that was saved in `folder`, ready to predict.

    Args:
        folder: as `export safetensors` wrote it.
        trust: whether the Python file of a `python("file.py:build")` network may run.
        device: `cpu`, `cuda` or `cuda:N`. On a GPU, layers that the recipe accelerates are packed where that pays off.
        precision: `float32`, `float16` or `bfloat16`; sparse kernels need a 16-bit one.
        batch: usual number of images per call: kernels are chosen for it.

    Raises:
        Refusal: as `artifact.load` and `artifact.tried`; RCP1001: this machine lacks the device; RCP1012: the
            precision is unknown; RCP0303: `batch` is not a whole number from 1 up; RCP0726: the network cannot compute
            in this precision.
    """
    device, precision = str(device), str(precision).removeprefix("torch.")  # torch's own objects are accepted too
    check_device(device)
    if type(batch) is not int or batch < 1:
        raise Refusal("RCP0303", f"`batch` is {batch!r}", "it must be a whole number from 1 up")
    if precision not in PRECISIONS:
        raise Refusal("RCP1012", f"`{precision}` is not a precision", f"use one of {', '.join(PRECISIONS)}")
    network = artifact.tried(artifact.load(folder, trust=trust), folder)
    return Predictor(network, Deployment(device, precision, batch=batch))


def _probabilities(scores: Tensor, images: Sequence[Any], of_labels: bool) -> list[list[float]]:
    """Scores B×classes as probabilities, which add up to 1 where an image has one of them.

    Raises:
        Refusal: RCP0724: one of them is not a number.
    """
    probabilities = scores.float().sigmoid() if of_labels else scores.float().softmax(dim=1)
    broken = (~probabilities.isfinite()).any(dim=1).nonzero().flatten().tolist()
    if broken:
        raise _not_finite("scores", images[broken[0]], broken[0])
    rows: list[list[float]] = probabilities.tolist()
    return rows


def _not_finite(what: str, image: Any, number: int) -> Refusal:
    named = f"`{image}`" if isinstance(image, str | Path) else f"image {number}"
    return Refusal(
        "RCP0724",
        f"the network's {what} for {named} are NaN or infinite",
        "load it in `float32`; if it already is, its training has diverged",
    )


def _input(image: Any, preprocessing: Preprocessing, *, whole: bool = False) -> Tensor:
    """A PIL image, or the image file at a path, as an input; `whole`: it keeps its size."""
    if isinstance(image, str | Path):
        return prepare_file(Path(image), preprocessing, whole=whole)
    return prepare(image, preprocessing, whole=whole)
