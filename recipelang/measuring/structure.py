"""What a network consists of: its weight matrices, FLOPs and stored bytes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

#: Convolutions whose weights are O×I×k…; transposed ones are I×O×k….
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def weight_matrices(module: nn.Module, *, grouped: bool = True) -> dict[str, Tensor]:
    """The weights of convolutions, linear layers and attention projections, filters first, each once.

    Args:
        grouped: whether grouped (depthwise) convolutions count; no pattern can act on those.

    Returns:
        Parameter name → O×I or O×I×k…; biases, norms, embeddings and scales are no matrices.
    """
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for prefix, layer in module.named_modules():
        for name, weight in _matrices_of(layer, grouped):
            if id(weight) not in seen:
                seen.add(id(weight))
                found[f"{prefix}.{name}" if prefix else name] = weight
    return found


def _matrices_of(layer: nn.Module, grouped: bool) -> Iterator[tuple[str, Tensor]]:
    if isinstance(layer, nn.Linear) or (isinstance(layer, _CONVOLUTIONS) and (grouped or layer.groups == 1)):
        yield "weight", layer.weight
    elif isinstance(layer, nn.MultiheadAttention):
        for name in ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight"):
            if (weight := getattr(layer, name, None)) is not None:
                yield name, weight


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
        state[name] = (tensor.float() if tensor.is_floating_point() else tensor).detach().cpu().clone(
            memory_format=torch.contiguous_format
        )
    return len(safetensors.torch.save(state))
