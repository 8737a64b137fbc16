"""The cost of a network by its structure: stored bytes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recipelang.kinds import Encoder, Restriction
from recipelang.surgery.coding import codes_of, encode
from recipelang.surgery.network import Restrictions
from recipelang.surgery.restricting import is_parameter
from recipelang.surgery.restrictions.mask import Mask
from recipelang.surgery.sparse import sparse_float_bytes


def stored_bytes(
    module: nn.Module,
    restrictions: Restrictions | None = None,
    *,
    encoder: Encoder | None = None,
    gaps: bool = False,
) -> int:
    """Bytes of the module's state as a safetensors file: every tensor once, dense, floating point as float32.

    Args:
        module: of a network.
        restrictions: the network's: what is on a grid counts with the grid's bits, what shares values with the bits of
            their numbers; the grids and values count too.
        encoder: what weights of few values are encoded with; None where they are stored with a fixed number of bits.
        gaps: whether masked weights count as their nonzeros and the gaps between them, where that is smaller.
    """
    import safetensors.torch

    saved = 0
    for place, each in (restrictions or {}).items():
        value = module.get_parameter(place) if is_parameter(place) else None
        if (stored := _stored(value, each, encoder, gaps)) is not None:
            saved += (0 if value is None else 4 * value.numel()) - stored

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


def _stored(
    value: Tensor | None, restrictions: Sequence[Restriction], encoder: Encoder | None, gaps: bool
) -> int | None:
    """Bytes of what is at a place; None where they are those of float32."""
    if value is not None and encoder is not None and (codes := codes_of(value, restrictions)) is not None:
        return encode(codes, encoder).bytes + codes.aside
    stored = [bytes for one in restrictions if (bytes := one.stored(value)) is not None]
    if gaps and value is not None:
        stored += [sparse_float_bytes(one.keep) for one in restrictions if isinstance(one, Mask)]
    return min(stored, default=None)
