"""How the whole numbers that stand for weights become fewer bytes, without loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Encoder(Protocol):
    """`encode by NAME`: numbers to bytes and back. Only `size` and the files of a network look at it.

    It has no settings: the bytes hold everything that is needed to read them, tables included, and are read without the
    recipe.
    """

    def encode(self, numbers: Tensor) -> bytes:
        """The bytes of whole numbers int64 (N,), 0 ≤ n < 2^16, their table and how many there are included."""

    def decode(self, data: bytes, most: int) -> Tensor:
        """The numbers, int64 (N,).

        Args:
            data: what `encode` made, or what anyone put in its place.
            most: how many numbers there may be.

        Raises:
            ValueError: it is not what `encode` made, or there are more numbers.
        """
