"""What a piece of hardware computes with: which grids it has, so that `check` can tell what it cannot execute."""

from __future__ import annotations

from typing import ClassVar, Protocol

from recipelang.kinds.quantizer import BITS


class Hardware(Protocol):
    """`quantize … with NAME`: the grids that hardware, or the library that drives it, computes with.

    A profile is data: `check` compares a statement with it, chooses what the statement leaves open (`per` and `form` of
    the quantizer), and refuses what the hardware does not have. Inherit from this class: what a profile does not say is
    then as `quantize` has it without hardware.

    Attributes:
        bits: the widths that it has.
        per: what of a weight may have a range of its own, the first of them where the statement does not say.
        weights, activations: the forms that each may have, `symmetric` or `affine`, likewise.
        signed: whether integers of activations are signed whatever their values are.
        powers: whether scales are powers of two, so that requantization is a shift.
    """

    bits: ClassVar[tuple[int, ...]] = BITS
    per: ClassVar[tuple[str, ...]] = ("channel", "tensor")
    weights: ClassVar[tuple[str, ...]] = ("symmetric", "affine")
    activations: ClassVar[tuple[str, ...]] = ("affine", "symmetric")
    signed: ClassVar[bool] = False
    powers: ClassVar[bool] = False

    @property
    def executes(self) -> str:
        """The hardware and its library, in words, for messages: `NVIDIA GPUs through TensorRT`."""
