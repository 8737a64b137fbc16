"""A network that a run saved, from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipelang.errors import Refusal
from recipelang.failures import one_exception
from recipelang.files import expanded

if TYPE_CHECKING:
    from recipelang.given import Given
    from recipelang.predictor import Predictor


def load(
    folder: str | Path,
    *,
    model: Any = None,
    trust: bool = False,
    device: str = "cpu",
    precision: str = "float32",
    batch: int = 1,
) -> Predictor:
    """The compressed network in `folder` (`OUT/main` of a run), rebuilt, in evaluation mode, ready to predict.

    Nothing is unpickled and nothing is downloaded.

    Args:
        folder: a folder with `model.json`, `surgery.json`, `restrictions.safetensors` and `model.safetensors`.
        model: for a network that a program gave to `run`: an nn.Module that is built in the same way, with any weights,
            or a function that builds it. It is not changed.
        trust: whether the Python file of a `python("file.py:build")` network may run.
        device: `cpu`, `cuda` or `cuda:1`.
        precision: `float32`, `float16` or `bfloat16`. On a GPU, 2:4 layers that the recipe accelerates execute as
            sparse in the last two, where that is faster.
        batch: images that are usually given at once: kernels are chosen for it.

    Returns:
        an nn.Module, B×C×H×W → B×classes, with `predict(images)`, `classes` and `preprocessing`.

    Raises:
        RecipeError: a file is missing, altered or inconsistent with the others, this machine lacks the device, or
            `model` is missing or is another network.
    """
    with one_exception():
        return loaded(expanded(str(folder)), model, {}, trust=trust, device=device, precision=precision, batch=batch)


def loaded(folder: Path, model: Any, known: dict[str, Given], **how: Any) -> Predictor:
    """The network in a folder.

    Args:
        model: as of `load`.
        known: networks that this process has given to the run, by their content.
        how: the other settings of `load`.

    Raises:
        Refusal: as `predictor.load`; RCP0921: the network needs no `model`; RCP0923: `model` is another network.
    """
    from recipelang.given import giving
    from recipelang.predictor import load as load_predictor  # loads torch: only when asked for
    from recipelang.surgery.given_network import given_network
    from recipelang.surgery.manifest import read_manifest

    if model is not None:
        source = read_manifest(folder).source
        if source["model"] != "given":
            raise Refusal(
                "RCP0921",
                f"`model` is given, and `{folder.name}` is a network that is built without it",
                "leave `model` out",
            )
        settings = source["settings"]
        _, given = given_network(model, str(settings.get("of", "")))
        known = {str(settings.get("content")): given}
    with giving(known):
        return load_predictor(folder, **how)
