"""timm's networks: built for images of a size, with weights from the hub's cache, from a folder or from a file."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import nn

from recipelang.errors import Refusal, did_you_mean, nearest
from recipelang.extras import require_libraries
from recipelang.hub import cache_folder, offline, snapshot
from recipelang.kinds import Preprocessing
from recipelang.surgery.checkpoints import Checkpoint, files_of, read_weights
from recipelang.surgery.hub import HubFolder, open_folder, unfit
from recipelang.surgery.naming import named_for

DEFAULT = "DEFAULT"
_FILTERS = ("bilinear", "bicubic")
#: files of a snapshot of timm, the preferred first
_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Weights:
    """Weights for a network of timm, and what timm says of them.

    Attributes:
        cfg: its `pretrained_cfg`: size, normalisation, crop, number of classes.
        files: what they are read from.
        published: whether timm loads them itself, from `files[0]`.
        checkpoint: those of a folder or a file of the user's; None where timm loads them.
        known: names of their classes; () where they are unknown.
    """

    cfg: Mapping[str, Any]
    files: tuple[Path, ...] = ()
    published: bool = False
    checkpoint: Checkpoint | None = None
    known: tuple[str, ...] = ()


def require_timm() -> None:
    """Refuse where timm is not installed (RCP1027)."""
    require_libraries("model timm", ("timm",), "timm")


def weights_of(
    architecture: str, weights: str, at: str, resolve: Callable[[str], Path], *, read: bool = True
) -> Weights | None:
    """Find weights by `DEFAULT`, the name of a tag, a folder that timm saved, or a file; None for `""`.

    Args:
        architecture: `resnet50`, or with its tag `resnet50.a1_in1k`.
        read: whether a folder or file is read, not only found.

    Raises:
        Refusal: RCP0760: published weights that are not on this machine; RCP0764: timm has no such network or tag;
            RCP0706, RCP0762: a file or folder cannot be used.
    """
    name, _, tag = architecture.partition(".")
    if weights and _is_tag(weights, resolve):
        if tag and weights not in (DEFAULT, tag):
            message = f"`timm.{architecture}` names the weights `{tag}`, and `weights` names `{weights}`"
            raise Refusal("RCP0764", message, "leave one out")
        return _published(name, tag if weights == DEFAULT else weights)
    if not weights:
        return None
    place = resolve(weights)
    if place.is_dir():
        return _of_folder(name, open_folder(weights, resolve), at, read)
    return Weights(configuration(name, tag), files_of(place), checkpoint=read_weights(place, at) if read else None)


def configuration(name: str, tag: str = "") -> dict[str, Any]:
    """What timm says of a network with the weights of a tag; "" is its default.

    Raises:
        Refusal: RCP0764: it has no such network or tag.
    """
    import timm
    from timm.models import get_pretrained_cfg

    if not timm.is_model(name):
        close = nearest(name, timm.list_models())
        offer = f"did you mean `timm.{close}`?" if close else "`timm.list_models()` lists them all"
        raise Refusal("RCP0764", f"timm has no network `{name[:60]}`", offer)
    tags = [found.partition(".")[2] for found in timm.list_models(f"{name}.*", include_tags=True)]
    if tag and tag not in tags:
        offered = ", ".join(f"`{one}`" for one in tags[:6]) + (f" and {len(tags) - 6} more" if tags[6:] else "")
        help = (
            f"{did_you_mean(tag, tags)}it has {offered}"
            if any(tags)
            else 'leave it out, or give a file: `weights="FILE"`'
        )
        raise Refusal("RCP0764", f"timm has no weights `{tag[:60]}` for {name}", help)
    found = get_pretrained_cfg(f"{name}.{tag}" if tag else name)
    return dict(found.to_dict()) if found else {}


def construct(
    name: str,
    cfg: Mapping[str, Any],
    shape: tuple[int, ...],
    classes: int | None,
    published: Path | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build the network for images of a shape, with random weights or those of a file of timm's own.

    Args:
        name: without a tag.
        cfg: its configuration; networks for one size alone are built for the size of the images.
        shape: (C, H, W).
        classes: number of outputs; None: those of the configuration.
        published: timm's own file of weights, which it adapts to the channels, size and classes.
        arguments: of the class, as a folder that timm saved names them.

    Raises:
        Refusal: RCP0764: timm cannot build it.
    """
    import timm

    given: dict[str, Any] = {**(arguments or {}), "in_chans": shape[0]}
    if classes is not None:
        given["num_classes"] = classes
    if cfg.get("fixed_input_size") and len(shape) == 3 and tuple(cfg.get("input_size", ()))[1:] != tuple(shape[1:]):
        given["img_size"] = tuple(shape[1:])
    if published:
        tag = cfg.get("tag")
        name = f"{name}.{tag}" if tag else name
        given |= {"pretrained": True, "pretrained_cfg_overlay": {"file": str(published)}}
    try:
        with _quietly():
            module: nn.Module = timm.create_model(name, **given)
    except Exception as error:  # each class raises in its own way
        text = " ".join(str(error).split())[:300] or type(error).__name__
        size = "×".join(map(str, shape))
        raise Refusal("RCP0764", f"timm cannot build `{name}` for {size} images: {text}", _other_size(cfg)) from error
    return module


def classes_in(checkpoint: Checkpoint, cfg: Mapping[str, Any], module: nn.Module) -> int | None:
    """The number of outputs that the weights of a file have, by the head that timm names; None where it has none."""
    own = module.state_dict()
    tensors = named_for(checkpoint.tensors, own, "the weights").tensors
    heads = cfg.get("classifier") or ()
    for head in (heads,) if isinstance(heads, str) else heads:
        for ending in ("weight", "bias"):
            found, built = tensors.get(f"{head}.{ending}"), own.get(f"{head}.{ending}")
            if found is not None and built is not None and found.ndim == built.ndim and len(found):
                return len(found)
    return None


def new_heads(module: nn.Module, classes: int) -> tuple[str, ...]:
    """Give a network this many outputs as timm does it, in place; the paths of its heads."""
    module.reset_classifier(classes)  # type: ignore[operator]
    heads = (getattr(module, "pretrained_cfg", None) or {}).get("classifier") or "head"
    return (heads,) if isinstance(heads, str) else tuple(heads)


def preprocessing(cfg: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[Preprocessing | None, tuple[str, ...]]:
    """What timm's evaluation does with an image, for images of shape (C, H, W), and notes on what differs."""
    mean, std = tuple(cfg.get("mean") or ()), tuple(cfg.get("std") or ())
    if len(mean) != shape[0]:  # other channels than those that the weights were trained on
        return None, ()
    notes = []
    how = str(cfg.get("interpolation") or "bilinear")
    if how not in _FILTERS:
        notes.append(f"timm resizes its images with `{how}`, the data with `bicubic`")
    part, mode = float(cfg.get("crop_pct") or 0.875), str(cfg.get("crop_mode") or "center")
    resize: int | None = math.floor(min(shape[1:]) / part)
    if mode == "squash" and part == 1:
        resize = None
    elif mode != "center":
        notes.append(f"timm prepares its images by `{mode}`; the data resizes and crops them at the centre")
    size = (shape[1], shape[2])
    filter = how if how in _FILTERS else "bicubic"
    return Preprocessing(size, mean, std, resize, interpolation=filter, crop="rounded"), tuple(notes)


def _is_tag(weights: str, resolve: Callable[[str], Path]) -> bool:
    """Whether the text names published weights and not a file: `DEFAULT`, `a1_in1k`."""
    return weights == DEFAULT or (weights.isidentifier() and not resolve(weights).exists())


def _published(name: str, tag: str) -> Weights:
    cfg = configuration(name, tag)
    tag = str(cfg.get("tag") or tag)
    full = f"{name}.{tag}" if tag else name
    repository = str(cfg.get("hf_hub_id") or "")
    repository = f"timm/{full}" if repository == "timm/" else repository
    url = str(cfg.get("url") or "")
    if not repository and not url:
        raise Refusal("RCP0764", f"timm has no published weights for {full}", 'give a file: `weights="FILE"`')
    places = [found / file for found in [snapshot(repository)] if found for file in _files(cfg)]
    stored = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name if url else None
    for file in [*places, *([stored] if stored else [])]:
        if file.is_file():
            if file.suffix != ".npz":
                read_weights(file)  # a damaged file is named before timm reads it
            return Weights(cfg, (file,), published=True, known=_classes(cfg))
    looked = f"`{cache_folder()}`, which `HF_HOME` moves" + (f", and as `{stored}`" if stored else "")
    fetch = f"`hf download {repository}`" if repository else f"`{url}`"
    message = f"the weights `{full}` of timm are not on this machine, and a recipe downloads nothing"
    help = f'{fetch} downloads them once; they were looked for in {looked}; or give a file: `weights="FILE"`'
    raise Refusal("RCP0760", message, help)


def _files(cfg: Mapping[str, Any]) -> tuple[str, ...]:
    named = cfg.get("hf_hub_filename")
    return (str(named),) if named else _FILES


def _of_folder(name: str, folder: HubFolder, at: str, read: bool) -> Weights:
    """Weights that `timm.models.save_for_hf` or `push_to_hf_hub` saved."""
    told = folder.config
    saved = str(told.get("architecture") or "")
    if saved != name:
        what = f"the network `{saved}`" if saved else "not a network of timm"
        help = f"write `model timm.{saved}(…)`" if saved else f'write `model huggingface("{folder.where}")`'
        raise unfit(folder.where, f"its `config.json` is {what}, not `{name}`", help)
    cfg = configuration(name) | dict(told.get("pretrained_cfg") or {})
    cfg["num_classes"] = told.get("num_classes", cfg.get("num_classes"))
    if told.get("model_args"):
        cfg["model_args"] = dict(told["model_args"])
    labels = told.get("label_names") or cfg.get("label_names") or ()
    known = _unique([str(label) for label in labels]) if isinstance(labels, list | tuple) else ()
    file = folder.weights()
    return Weights(cfg, folder.files(), checkpoint=read_weights(file, at) if read else None, known=known)


def _classes(cfg: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the classes of published weights: ImageNet's, by the lists that timm has."""
    from timm.data import ImageNetInfo, infer_imagenet_subset

    if cfg.get("num_classes") == 1000:
        from torchvision.models import ResNet18_Weights

        return _unique(ResNet18_Weights.DEFAULT.meta["categories"])  # the names that folders of data have
    subset = infer_imagenet_subset(dict(cfg))
    if not subset:
        return ()
    found = ImageNetInfo(subset)
    return _unique([found.index_to_description(k) for k in range(found.num_classes())])


def _unique(names: list[str]) -> tuple[str, ...]:
    counts = Counter(names)
    return tuple(name if counts[name] == 1 else f"{name} ({k})" for k, name in enumerate(names))


def _other_size(cfg: Mapping[str, Any]) -> str:
    size = tuple(cfg.get("input_size") or ())
    return f"give the data images of {'×'.join(map(str, size))}" if size else "give the data another `size`"


@contextmanager
def _quietly() -> Iterator[None]:
    with offline(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
