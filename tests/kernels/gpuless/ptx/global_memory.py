"""Global memory: the tensors of a launch, far apart from each other, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from gpuless.ptx.faults import BadAccess, Race
from numpy.typing import NDArray
from torch import Tensor

#: Between two tensors: more than any 32-bit offset can bridge, so that a truncated address is outside every tensor.
_GAP = 1 << 40
_ALIGNMENT = 256


@dataclass(frozen=True)
class Distant:
    """The end of a tensor too large to exist: of its bytes only those of `tensor`, after `skipped` others, are there.

    It stands for a tensor in a launch, to test that offsets do not overflow.
    """

    tensor: Tensor
    skipped: int

    @property
    def dtype(self) -> torch.dtype:
        return self.tensor.dtype

    def data_ptr(self) -> int:
        return self.tensor.data_ptr() - self.skipped


class GlobalMemory:
    """The bytes that the tensors of a launch span. `write_back` puts them where they came from.

    Tensors that share memory share it here, too. An address keeps the alignment (up to 256) that the tensor has.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        spans = _merged([(tensor.data_ptr(), tensor.data_ptr() + _span(tensor)) for tensor in tensors])
        self._real = spans
        self._starts = np.array([_GAP * (i + 1) + low % _ALIGNMENT for i, (low, _) in enumerate(spans)], np.int64)
        lengths = np.array([high - low for low, high in spans], np.int64)
        self._ends = self._starts + lengths
        self._offsets = np.concatenate([[0], np.cumsum(lengths)])[:-1].astype(np.int64)
        self._data = np.zeros(int(lengths.sum()), np.uint8)
        self._writer = np.full(len(self._data), -1, np.int64)
        self._views = [(tensor, self.pointer(tensor)) for tensor in tensors]
        for tensor, pointer in self._views:
            self._bytes(pointer, _span(tensor))[:] = _memory(tensor)

    def pointer(self, tensor: Tensor | Distant) -> int:
        """The address of a tensor's first element in this memory."""
        if isinstance(tensor, Distant):
            return self.pointer(tensor.tensor) - tensor.skipped
        for (low, high), start in zip(self._real, self._starts, strict=True):
            if low <= tensor.data_ptr() <= high:
                return int(start) + tensor.data_ptr() - low
        raise BadAccess("a tensor that was not given to this memory")

    def write_back(self) -> None:
        """Copy all bytes to the tensors."""
        for tensor, pointer in self._views:
            _memory(tensor)[:] = self._bytes(pointer, _span(tensor))

    def load(self, addresses: NDArray[np.int64], size: int, threads: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Accesses of `size` bytes by `threads`, which tell CTAs apart too → accesses×size.

        Raises:
            Race: another thread of this launch wrote there.
        """
        places = self._places(addresses, size)
        writer = self._writer[places]
        clash = ((writer >= 0) & (writer != threads[:, None])).any(axis=1)
        if clash.any():
            raise Race(
                f"a thread reads what another thread of the launch writes: {self._name(int(addresses[clash][0]))}"
            )
        return self._data[places]

    def store(self, addresses: NDArray[np.int64], value: NDArray[np.uint8], threads: NDArray[np.int64]) -> None:
        """Write value, accesses×bytes.

        Raises:
            Race: another thread of this launch wrote other bytes there. (What a barrier orders is refused as well: a
                kernel of this project writes each result once.)
        """
        places = self._places(addresses, value.shape[1])
        writer = self._writer[places]
        clash = (writer >= 0) & (writer != threads[:, None]) & (self._data[places] != value)
        self._data[places] = value
        self._writer[places] = threads[:, None]
        clash |= self._data[places] != value
        if clash.any():
            at = addresses[clash.any(axis=1)][0]
            raise Race(f"two threads write different values to {self._name(int(at))}")

    def update(self, address: int, size: int) -> NDArray[np.uint8]:
        """The bytes at one address, to be changed by an atomic operation."""
        return self._data[self._places(np.array([address]), size)[0, 0] :][:size]

    def _places(self, addresses: NDArray[np.int64], size: int) -> NDArray[np.int64]:
        if (addresses % size).any():
            raise BadAccess(
                f"an access of {size} bytes to {self._name(int(addresses[addresses % size != 0][0]))}: misaligned"
            )
        segment = np.searchsorted(self._starts, addresses, side="right") - 1
        outside = (segment < 0) | (addresses + size > self._ends[segment])
        if outside.any():
            raise BadAccess(f"an access of {size} bytes to {self._name(int(addresses[outside][0]))}: out of bounds")
        return (self._offsets[segment] + addresses - self._starts[segment])[:, None] + np.arange(size)

    def _bytes(self, pointer: int, size: int) -> NDArray[np.uint8]:
        segment = int(np.searchsorted(self._starts, pointer, side="right")) - 1
        at = int(self._offsets[segment] + pointer - self._starts[segment])
        return self._data[at : at + size]

    def _name(self, address: int) -> str:
        if not self._views:
            return hex(address)
        nearest = min(range(len(self._views)), key=lambda i: abs(address - self._views[i][1]))
        tensor, pointer = self._views[nearest]
        return f"byte {address - pointer} of tensor {nearest} ({_span(tensor)} bytes)"


def _span(tensor: Tensor) -> int:
    if tensor.numel() == 0:
        return 0
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return (last + 1) * tensor.element_size()


def _memory(tensor: Tensor) -> NDArray[np.uint8]:
    """The bytes from a tensor's first element to its last, gaps between rows included; shares its memory."""
    raw = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
    at = tensor.storage_offset() * tensor.element_size()
    return raw[at : at + _span(tensor)].numpy()


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The union of the spans where they overlap; those that merely touch stay apart."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if merged and low < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        elif not merged or (low, high) != merged[-1]:
            merged.append((low, high))
    return merged
