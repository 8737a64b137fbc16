"""What a network costs by its structure: FLOPs and stored bytes."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def count_flops(module: nn.Module, example: Tensor) -> int:
    """FLOPs of one call with `example`, 2 for each multiply-accumulate of convolutions, matrix products and
    attention; additions, norms and activations are not counted.

    The fused path of nn.MultiheadAttention is switched off meanwhile: it hides its products from the counter.
    """
    from torch.utils.flop_counter import FlopCounterMode

    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            module(example)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return int(counter.get_total_flops())


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
