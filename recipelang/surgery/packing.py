"""2:4 weights stored in packed form, half of the values and two bits for each; and masks stored as single bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.kernels.nm.format import Packed, pack, packable, rows, unpack, unrows
from recipelang.surgery.network import Network

VALUES, META = ".values", ".meta"


def packed_names(network: Network) -> dict[str, list[int]]:
    """Parameter name → shape of every masked weight that is 2:4, and therefore has a packed form."""
    weights = network.module.state_dict()
    return {name: list(weights[name].shape) for name in sorted(network.masks) if packable(weights[name]) is None}


def weight_shape(written: Sequence[int]) -> list[int]:
    """The shape of a packed weight as given in a file: of a linear layer or of a 2-D convolution.

    Raises:
        TypeError, ValueError: it is not such a shape.
    """
    shape = list(written)
    if len(shape) not in (2, 4) or not all(type(n) is int and n > 0 for n in shape):
        raise ValueError(f"a packed weight cannot have the shape {str(shape)[:60]}")
    return shape


def pack_weights(weights: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    """The state with each named weight as its values and metadata."""
    found = {name: tensor for name, tensor in weights.items() if name not in names}
    for name in names:
        packed = pack(rows(weights[name].detach().cpu()))
        found |= {name + VALUES: packed.values, name + META: packed.meta}
    return found


def unpack_weights(tensors: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """The inverse of `pack_weights`: exact.

    Raises:
        Refusal: RCP1301, RCP1302: the packed form is damaged, or is not a weight of this shape.
        KeyError: a part is missing.
    """
    found = dict(tensors)
    for name, shape in shapes.items():
        packed = Packed(found.pop(name + VALUES), found.pop(name + META))
        found[name] = unrows(unpack(packed), shape).contiguous()
    return found


def pack_masks(masks: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    """The tensors, each named one, which is a mask, as bits: eight to a byte, the first in the highest."""
    bits = {name: np.packbits(masks[name].cpu().numpy().reshape(-1)) for name in names}
    return {**masks, **{name: torch.from_numpy(packed) for name, packed in bits.items()}}


def unpack_masks(masks: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """The inverse of `pack_masks`.

    Raises:
        Refusal: RCP1302: the bits are not a mask of this shape.
        KeyError: a mask is missing.
    """
    found = dict(masks)
    for name, shape in shapes.items():
        count, bits = prod(shape), found[name]
        if bits.dtype != torch.uint8 or bits.shape != ((count + 7) // 8,):
            raise Refusal("RCP1302", f"the packed mask of `{name}` is damaged", "copy the file again from its source")
        found[name] = torch.from_numpy(np.unpackbits(bits.numpy(), count=count).astype(bool)).reshape(list(shape))
    return found
