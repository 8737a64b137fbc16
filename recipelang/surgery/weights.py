"""Weights in files: read without running anything of theirs, and loaded whole or not at all."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.surgery.tracing import first_line

#: names under which training scripts put a state dict inside their checkpoint
WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
SHOWN = 3


def digest(tensors: Mapping[str, Tensor], of: str = "") -> str:
    """SHA-256, in hex, of names, types, shapes and bytes, and of the text `of` before them."""
    whole = hashlib.sha256(of.encode())
    for name, tensor in sorted(tensors.items()):
        plain = tensor.detach().cpu().contiguous()
        whole.update(f"{name} {plain.dtype} {tuple(plain.shape)}".encode())
        whole.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return whole.hexdigest()


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a torch file read with `weights_only=True`.

    A checkpoint that holds its state dict under `state_dict`, `model_state_dict`, `model` or `net` is opened, and the
    prefix `module.` that DataParallel writes is taken off.

    Raises:
        Refusal: RCP0706: the file is missing, corrupt, or needs code to run.
    """
    shown = path.name
    if not path.is_file():
        raise Refusal(
            "RCP0706",
            f"there is no weights file `{shown}`",
            "write the path relative to the recipe, or give it in `recipe.yaml`",
        )
    try:
        loaded: Any = load_file(path) if path.suffix == ".safetensors" else _load_pickled(path)
    except Exception as error:  # a hostile file may make its reader raise anything
        code = isinstance(error, pickle.UnpicklingError)
        why = "it is no file of plain tensors" if code else f"{type(error).__name__}: {first_line(error)}"
        raise Refusal(
            "RCP0706",
            f"the weights file `{shown}` cannot be read: {why}",
            "use a safetensors file or a plain state dict saved with `torch.save(model.state_dict(), …)`",
        ) from error
    for wrapper in WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if (
        not isinstance(loaded, Mapping)
        or not loaded
        or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in loaded.items())
    ):
        raise Refusal(
            "RCP0706", f"the weights file `{shown}` holds no state dict", "save `model.state_dict()` and nothing else"
        )
    while all(name.startswith("module.") for name in loaded):
        loaded = {name.removeprefix("module."): tensor for name, tensor in loaded.items()}
    return dict(loaded)


def _load_pickled(path: Path) -> Any:
    """weights_only: torch builds tensors and plain containers and refuses every other global."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about a file that it then refuses
        return torch.load(path, map_location="cpu", weights_only=True)


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Load every weight into the module, in place.

    Args:
        module: of the same architecture; untouched where the weights do not fit.
        weights: by the names of `module.state_dict()`.
        what: where they come from, for the message.

    Raises:
        Refusal: RCP0707: names are missing or too many, or shapes differ; the first few are listed.
    """
    own = module.state_dict()
    missing = [f"`{name}` {_shape(own[name])}" for name in own if name not in weights]
    # BatchNorm of old torch versions had no counter, and nothing is computed from it in evaluation.
    missing = [line for line in missing if "num_batches_tracked`" not in line]
    extra = [f"`{name}` {_shape(weights[name])}" for name in weights if name not in own]
    other = [
        f"`{name}` is {_shape(weights[name])} and should be {_shape(own[name])}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    kinds = [
        f"{label} {_few(lines)}"
        for label, lines in (("missing:", missing), ("not in the network:", extra), ("of another shape:", other))
        if lines
    ]
    if kinds:
        raise Refusal(
            "RCP0707",
            f"{what} do not fit the network; {'; '.join(kinds)}",
            "use the weights of this architecture, with this number of classes",
        )
    require_finite(module, {name: weights[name] for name in own if name in weights}, what)
    module.load_state_dict(dict(weights), strict=False)


def require_finite(module: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Refuse weights that hold NaN or infinity.

    Args:
        module: of this architecture. Only its parameters must be finite: a buffer that masks attention holds -inf.
        weights: by the names of `module.state_dict()`.
        what: where they come from, for the message.

    Raises:
        Refusal: RCP0707.
    """
    buffers = {name for name, _ in module.named_buffers(remove_duplicate=False)}
    broken = [
        f"`{name}`"
        for name, weight in weights.items()
        if weight.is_floating_point() and not (weight.isfinite() | (weight.isneginf() & (name in buffers))).all()
    ]
    if broken:
        raise Refusal(
            "RCP0707",
            f"{what} hold NaN or infinity: {_few(broken)}",
            "train again with a lower learning rate, or use an earlier checkpoint",
        )


def _shape(tensor: Tensor) -> str:
    return "×".join(str(n) for n in tensor.shape) or "scalar"


def _few(lines: list[str]) -> str:
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return ", ".join(lines[:SHOWN]) + more
