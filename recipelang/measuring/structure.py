"""The cost of a network by its structure: stored bytes."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def stored_bytes(module: nn.Module) -> int:
    """Bytes of the module's state as a safetensors file: every tensor once, dense, floating point as float32."""
    import safetensors.torch

    state: dict[str, Tensor] = {}
    seen: set[tuple[int, torch.Size, tuple[int, ...]]] = set()
    for name, tensor in module.state_dict().items():
        view = (tensor.data_ptr(), tensor.shape, tensor.stride())
        if tensor.numel() and view in seen:
            continue
        seen.add(view)
        state[name] = (
            (tensor.float() if tensor.is_floating_point() else tensor)
            .detach()
            .cpu()
            .clone(memory_format=torch.contiguous_format)
        )
    return len(safetensors.torch.save(state))
