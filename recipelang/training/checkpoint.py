"""The state of a training in one file: weights, optimizer, random numbers, position. No pickle.

The file is safetensors with JSON in its header, written under another name and renamed, so that it is either complete
or absent. A file that is incomplete, altered or from another training is not used.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from recipelang.files import atomic
from recipelang.surgery import chance
from recipelang.surgery.weights import digest

FORMAT = "recipelang.checkpoint/4"


@dataclass
class TrainingState:
    """A training under way: what one step changes.

    Attributes:
        module, optimizer: changed in place.
        parts: what losses and companions train or keep beside the network; empty where there is nothing.
        step: number of optimizer steps done.
        loss, score, seen: sums over the epoch so far: loss times images, the task's score, images.
        history: one row per finished epoch.
    """

    module: nn.Module
    optimizer: torch.optim.Optimizer
    parts: nn.Module = field(default_factory=nn.Module)
    step: int = 0
    loss: float = 0.0
    score: float = 0
    seen: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)


def _devices(module: nn.Module) -> list[int]:
    """CUDA devices of the module, whose random numbers are part of the state."""
    return sorted({p.device.index for p in module.parameters() if p.device.type == "cuda"})


def _tensors(state: TrainingState) -> dict[str, Tensor]:
    """Every tensor of the state, by name."""
    tensors = {f"model.{n}": t for n, t in state.module.state_dict().items()}
    tensors |= {f"parts.{n}": t for n, t in state.parts.state_dict().items()}
    for index, values in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{n}": v for n, v in values.items() if isinstance(v, Tensor)}
    tensors["random.cpu"] = torch.get_rng_state()
    tensors |= {f"random.cuda.{i}": torch.cuda.get_rng_state(i) for i in _devices(state.module)}
    # Copies: tied weights share memory, and safetensors preserves neither that nor a memory format.
    return {n: t.detach().cpu().clone(memory_format=torch.contiguous_format) for n, t in tensors.items()}


def save(path: Path, state: TrainingState, identity: str) -> None:
    """Write the state.

    Args:
        path: the file; its parent folders are created.
        identity: of this training; a checkpoint of another one is never continued.

    Raises:
        OSError: the disk is full or not writable; an earlier checkpoint is kept.
    """
    tensors = _tensors(state)
    numbers = {
        str(index): {n: v for n, v in values.items() if not isinstance(v, Tensor)}
        for index, values in state.optimizer.state_dict()["state"].items()
    }
    position = {
        "step": state.step,
        "loss": state.loss,
        "correct": state.score,  # as older checkpoints call it
        "seen": state.seen,
        "history": state.history,
    }
    header = {
        "format": FORMAT,
        "identity": identity,
        "position": json.dumps(position),
        "optimizer": json.dumps(numbers),
        "random": chance.written(),
    }
    header["digest"] = digest(tensors, of=_told(header))
    with atomic(path) as file:
        file.write(to_safetensors(tensors, metadata=header))


def load(path: Path, state: TrainingState, identity: str) -> bool:
    """Continue from a checkpoint, if the file is complete and of this training.

    Returns:
        Whether `state` and the random numbers were set; if not, they are unchanged.
    """
    read = _read(path, identity)
    if read is None:
        return False
    tensors, header = read
    if not (_fits("model.", state.module, tensors) and _fits("parts.", state.parts, tensors)):
        return False  # of a version in which a companion or a loss had other numbers
    position = json.loads(header["position"])
    state.module.load_state_dict(_of("model.", tensors))
    state.parts.load_state_dict(_of("parts.", tensors))
    _restore_optimizer(state.optimizer, tensors, json.loads(header["optimizer"]))
    state.step, state.loss, state.history = position["step"], position["loss"], position["history"]
    state.score, state.seen = position["correct"], position["seen"]
    chance.restore(header["random"])
    torch.set_rng_state(tensors["random.cpu"])
    for i in _devices(state.module):
        torch.cuda.set_rng_state(tensors[f"random.cuda.{i}"], i)
    return True


def _fits(prefix: str, module: nn.Module, tensors: dict[str, Tensor]) -> bool:
    """Whether the tensors are those of the module's state."""
    shapes = {name: tensor.shape for name, tensor in _of(prefix, tensors).items()}
    held = module.state_dict().items()
    return shapes == {name: tensor.shape for name, tensor in held if isinstance(tensor, Tensor)}


def _of(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _told(header: dict[str, str]) -> str:
    """The entries of a header that its digest covers in addition to the tensors."""
    return json.dumps([header[name] for name in ("format", "identity", "position", "optimizer", "random")])


def _read(path: Path, identity: str) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Tensors and header of a file that is complete and of this training."""
    with contextlib.suppress(OSError, SafetensorError, ValueError, KeyError), safe_open(path, "pt") as file:
        header = file.metadata() or {}
        if (header.get("format"), header.get("identity")) == (FORMAT, identity):
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            if digest(tensors, of=_told(header)) == header.get("digest"):
                return tensors, header
    return None


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    restored: dict[int, dict[str, Any]] = {int(index): dict(values) for index, values in numbers.items()}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "optimizer":
            index, _, key = rest.partition(".")
            parameter = parameters[int(index)]
            if tensor.shape == parameter.shape:  # in the memory format of its parameter, as before
                tensor = torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)
            restored[int(index)][key] = tensor
    optimizer.load_state_dict({"state": restored, "param_groups": optimizer.state_dict()["param_groups"]})
