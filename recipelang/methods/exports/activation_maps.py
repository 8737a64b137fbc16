"""`export activation_maps(images=8)`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import Refusal
from recipelang.kinds import Beside, names_of
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

PICTURE, NUMBERS = "activation_maps.png", "activation_maps.json"
NO_GRIDS = (
    "the scores of a quantized network are not sums over places: its head reads rounded means",
    "export it above",
)


@method("export", "activation_maps")
@dataclass(frozen=True)
class ActivationMaps:
    """Where in an image the network sees its class, beside where healthy saw it: class activation maps.

    What: `activation_maps.png`, a row for each test image with the image, healthy's map and this network's map of the
        image's class; and `activation_maps.json` with what each network answered and how alike the two maps are.
        Reports show the first images.
    Formula: M_c = Σ_k w_ck F_k, F the last feature map, w the head's weights: the mean of M_c over places, plus the
        head's bias, is the score of class c. Every map is scaled to its own range. Alikeness is the correlation of the
        two maps over places, −1 … 1.
    Shapes: F B×K×h×w → a map h×w for each image; images are drawn from the test split.
    Needs: a network that ends with a mean over places and one linear layer (or a 1×1 convolution and a mean); others
        are refused. It is compared with its scores before anything is written.
    When it misleads: a map shows what raises the score and not why; a class may be recognised by its background.
    Source: Zhou et al., "Learning deep features for discriminative localization", CVPR 2016.
    """

    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    looks_at_data: ClassVar[bool] = True
    cannot_hold: ClassVar[Mapping[str, tuple[str, str]]] = {"quantized": NO_GRIDS}

    images: int = setting(8, type="integer", low=1, high=64, help="Number of test images.")

    def require_network(self, network: Any) -> None:
        """Refuse a network that has no class activation maps.

        Raises:
            Refusal: RCP0716, RCP0708.
        """
        from recipelang.surgery.activation_maps import activation_maps
        from recipelang.surgery.tracing import example_input

        activation_maps(network, example_input(network))

    def write(self, network: Any, folder: Path, beside: Beside) -> tuple[Path, ...]:
        """Write image and numbers into `folder`.

        Raises:
            Refusal: RCP0716: the network, or healthy, has no class activation maps, or the two have different classes.
        """
        from recipelang.files import atomic, write_text
        from recipelang.surgery.activation_maps import activation_maps
        from recipelang.surgery.simulated import computing

        if computing(network.restrictions):
            raise _refused(*NO_GRIDS)
        if tuple(network.classes) != tuple(beside.healthy.classes):
            raise _refused("its classes are not those of healthy", "remove `activation_maps`")
        (batch,) = beside.data.batches("test", batch=self.images, samples=self.images)
        both = [activation_maps(one, batch.inputs) for one in (beside.healthy, network)]
        chosen = torch.arange(len(batch.targets)), batch.targets
        maps = [maps[chosen] for maps, _ in both]
        answers = [scores.argmax(1).tolist() for _, scores in both]
        names = names_of(beside.data) or ()
        rows = [
            {"class": names[label], "healthy": names[before], "network": names[after], "alike": alike}
            for label, before, after, alike in zip(batch.targets.tolist(), *answers, correlations(*maps), strict=True)
        ]
        known = [row["alike"] for row in rows if row["alike"] is not None]
        told = {"alike": sum(known) / len(known) if known else None, "images": rows}
        write_text(folder / NUMBERS, json.dumps(told, indent=1) + "\n")
        with atomic(folder / PICTURE) as file:
            _draw(file, _pixels(batch.inputs, beside.data.preprocessing), maps, rows)
        return folder / PICTURE, folder / NUMBERS


def correlations(one: Tensor, other: Tensor) -> list[float | None]:
    """Maps B×h×w → the correlation over places of each pair; None where a map is the same everywhere. Maps of other
    sizes are resized to those of the first."""
    if one.shape != other.shape:
        other = torch.nn.functional.interpolate(other[:, None], one.shape[1:], mode="bilinear")[:, 0]
    a, b = (maps.double().flatten(1) - maps.double().flatten(1).mean(1, keepdim=True) for maps in (one, other))
    scale = a.norm(dim=1) * b.norm(dim=1)
    return [float(x / s) if s > 0 else None for x, s in zip((a * b).sum(1), scale, strict=True)]


def _pixels(images: Tensor, preprocessing: Any) -> Tensor:
    """Normalised images as B×H×W×C between 0 and 1."""
    if preprocessing is not None:
        mean, std = (torch.tensor(values).reshape(-1, 1, 1) for values in (preprocessing.mean, preprocessing.std))
        images = images * std + mean
    images = images.clamp(0, 1) if preprocessing is not None else _scaled(images)
    if images.shape[1] not in (1, 3):
        images = images.mean(1, keepdim=True)
    return images.permute(0, 2, 3, 1).expand(-1, -1, -1, 3)


def _scaled(maps: Tensor) -> Tensor:
    """Each of B maps between 0 and 1."""
    low, high = maps.flatten(1).amin(1), maps.flatten(1).amax(1)
    shape = (-1, *[1] * (maps.ndim - 1))
    return (maps - low.reshape(shape)) / (high - low).clamp(min=1e-12).reshape(shape)


def _draw(file: Any, pixels: Tensor, maps: list[Tensor], rows: list[dict[str, Any]]) -> None:
    """A row for each image: the image, and over it the two maps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 1.9 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), 3, squeeze=False)
    height, width = pixels.shape[1:3]
    for axes, image, row, pair in zip(grid, pixels, rows, zip(*map(_scaled, maps), strict=True), strict=True):
        for place, (title, drawn) in enumerate(
            ((row["class"], None), (f"healthy: {row['healthy']}", pair[0]), (f"network: {row['network']}", pair[1]))
        ):
            axes[place].imshow(image.numpy(), extent=(0, width, height, 0))
            if drawn is not None:
                axes[place].imshow(
                    drawn.numpy(), extent=(0, width, height, 0), cmap="inferno", alpha=0.55, interpolation="bilinear"
                )
            axes[place].set_title(title, fontsize=8, parse_math=False)
            axes[place].set_axis_off()
    figure.savefig(file, format="png", dpi=110, metadata={"Software": None})


def _refused(why: str, help: str) -> Refusal:
    return Refusal("RCP0716", f"class activation maps cannot be drawn: {why}", help)
