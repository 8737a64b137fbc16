"""The cost of a network by its structure: stored bytes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recipelang.surgery.network import Restrictions
from recipelang.surgery.restricting import is_parameter


def stored_bytes(module: nn.Module, restrictions: Restrictions | None = None) -> int:
    """Bytes of the module's state as a safetensors file: every tensor once, dense, floating point as float32.

    Args:
        module: of a network.
        restrictions: the network's: what is on a grid counts with the grid's bits, and the grids count too.
    """
    import safetensors.torch

    saved = 0
    for place, each in (restrictions or {}).items():
        value = module.get_parameter(place) if is_parameter(place) else None
        stored = [bytes for one in each if (bytes := one.stored(value)) is not None]
        saved += (0 if value is None else 4 * value.numel()) - min(stored) if stored else 0

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
    return len(safetensors.torch.save(state)) - saved
