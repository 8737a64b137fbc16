"""Huffman codes: the shortest of all prefix codes, read back without loss, and refused where they are damaged."""

from __future__ import annotations

import heapq
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recipelang.methods.encoders import huffman
from recipelang.methods.encoders.huffman import HEADER, Huffman, code_lengths

COUNTS = st.lists(st.integers(1, 10_000), min_size=2, max_size=60)
NUMBERS = st.lists(st.integers(0, 2**16 - 1), max_size=300) | st.lists(st.integers(0, 7), max_size=2000)


def merged(counts: list[int]) -> int:
    """Bits of an optimal code: the sum of all weights that Huffman's rule merges, by heapq alone."""
    heap, total = list(counts), 0
    heapq.heapify(heap)
    while len(heap) > 1:
        both = heapq.heappop(heap) + heapq.heappop(heap)
        total += both
        heapq.heappush(heap, both)
    return total


@given(counts=COUNTS)
def test_lengths_are_optimal_and_within_a_bit_of_the_entropy(counts: list[int]) -> None:
    lengths, whole = code_lengths(counts), sum(counts)
    bits = sum(count * length for count, length in zip(counts, lengths, strict=True))
    assert bits == merged(counts)
    assert sum(2.0**-length for length in lengths) == 1, "Kraft: no code is wasted"
    entropy = -sum(count / whole * math.log2(count / whole) for count in counts)
    assert entropy <= bits / whole + 1e-9 and bits / whole < entropy + 1


def test_no_prefix_code_is_shorter() -> None:
    """All lengths that fulfil Kraft's inequality, for a few numbers."""
    for counts in ([1, 1, 1], [5, 1, 1, 1], [3, 2, 2, 1], [8, 4, 2, 1, 1]):
        every = itertools.product(range(1, len(counts)), repeat=len(counts))
        best = min(
            sum(c * n for c, n in zip(counts, lengths, strict=True))
            for lengths in every
            if sum(2.0**-n for n in lengths) <= 1
        )
        assert sum(c * n for c, n in zip(counts, code_lengths(counts), strict=True)) == best


@settings(max_examples=200)
@given(numbers=NUMBERS)
def test_what_is_encoded_is_read_back(numbers: list[int]) -> None:
    encoder, given_numbers = Huffman(), torch.tensor(numbers, dtype=torch.long)
    data = encoder.encode(given_numbers)
    back = encoder.decode(data, len(numbers))
    assert back.dtype == torch.long and torch.equal(back, given_numbers)
    counts = list(given_numbers.unique(return_counts=True)[1].tolist())
    width = 2 if numbers and max(numbers) > 255 else 1
    longest = max(code_lengths(counts), default=0)
    bits = merged(counts) if len(counts) > 1 else 0
    assert len(data) == HEADER.size + 2 * longest + width * len(counts) + -(-bits // 8), "table counted"
    if numbers:
        with pytest.raises(ValueError, match="more numbers"):
            encoder.decode(data, len(numbers) - 1)


def test_parts_are_joined_without_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = torch.randint(0, 40, (1000,), generator=torch.Generator().manual_seed(0)).square()
    whole = Huffman().encode(numbers)
    monkeypatch.setattr(huffman, "AT_A_TIME", 37)
    assert Huffman().encode(numbers) == whole and torch.equal(Huffman().decode(whole, 1000), numbers)


def test_long_codes_are_read() -> None:
    counts = [1, 1]
    while len(counts) < 22:
        counts.append(counts[-1] + counts[-2])  # Fibonacci: the deepest tree
    numbers = torch.repeat_interleave(torch.arange(22), torch.tensor(counts))
    assert max(code_lengths(counts)) == 21
    assert torch.equal(Huffman().decode(Huffman().encode(numbers), len(numbers)), numbers)


@given(
    data=st.binary(max_size=60) | st.binary(min_size=20, max_size=60).map(lambda tail: HEADER.pack(9, 3, 1, 2) + tail)
)
def test_any_bytes_are_numbers_or_refused(data: bytes) -> None:
    try:
        found = Huffman().decode(data, 100)
    except ValueError:
        return
    assert len(found) <= 100 and Huffman().encode(found) is not None


@given(numbers=st.lists(st.integers(0, 9), min_size=30, max_size=60), at=st.integers(0, 1000), bit=st.integers(0, 7))
def test_damaged_bytes_are_refused_or_other_numbers(numbers: list[int], at: int, bit: int) -> None:
    data = bytearray(Huffman().encode(torch.tensor(numbers)))
    for cut in (data[:-1], data + b"\0"):
        with pytest.raises(ValueError, match=r"code|table"):
            Huffman().decode(bytes(cut), 60)
    data[at % len(data)] ^= 1 << bit
    try:
        Huffman().decode(bytes(data), 60)
    except ValueError:
        return
