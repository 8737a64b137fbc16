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

PICTURE, TILES, NUMBERS = "activation_maps.png", "activation_map_tiles.png", "activation_maps.json"
TILED, SIDE = 6, 128  # images that are drawn for reports; the longer side of each picture, in pixels
OVER = 0.55  # how much of a picture is the map that lies over it
NO_GRIDS = (
    "the scores of a quantized network are not sums over places: its head reads rounded means",
    "export it above",
)


@method("export", "activation_maps")
@dataclass(frozen=True)
class ActivationMaps:
    """Where in an image the network sees its class, beside where healthy saw it: class activation maps.

    What: `activation_maps.png`, a row for each test image with the image, and the maps of the image's class of healthy,
        of recovered where there is a hardware restriction, and of this network; `activation_maps.json` with what each
        answered and how alike its map is to healthy's. `activation_map_tiles.png` has the first images without words:
        reports show them, with all networks of a recipe side by side.
    Formula: M_c = Σ_k w_ck F_k, F the last feature map, w the head's weights: the mean of M_c over places, plus the
        head's bias, is the score of class c. Every map is scaled to its own range. Alikeness is the correlation of a
        map with healthy's over places, −1 … 1.
    Shapes: F B×K×h×w → a map h×w for each image; images are drawn from the test split.
    Needs: a network that ends with a mean over places and one linear layer (or a 1×1 convolution and a mean). It is
        compared with its scores before anything is written. A network of another kind, as a transformer, is left out,
        and the report names it and the reason; a recipe in which none has maps is refused.
    When it misleads: a map shows what raises the score and not why; a class may be recognised by its background.
    Source: Zhou et al., "Learning deep features for discriminative localization", CVPR 2016.
    """

    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    looks_at_data: ClassVar[bool] = True
    leaves_out: ClassVar[bool] = True
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
        """Write pictures and numbers into `folder`. Where healthy or recovered has no maps of these classes, it is not
        drawn, and the numbers say why.

        Raises:
            Refusal: RCP0716: the network has no class activation maps.
        """
        from recipelang.files import atomic, write_text

        (batch,) = beside.data.batches("test", batch=self.images, samples=self.images)
        others = {"healthy": beside.healthy} | ({} if beside.recovered is None else {"recovered": beside.recovered})
        both, without = {}, {}
        for name, one in others.items():
            try:
                both[name] = _maps_of(one, network, batch.inputs)
            except Refusal as refusal:
                without[name] = refusal.message
        both["network"] = _maps_of(network, network, batch.inputs)
        chosen = torch.arange(len(batch.targets)), batch.targets
        maps = {name: found[chosen] for name, (found, _) in both.items()}
        scores = {name: found for name, (_, found) in both.items()}
        told = _told(maps, scores, batch.targets, beside) | ({"without": without} if without else {})
        pixels = _pixels(batch.inputs, beside.data.preprocessing)
        pictures = _tiles(pixels, list(maps.values()))
        write_text(folder / NUMBERS, json.dumps(told, indent=1) + "\n")
        with atomic(folder / PICTURE) as file:
            _draw(file, pictures, told)
        with atomic(folder / TILES) as file:
            _sheet(pictures[:TILED]).save(file, "PNG", optimize=True)
        return folder / PICTURE, folder / TILES, folder / NUMBERS


def _maps_of(one: Any, network: Any, images: Tensor) -> tuple[Tensor, Tensor]:
    """The maps B×classes×h×w of a network for the classes of another, and its scores B×classes.

    Raises:
        Refusal: RCP0716: it has none, or other classes.
    """
    from recipelang.surgery.activation_maps import activation_maps
    from recipelang.surgery.simulated import computing

    if computing(one.restrictions):
        raise _refused(*NO_GRIDS)
    if tuple(one.classes) != tuple(network.classes):
        raise _refused("its classes are others", "remove `activation_maps`")
    return activation_maps(one, images)


def _told(maps: Mapping[str, Tensor], scores: Mapping[str, Tensor], targets: Tensor, beside: Beside) -> dict[str, Any]:
    """What each network answered to each image, and how alike its map is to that of healthy."""
    names = names_of(beside.data) or ()
    answers = {name: [names[found] for found in given.argmax(1).tolist()] for name, given in scores.items()}
    compared = maps if "healthy" in maps else {}
    alike = {name: correlations(maps["healthy"], one) for name, one in compared.items() if name != "healthy"}
    images = [
        {
            "class": names[label],
            "answers": {name: found[row] for name, found in answers.items()},
            "alike": {name: found[row] for name, found in alike.items()},
        }
        for row, label in enumerate(targets.tolist())
    ]
    return {"alike": {name: _mean(found) for name, found in alike.items()}, "tiled": TILED, "images": images}


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


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


def _tiles(pixels: Tensor, maps: list[Tensor]) -> list[list[Any]]:
    """For each image B×H×W×3 in 0 … 1, pictures of one size: itself, and itself under each network's map B×h×w."""
    from matplotlib import colormaps
    from PIL import Image

    height, width = pixels.shape[1:3]
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    fitted = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    colours = colormaps["inferno"]

    def picture(values: Any, how: Image.Resampling) -> Image.Image:
        return Image.fromarray((values * 255).round().astype("uint8"), "RGB").resize(size, how)

    def over(image: Image.Image, seen: Tensor) -> Image.Image:
        drawn = torch.nn.functional.interpolate(seen[None, None], size[::-1], mode="bilinear")[0, 0]
        return Image.blend(image, picture(colours(drawn.numpy())[..., :3], fitted), OVER)

    images = [picture(image.numpy(), fitted) for image in pixels]
    scaled = [_scaled(one) for one in maps]
    return [[image, *(over(image, one[row]) for one in scaled)] for row, image in enumerate(images)]


def _sheet(pictures: list[list[Any]]) -> Any:
    """Pictures of one size as one image, without space between them."""
    from PIL import Image

    width, height = pictures[0][0].size
    sheet = Image.new("RGB", (width * len(pictures[0]), height * len(pictures)))
    for row, line in enumerate(pictures):
        for column, picture in enumerate(line):
            sheet.paste(picture, (column * width, row * height))
    return sheet


def _draw(file: Any, pictures: list[list[Any]], told: dict[str, Any]) -> None:
    """A row for each image: its pictures, under its class and what each network answered."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = len(pictures[0])
    figure = Figure(figsize=(1.8 * columns, 1.9 * len(pictures)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(pictures), columns, squeeze=False)
    for axes, line, image in zip(grid, pictures, told["images"], strict=True):
        titles = image["class"], *(f"{name}: {answer}" for name, answer in image["answers"].items())
        for place, picture, title in zip(axes, line, titles, strict=True):
            place.imshow(picture)
            place.set_title(title, fontsize=8, parse_math=False)
            place.set_axis_off()
    figure.savefig(file, format="png", dpi=110, metadata={"Software": None})


def _refused(why: str, help: str) -> Refusal:
    return Refusal("RCP0716", f"class activation maps cannot be drawn: {why}", help)
