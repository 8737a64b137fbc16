"""torchvision's classification networks and their published weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import nn
from torchvision import models

from recipelang.errors import Refusal, nearest
from recipelang.kinds import Preprocessing
from recipelang.surgery.tracing import first_line

#: networks with classifiers used only in training; their published weights expect the mean and std of `HALVES`
WITH_AUXILIARY = ("googlenet", "inception_v3")
HALVES = (0.5, 0.5, 0.5)


def published(architecture: str, weights: str) -> Any:
    """The entry of torchvision for weights of this name, or None where the text looks like a path.

    Raises:
        Refusal: RCP0709: no such network; RCP0710: no such weights.
    """
    _known(architecture)
    entries = models.get_model_weights(architecture)
    name = weights.rpartition("_Weights.")[2]
    if name in entries.__members__:
        return entries[name]
    if name.isupper() and name.replace("_", "").isalnum():
        offered = ", ".join(f"`{member}`" for member in entries.__members__)
        raise Refusal("RCP0710", f"torchvision has no weights `{weights}` for {architecture}", f"it has {offered}")
    return None


def construct(architecture: str, entry: Any, size: int) -> nn.Module:
    """Build the network with published weights, or with random ones for images of `size` pixels.

    GoogLeNet and Inception keep their auxiliary classifiers, which are trained too, and use their published weights
    without their internal normalisation (`preprocessing` includes it), so that one architecture serves all weights.

    Raises:
        Refusal: RCP0709: no such network; RCP0710: the weights cannot be downloaded.
    """
    _known(architecture)
    if architecture in WITH_AUXILIARY:
        return _with_auxiliary(architecture, entry)
    module = _with_weights(architecture, entry) if entry else models.get_model(architecture, weights=None)
    if not entry and getattr(module, "image_size", size) != size:
        module = _of_size(architecture, size)
    return module


def file_of(entry: Any) -> Path:
    """The downloaded file of published weights.

    Raises:
        Refusal: RCP0710: it cannot be downloaded.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(entry.url).path).name
    if not path.is_file():
        try:
            entry.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError) as error:
            raise _no_download(entry, error) from error
    return path


def input_shape(entry: Any) -> tuple[int, int, int]:
    """(C, H, W) of the images that the weights were trained on."""
    transforms = entry.transforms()
    return len(transforms.mean), transforms.crop_size[0], transforms.crop_size[0]


def preprocessing(entry: Any, shape: tuple[int, int, int]) -> Preprocessing:
    """The preprocessing that the weights require, for images of shape (C, H, W)."""
    transforms = entry.transforms()
    resize = round(transforms.resize_size[0] * min(shape[1:]) / transforms.crop_size[0])
    # These two normalise again internally: x·std/0.5 + (mean − 0.5)/0.5, which undoes the mean and std of ImageNet.
    inside = type(entry) in {models.get_model_weights(name) for name in WITH_AUXILIARY}
    mean, std = (HALVES, HALVES) if inside else (transforms.mean, transforms.std)
    return Preprocessing(
        (shape[1], shape[2]),
        tuple(mean),
        tuple(std),
        resize,
        interpolation=transforms.interpolation.value,
        crop="rounded",
    )


def class_names(entry: Any) -> tuple[str, ...]:
    """The classes of the weights; a name shared by several gets its number, so that names are unique."""
    names = tuple(entry.meta.get("categories", ()))
    return tuple(name if names.count(name) == 1 else f"{name} ({k})" for k, name in enumerate(names))


def _known(architecture: str) -> None:
    known = models.list_models(module=models)
    if architecture not in known:
        close = nearest(architecture, known)
        offer = f"did you mean `torchvision.{close}`?" if close else "`torchvision.models.list_models()` lists them all"
        raise Refusal("RCP0709", f"torchvision has no classification network `{architecture}`", offer)


def _with_weights(architecture: str, entry: Any) -> nn.Module:
    file_of(entry)
    try:
        module: nn.Module = models.get_model(architecture, weights=entry, progress=False)
    except (OSError, RuntimeError) as error:
        raise _no_download(entry, error) from error
    return module


def _with_auxiliary(architecture: str, entry: Any) -> nn.Module:
    """The network with its auxiliary classifiers, and with published weights, if any."""
    module: nn.Module = models.get_model(
        architecture, weights=None, transform_input=False, aux_logits=True, init_weights=entry is None
    )
    if entry:
        try:
            module.load_state_dict(torch.load(file_of(entry), map_location="cpu", weights_only=True))
        except (OSError, RuntimeError) as error:
            raise _no_download(entry, error) from error
    return module


def _of_size(architecture: str, size: int) -> nn.Module:
    try:
        module: nn.Module = models.get_model(architecture, weights=None, image_size=size)
    except Exception as error:  # torchvision may raise anything for sizes that are not multiples of its patches
        raise Refusal(
            "RCP0713",
            f"`torchvision.{architecture}` cannot be built for images of {size} pixels: {first_line(error)}",
            "give the data a different `size`, such as `size=224`",
        ) from error
    return module


def _no_download(entry: Any, error: Exception) -> Refusal:
    return Refusal(
        "RCP0710",
        f"the weights `{entry.name}` cannot be downloaded: {type(error).__name__}: {first_line(error)}",
        'connect to the network once, or give a file: `weights="FILE.safetensors"`',
    )
