"""The packed form of a 2:4 weight: half of the values, and two bits for each that give its place.

This is the only form that is saved; what a kernel reads is derived from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from recipelang.errors import Refusal

#: Dtypes of a weight that can be packed.
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
#: Groups whose places share one int32 of metadata.
GROUPS_PER_WORD = 8
#: Places 0 and 1: used for groups beyond the last input, as the hardware requires first < second in these too.
NO_GROUP = 0x4
#: The largest int8 that is used: with -128 left out, the range is symmetric.
INT8_MAX = 127


@dataclass(frozen=True)
class Packed:
    """A weight N×K of which at most two of every four along K are nonzero.

    Attributes:
        values: N×K/2: the two kept of every four, in ascending order of their place; the dtype of the weight, or int8.
        meta: N×ceil(K/32) int32: four bits for each group, first place | second place << 2, first < second, the first
            group in the lowest bits (the encoding of PTX `mma.sp`); groups beyond K are 0x4.
        scales: N float32, weight = values · scale of its row, where the values are int8; None otherwise.
    """

    values: Tensor
    meta: Tensor
    scales: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(N, K) of the weight: outputs, inputs."""
        return self.values.shape[0], 2 * self.values.shape[1]

    @property
    def bits(self) -> float:
        """Bits of storage for each of the N×K weights, metadata and scales included: 9 for values of 16 bits."""
        parts = (self.values, self.meta) if self.scales is None else (self.values, self.meta, self.scales)
        return 8 * sum(part.numel() * part.element_size() for part in parts) / (2 * self.values.numel())

    def to(self, device: torch.device) -> Packed:
        """The same on another device."""
        scales = None if self.scales is None else self.scales.to(device)
        return Packed(self.values.to(device), self.meta.to(device), scales)


def pack(weight: Tensor, *, int8: bool = False) -> Packed:
    """The packed form of a weight that is already 2:4. Nothing is pruned.

    -0.0 counts as zero and comes back as +0.0; NaN and infinities are kept like any other value. A group with fewer
    than two nonzero values also keeps its first zeros.

    Args:
        weight: N×K, contiguous, float16, bfloat16, float32 or float64; K a multiple of 4.
        int8: round to whole multiples of max|row| / 127, one scale for each row (1 for a row of zeros); halves round to
            even.

    Raises:
        Refusal: RCP1301: the weight has no packed form.
    """
    reason = _why_not(weight)
    if reason is None and not weight.is_contiguous():
        reason = "it is not contiguous in memory"
    if reason is None and int8 and not weight.isfinite().all():
        row = int(weight.isfinite().all(dim=1).int().argmin())
        reason = f"row {row} holds NaN or infinity, which int8 cannot represent"
    if reason:
        raise _unpackable(reason)
    weight = weight.detach()
    values, scales = _quantized(weight) if int8 else (weight, None)
    occupied = weight != 0
    nibbles = _table(weight.device)[_patterns(occupied)]
    # Zeros are rewritten, so that no -0.0 is kept.
    kept = _grouped(values.where(occupied, 0)).gather(-1, _places(nibbles))
    return Packed(kept.flatten(1), _words(nibbles), scales)


def unpack(packed: Packed, dtype: torch.dtype | None = None) -> Tensor:
    """The weight N×K: exactly what was packed, or value · scale, computed in float32, where the values are int8.

    Args:
        packed: the packed form.
        dtype: of the result; by default that of the values, float32 where these are int8.

    Raises:
        Refusal: RCP1302: the packed form is damaged.
    """
    validate(packed)
    weight = spread(packed)
    return weight if dtype is None else weight.to(dtype)


def spread(packed: Packed) -> Tensor:
    """`unpack` of a packed form that is known to be intact: it does not wait for a GPU to check the metadata."""
    outputs, inputs = packed.shape
    places = _places(_nibbles(packed.meta)[:, : inputs // 4])
    values = packed.values if packed.scales is None else packed.values * packed.scales[:, None]
    groups = values.new_zeros(outputs, inputs // 4, 4)
    return groups.scatter_(-1, places, values.reshape(outputs, inputs // 4, 2)).flatten(1)


def validate(packed: Packed) -> None:
    """Refuse a packed form that a kernel must not be given: it may come from an untrusted file.

    Raises:
        Refusal: RCP1302: shapes or dtypes that do not match, or invalid metadata.
    """
    if reason := _damage(packed):
        raise Refusal(
            "RCP1302",
            f"a packed 2:4 weight is damaged: {reason}",
            "copy the file again from its source, or pack the weight again",
        )


def rows(weight: Tensor) -> Tensor:
    """O×I → O×I, O×I×kh×kw → O×(kh·kw·I): the weight as a matrix, its groups of four along the input channels.

    Columns are in the order of channels_last (NHWC), contiguous, so a product with it reads pixels in memory order.

    Raises:
        Refusal: RCP1301: it has no input channels.
    """
    if weight.ndim < 2:
        raise _unpackable("it has no input channels")
    return weight.movedim(1, -1).flatten(1).contiguous()


def unrows(matrix: Tensor, shape: Sequence[int]) -> Tensor:
    """The inverse of `rows`: O×(kh·kw·I) → `shape`, a view in the order of channels_last.

    Raises:
        Refusal: RCP1301: the matrix is not a weight of this shape.
    """
    outputs, inputs, *kernel = shape
    if matrix.shape != (outputs, prod((*kernel, inputs))):
        raise _unpackable(f"a matrix {_times(matrix.shape)} is not a weight {_times(shape)}")
    return matrix.reshape(outputs, *kernel, inputs).movedim(-1, 1)


def packable(weight: Tensor) -> str | None:
    """Why a weight O×I or O×I×kh×kw has no packed form; None where `pack(rows(weight))` gives it."""
    if weight.ndim not in (2, 4):
        return f"a weight {_times(weight.shape)} belongs neither to a linear layer nor to a 2-D convolution"
    if weight.shape[1] % 4:
        return f"{weight.shape[1]} input channel{'s are' if weight.shape[1] != 1 else ' is'} not a multiple of 4"
    return _why_not(rows(weight))


# from a weight ------------------------------------------------------------------------------------------


def _why_not(matrix: Tensor) -> str | None:
    """Why a matrix has no packed form, whatever its memory layout; None where it has one."""
    if matrix.ndim != 2:
        return f"its shape is {_times(matrix.shape)}, not that of a matrix outputs×inputs"
    if matrix.layout != torch.strided:
        return f"its layout is {_name(matrix.layout)}, not dense"
    if matrix.dtype not in FLOATS:
        return f"its dtype is {_name(matrix.dtype)}, not a floating point type of 16, 32 or 64 bits"
    if matrix.numel() == 0:
        return f"it is empty ({_times(matrix.shape)})"
    if matrix.shape[1] % 4:
        return f"{matrix.shape[1]} inputs are not a multiple of 4"
    counts = _grouped(matrix != 0).sum(dim=-1)
    crowded = counts > 2
    if crowded.any():
        row, group = divmod(int(crowded.flatten().int().argmax()), crowded.shape[1])
        found, last = int(counts[row, group]), 4 * group + 3
        return f"in row {row}, columns {last - 3} to {last} hold {found} nonzero values, and 2:4 allows two"
    return None


def _quantized(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers N×K int8, and the scale of each row, N float32."""
    largest = weight.abs().amax(dim=1)
    # A scale below the normal numbers would itself be rounded too coarsely.
    smallest = torch.finfo(torch.float32).tiny
    scales = torch.where(largest > 0, (largest.double() / INT8_MAX).clamp(min=smallest), 1.0).float()
    if scales.isinf().any():
        raise _unpackable(f"row {int(scales.isinf().int().argmax())} is too large for a scale in float32")
    whole = (weight.double() / scales.double()[:, None]).round()
    return whole.clamp(-INT8_MAX, INT8_MAX).to(torch.int8), scales


def _patterns(occupied: Tensor) -> Tensor:
    """N×K bool → N×K/4 int64: bit i of each: whether place i of the group is nonzero."""
    bits = torch.tensor([1, 2, 4, 8], dtype=torch.uint8, device=occupied.device)
    return (_grouped(occupied) * bits).sum(dim=-1, dtype=torch.uint8).long()


def _table(device: torch.device) -> Tensor:
    """16 int32: pattern of a group → its metadata."""

    def metadata(pattern: int) -> int:
        first_occupied = sorted(range(4), key=lambda place: not pattern >> place & 1)
        first, second = sorted(first_occupied[:2])
        return first | second << 2

    return torch.tensor([metadata(pattern) for pattern in range(16)], dtype=torch.int32, device=device)


def _words(nibbles: Tensor) -> Tensor:
    """N×groups → N×ceil(groups/8) int32: eight to a word, the first in the lowest bits."""
    filled = functional.pad(nibbles, (0, -nibbles.shape[1] % GROUPS_PER_WORD), value=NO_GROUP)
    shifted = filled.reshape(nibbles.shape[0], -1, GROUPS_PER_WORD) << _shifts(nibbles.device)
    return shifted.sum(dim=-1, dtype=torch.int32)


# from the packed form -----------------------------------------------------------------------------------


def _damage(packed: Packed) -> str | None:
    """Why the parts are not a packed form; None where they are."""
    values, meta, scales = packed.values, packed.meta, packed.scales
    if values.ndim != 2 or values.numel() == 0 or values.shape[1] % 2:
        return f"its values are {_times(values.shape)}, which is not outputs×(an even number)"
    outputs, inputs = packed.shape
    words = -(-inputs // (4 * GROUPS_PER_WORD))
    if values.dtype not in (*FLOATS, torch.int8):
        return f"its values are {_name(values.dtype)}"
    if meta.dtype != torch.int32 or meta.shape != (outputs, words):
        return f"its metadata is {_times(meta.shape)} {_name(meta.dtype)}, not {_times((outputs, words))} int32"
    if (values.dtype == torch.int8) != (scales is not None):
        return f"values of {_name(values.dtype)} come {'without' if scales is None else 'with'} scales"
    if scales is not None and (scales.dtype != torch.float32 or scales.shape != (outputs,)):
        return f"its scales are {_times(scales.shape)} {_name(scales.dtype)}, not {outputs} float32"
    devices = {str(part.device) for part in (values, meta, scales) if part is not None}
    if len(devices) > 1:
        return f"its parts are on {' and '.join(sorted(devices))}"
    nibbles = _nibbles(meta)
    if (wrong := (nibbles & 3) >= nibbles >> 2).any():
        row, group = divmod(int(wrong.flatten().int().argmax()), nibbles.shape[1])
        return f"the metadata of group {group} in row {row} is {int(nibbles[row, group]):#x}, which is not two places"
    if (nibbles[:, inputs // 4 :] != NO_GROUP).any():
        return f"its metadata continues beyond the last of {inputs} inputs"
    return None


def _nibbles(meta: Tensor) -> Tensor:
    """N×words int32 → N×8·words int32: the metadata of each group."""
    return ((meta[:, :, None] >> _shifts(meta.device)) & 0xF).flatten(1)


def _places(nibbles: Tensor) -> Tensor:
    """N×groups → N×groups×2 int64: the places of the two values of each group."""
    return torch.stack((nibbles & 3, nibbles >> 2), dim=-1).long()


# shared -------------------------------------------------------------------------------------------------


def _grouped(matrix: Tensor) -> Tensor:
    """N×K → N×K/4×4."""
    return matrix.reshape(matrix.shape[0], -1, 4)


def _shifts(device: torch.device) -> Tensor:
    """8 int32: the place of each group in a word."""
    return torch.arange(0, 32, 4, dtype=torch.int32, device=device)


def _unpackable(reason: str) -> Refusal:
    return Refusal(
        "RCP1301",
        f"a weight has no packed 2:4 form: {reason}",
        "`sparsify nm 2:4` makes a weight 2:4; exclude layers that do not fit with `except`",
    )


def _times(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "a scalar"


def _name(kind: torch.dtype | torch.layout) -> str:
    return str(kind).removeprefix("torch.")
