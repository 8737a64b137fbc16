"""`huffman`."""

from __future__ import annotations

import heapq
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method
from recipelang.lazy import numpy, torch

if TYPE_CHECKING:
    from torch import Tensor

#: how many numbers there are, how many different ones (2^16 as 0), bytes of one in the table, the longest code
HEADER = struct.Struct("<IHBB")
#: bits of the longest code that is read: longer ones need more numbers than any memory holds
LONGEST = 56
#: numbers that are encoded, and bits that are decoded, at a time
AT_A_TIME = 2**18


@method("encoder", "huffman")
@dataclass(frozen=True)
class Huffman:
    """Frequent numbers get short codes: the shortest bytes that a code for each number can give.

    What: the third step of Deep Compression, after weights share values. Numbers of weights and the gaps between
        nonzeros are encoded apart, each weight with tables of its own.
    Formula: a prefix code with lengths l_n that minimises Σ_n p_n·l_n; entropy ≤ Σ_n p_n·l_n < entropy + 1 bit. The
        codes are the canonical ones of these lengths, so the table holds the lengths alone: a header of 8 bytes, two
        for each length, and one or two for each different number.
    Shapes: N whole numbers → bytes.
    When it misleads: it gains where numbers differ in frequency. Those of an int8 grid hardly do: about a tenth. A code
        has at least one bit for each number. The file is smaller, not the network in memory, nor its time.
    Source: Huffman 1952; Han, Mao and Dally 2016, "Deep Compression", arXiv:1510.00149, section 4; canonical codes as
        in RFC 1951, section 3.2.2.
    """

    def encode(self, numbers: Tensor) -> bytes:
        """The table and the codes, bit after bit, padded to whole bytes."""
        values, inverse, counts = numpy.unique(numbers.cpu().numpy(), return_inverse=True, return_counts=True)
        lengths = numpy.array(code_lengths(counts.tolist()), numpy.int64)
        order = numpy.lexsort((values, lengths))
        place = numpy.argsort(order)
        width = 1 if not len(values) or values.max() < 256 else 2
        table = numpy.bincount(lengths, minlength=1)[1:] if len(values) > 1 else numpy.zeros(0, numpy.int64)
        parts = [HEADER.pack(len(inverse), len(values) % 2**16, width, len(table)), table.astype("<u2").tobytes()]
        parts.append(values[order].astype(f"<u{width}").tobytes())
        codes, lengths = _canonical(lengths[order]), lengths[order]
        bits = [_bits(part, codes, lengths) for part in _parts(place[inverse.reshape(-1)])] if len(values) > 1 else []
        parts.append(numpy.packbits(numpy.concatenate(bits)).tobytes() if bits else b"")
        return b"".join(parts)

    def decode(self, data: bytes, most: int) -> Tensor:
        """The numbers."""
        if len(data) < HEADER.size:
            raise ValueError("a table of codes is cut off")
        count, different, width, longest = HEADER.unpack_from(data)
        at, different = HEADER.size, different or (2**16 if count else 0)
        if count > most or width not in (1, 2) or different > min(count, 256**width) or longest > LONGEST:
            raise ValueError("a table of codes has more numbers than there may be")
        table = numpy.frombuffer(_slice(data, at, 2 * longest), "<u2").astype(numpy.int64)
        at += 2 * longest
        values = numpy.frombuffer(_slice(data, at, width * different), f"<u{width}").astype(numpy.int64)
        rest = data[at + width * different :]
        if different < 2:
            if longest or rest or bool(count) != bool(different):
                raise ValueError("a table of codes has codes for no numbers")
            return torch.from_numpy(numpy.repeat(values, count))
        lengths = numpy.repeat(numpy.arange(1, longest + 1), table)
        if len(lengths) != different or sum(2 ** (longest - int(n)) for n in lengths) != 2**longest:
            raise ValueError("the lengths of codes are not those of a Huffman code")
        return torch.from_numpy(values[_decoded(rest, lengths, count)])


def code_lengths(counts: Sequence[int]) -> list[int]:
    """The length of each number's code, from how often it occurs: Huffman's rule, ties by age; 0 for a single one."""
    heap: list[tuple[int, int]] = [(count, place) for place, count in enumerate(counts)]
    heapq.heapify(heap)
    parent: dict[int, int] = {}
    for joined in range(len(counts), 2 * len(counts) - 1):
        (less, one), (more, two) = heapq.heappop(heap), heapq.heappop(heap)
        parent[one] = parent[two] = joined
        heapq.heappush(heap, (less + more, joined))
    depth = {2 * len(counts) - 2: 0}
    for node in range(2 * len(counts) - 3, -1, -1):
        depth[node] = depth[parent[node]] + 1
    return [depth[place] for place in range(len(counts))]


def _canonical(lengths: Any) -> Any:
    """The codes of rising lengths, uint64: each follows the one before, with zeros appended."""
    codes, code = [], 0
    for place, length in enumerate(lengths.tolist()):
        if place:
            code = (code + 1) << (length - int(lengths[place - 1]))
        codes.append(code)
    return numpy.array(codes, numpy.uint64)


def _parts(places: Any) -> list[Any]:
    return [places[start : start + AT_A_TIME] for start in range(0, len(places), AT_A_TIME)]


def _bits(places: Any, codes: Any, lengths: Any) -> Any:
    """The bits of the codes at these places, uint8 (bits,)."""
    own = lengths[places]
    starts = own.cumsum() - own
    left = numpy.repeat(starts + own, own) - 1 - numpy.arange(own.sum())
    return ((numpy.repeat(codes[places], own) >> left.astype(numpy.uint64)) & numpy.uint64(1)).astype(numpy.uint8)


def _decoded(data: bytes, lengths: Any, count: int) -> Any:
    """The place in the table of each number.

    At every bit it is known which code would begin there; from one beginning to the next is then a list to follow.
    """
    firsts = _canonical(lengths) << (numpy.uint64(LONGEST) - lengths.astype(numpy.uint64))
    padded = numpy.frombuffer(data + bytes(8), numpy.uint8)
    places, bit, end = numpy.empty(count, numpy.int64), 0, 8 * len(data)
    done = 0
    while done < count:
        size = min(AT_A_TIME, end - bit)
        if size <= 0:
            raise ValueError("codes are cut off")
        window = _windows(padded, bit, size)
        found = numpy.searchsorted(firsts, window, side="right") - 1
        visited: list[int] = []
        steps, here = lengths[found].tolist(), 0
        while here < size and done + len(visited) < count:
            visited.append(here)
            here += steps[here]
        places[done : done + len(visited)] = found[visited]
        done, bit = done + len(visited), bit + here
    if bit > end or end - bit >= 8:
        raise ValueError("codes end before or after their last number")
    return places


def _windows(padded: Any, bit: int, size: int) -> Any:
    """The next `LONGEST` bits at each of `size` bits, uint64."""
    first = bit // 8
    count = -(-(bit + size) // 8) - first
    words = numpy.zeros(count, numpy.uint64)
    for place in range(8):
        words = (words << numpy.uint64(8)) | padded[first + place : first + place + count].astype(numpy.uint64)
    at = numpy.arange(bit, bit + size)
    shift = numpy.uint64(64 - LONGEST) - (at % 8).astype(numpy.uint64)
    return (words[at // 8 - first] >> shift) & numpy.uint64(2**LONGEST - 1)


def _slice(data: bytes, at: int, length: int) -> bytes:
    if at + length > len(data):
        raise ValueError("a table of codes is cut off")
    return data[at : at + length]
