"""Shared memory of some CTAs, with a record of who touched each byte: what no barrier orders is refused.

Two accesses of different threads to the same byte, one of them a write that changes it, must be ordered by a barrier
of the CTA, or of the warp where both threads belong to it (PTX ISA, "Memory Consistency Model"). Bytes of a cp.async
belong to no one until its thread has waited for it; then that thread has written them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gpuless.ptx.faults import BadAccess, Race, TooEarly
from numpy.typing import NDArray

#: Where shared memory starts in its 32-bit window: not at zero, so that a lost base is noticed.
SHARED_BASE = 1024
_WARP = 32
_POISON = 0xFF  # not a number in every float format
_NEVER = -1

Places = NDArray[np.int64]
Threads = NDArray[np.int64]


@dataclass
class _Copies:
    """The copies of one cp.async: one row for each thread that issued it."""

    threads: Threads
    group: NDArray[np.int64]  # how many groups the thread had committed before
    places: Places
    value: NDArray[np.uint8]


class SharedMemory:
    """`size` bytes for each of a number of CTAs of a number of threads. Threads are numbered across all CTAs."""

    def __init__(self, size: int, ctas: int, threads: int) -> None:
        self.size = size
        self._threads = threads
        total = size * ctas
        self._data = np.full(total, _POISON, np.uint8)
        self._writer = np.full(total, _NEVER, np.int64)
        self._written = np.full(total, _NEVER, np.int64)  # when: barriers count the time
        self._reader_low = np.full(total, _NEVER, np.int64)  # the readers since then lie between low and high
        self._reader_high = np.full(total, _NEVER, np.int64)
        self._read = np.full(total, _NEVER, np.int64)
        self._in_flight = np.zeros(total, bool)
        self._time = 0
        self._cta_barrier = np.zeros(ctas, np.int64)
        self._warp_barrier = np.zeros(ctas * threads // _WARP, np.int64)
        self._committed = np.zeros(ctas * threads, np.int64)
        self._copies: list[_Copies] = []

    def load(self, addresses: NDArray[np.int64], size: int, threads: Threads) -> NDArray[np.uint8]:
        """Accesses of `size` bytes by `threads` → accesses×size."""
        places = self._places(addresses, size, threads)
        self._refuse(self._unordered_writer(places, threads), "reads what another thread writes", addresses)
        flat, who = places.ravel(), np.repeat(threads, size)
        # Readers that are ordered before this one are forgotten: any later write must wait for this one, too.
        stale = ~(
            self._unordered(self._reader_low, self._read, places, threads)
            | self._unordered(self._reader_high, self._read, places, threads)
        ).ravel()
        self._reader_low[flat[stale]] = np.iinfo(np.int64).max
        self._reader_high[flat[stale]] = _NEVER
        np.minimum.at(self._reader_low, flat, who)
        np.maximum.at(self._reader_high, flat, who)
        self._read[flat] = self._time
        return self._data[places]

    def store(self, addresses: NDArray[np.int64], value: NDArray[np.uint8], threads: Threads) -> None:
        """Write value, accesses×bytes."""
        places = self._places(addresses, value.shape[1], threads)
        differs = self._data[places] != value
        self._refuse(self._unordered_reader(places, threads) & differs, "overwrites what another reads", addresses)
        self._refuse(self._unordered_writer(places, threads) & differs, "overwrites what another writes", addresses)
        self._data[places] = value
        self._refuse(self._data[places] != value, "writes other values than its neighbour", addresses)
        self._own(places, threads)

    def copy(self, addresses: NDArray[np.int64], value: NDArray[np.uint8], threads: Threads) -> None:
        """Begin a cp.async of value, accesses×bytes."""
        places = self._places(addresses, value.shape[1], threads)
        self._refuse(self._unordered_reader(places, threads), "copies over what another reads", addresses)
        self._refuse(self._unordered_writer(places, threads), "copies over what another writes", addresses)
        self._data[places] = _POISON
        self._in_flight[places] = True
        self._copies.append(_Copies(threads, self._committed[threads], places, value))

    def commit(self, threads: Threads) -> None:
        """cp.async.commit_group of these threads."""
        self._committed[threads] += 1

    def wait(self, pending: int, threads: Threads) -> None:
        """cp.async.wait_group: until at most `pending` of the latest groups of these threads are in flight."""
        waits = np.zeros(len(self._committed), bool)
        waits[threads] = True
        left = []
        for copy in self._copies:
            lands = waits[copy.threads] & (copy.group < self._committed[copy.threads] - pending)
            places = copy.places[lands]
            self._data[places] = copy.value[lands]
            self._in_flight[places] = False
            self._own(places, copy.threads[lands])
            if not lands.all():
                stays = ~lands
                left.append(_Copies(copy.threads[stays], copy.group[stays], copy.places[stays], copy.value[stays]))
        self._copies = left

    def barrier(self, ctas: NDArray[np.bool_]) -> None:
        """All threads of these CTAs have met."""
        self._time += 1
        self._cta_barrier[ctas] = self._time
        self._warp_barrier[np.repeat(ctas, self._threads // _WARP)] = self._time

    def warp_barrier(self, warps: NDArray[np.bool_]) -> None:
        """All threads of these warps have met."""
        self._time += 1
        self._warp_barrier[warps] = self._time

    def update(self, address: int, size: int, thread: int) -> NDArray[np.uint8]:
        """The bytes at one address, to be changed by an atomic operation, which races with no other."""
        return self._data[self._places(np.array([address]), size, np.array([thread]))[0, 0] :][:size]

    def _places(self, addresses: NDArray[np.int64], size: int, threads: Threads) -> Places:
        inner = addresses - SHARED_BASE
        for wrong, word in (
            (addresses % size != 0, "misaligned"),
            ((inner < 0) | (inner + size > self.size), "out of bounds"),
        ):
            if wrong.any():
                at = f"byte {inner[wrong][0]} of {self.size} in shared memory"
                raise BadAccess(f"an access of {size} bytes to {at}: {word}")
        places = (inner + self.size * (threads // self._threads))[:, None] + np.arange(size)
        if self._in_flight[places].any():
            at = inner[self._in_flight[places].any(axis=1)][0]
            raise TooEarly(f"byte {at} of shared memory is touched before its cp.async was waited for")
        return places

    def _own(self, places: Places, threads: Threads) -> None:
        self._writer[places] = threads[:, None]
        self._written[places] = self._time

    def _unordered(self, other: NDArray, when: NDArray, places: Places, threads: Threads) -> NDArray[np.bool_]:
        """Whether an access by `other` is not ordered before one by `threads` now, by any barrier."""
        stamp = when[places]
        warp = threads[:, None] // _WARP
        met = (other[places] // _WARP == warp) & (stamp < self._warp_barrier[warp])
        return (stamp >= self._cta_barrier[threads[:, None] // self._threads]) & ~met

    def _unordered_writer(self, places: Places, threads: Threads) -> NDArray[np.bool_]:
        return self._unordered(self._writer, self._written, places, threads) & (
            self._writer[places] != threads[:, None]
        )

    def _unordered_reader(self, places: Places, threads: Threads) -> NDArray[np.bool_]:
        low = self._unordered(self._reader_low, self._read, places, threads)
        high = self._unordered(self._reader_high, self._read, places, threads)
        me = threads[:, None]
        return (low & (self._reader_low[places] != me)) | (high & (self._reader_high[places] != me))

    def _refuse(self, clash: NDArray[np.bool_], deed: str, addresses: NDArray[np.int64]) -> None:
        if clash.any():
            at = addresses[clash.any(axis=1)][0] - SHARED_BASE
            raise Race(f"a thread {deed} at byte {at} of shared memory, and no barrier lies between")
