"""A weight of few values as whole numbers, and as bytes: densely, or as what is not zero and the gaps between.

dense    every number
sparse   the numbers of what is not zero, and before each how many zeros are skipped (the gap): at most 2^width - 1 of
         them. After a longer run of zeros a zero stands among the numbers, a filler, and the gap goes on after it.

Deep Compression (Han et al. 2016, figure 2) stores weights so, and an encoder (`kinds.Encoder`) makes bytes of each of
the two streams.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from recipelang.kinds import Encoder, Restriction
from recipelang.surgery.entries import Wrong
from recipelang.surgery.restrictions.codebook import Codebook
from recipelang.surgery.restrictions.grid import Grid
from recipelang.surgery.restrictions.shared import Shared
from recipelang.surgery.sparse import WIDTH_BYTES, WIDTHS, code_bytes, fewest, gapped, positions


@dataclass(frozen=True)
class Codes:
    """The whole numbers of a weight.

    Attributes:
        kind: of the restriction that they come from.
        numbers: int64 (N,), in the order of the weight's elements, 0 ≤ n < count.
        count: how many different numbers there may be.
        zero: the number that stands for zero, which a sparse layout leaves out; None where none does everywhere.
        aside: bytes of what the numbers stand for: levels, scales.
    """

    kind: str
    numbers: Tensor
    count: int
    zero: int | None
    aside: int

    @property
    def kept(self) -> Tensor:
        """Bool (N,): what is not zero."""
        return self.numbers != self.zero if self.zero is not None else torch.ones_like(self.numbers, dtype=torch.bool)


def codes_of(value: Tensor, restrictions: Sequence[Restriction]) -> Codes | None:
    """The whole numbers of a weight; None where nothing restricts it to few values.

    Args:
        value: the weight, of any shape.
        restrictions: those of its place.
    """
    found = {one.kind: one for one in restrictions}
    return next((read(value.detach().cpu(), found[kind]) for kind, read in _READ.items() if kind in found), None)


def _of_shared(value: Tensor, one: Shared) -> Codes:
    numbers = one.codes.long().flatten().cpu()
    return replace(like(one, 0), numbers=torch.where(numbers < 0, one.count, numbers))


def _of_steps(value: Tensor, one: Grid | Codebook) -> Codes:
    numbers = one.codes(value).long().flatten()
    return replace(like(one, 0), numbers=numbers - one.scheme.low if isinstance(one, Grid) else numbers)


#: kind of restriction → its codes
_READ: Mapping[str, Any] = {"shared": _of_shared, "grid": _of_steps, "codebook": _of_steps}
#: the first of these that a weight has says what its numbers stand for
KINDS = tuple(_READ)


def like(one: Shared | Grid | Codebook, length: int) -> Codes:
    """What is known of a weight's numbers from its restriction alone; they are not set."""
    numbers = torch.empty(length, dtype=torch.long)
    if isinstance(one, Shared):
        return Codes("shared", numbers, one.count + 1, one.count, 4 * one.count)
    if isinstance(one, Grid):
        scheme, zeros = one.scheme, one.zero.flatten()
        zero = int(zeros[0]) - scheme.low if bool((zeros == zeros[0]).all()) else None
        return Codes("grid", numbers, scheme.high - scheme.low + 1, zero, 5 * one.scale.numel())
    found = (one.levels.reshape(-1, one.count) == 0).all(0).nonzero().flatten()
    return Codes("codebook", numbers, one.count, int(found[0]) if len(found) else None, 4 * one.levels.numel())


def weight_of(codes: Codes, shape: torch.Size, one: Grid | Codebook) -> Tensor:
    """The weight that numbers stand for, float32."""
    numbers = codes.numbers.view(shape)
    return one.values(numbers + one.scheme.low if isinstance(one, Grid) else numbers)


def plain_bytes(codes: Codes) -> int:
    """Bytes of the numbers with a fixed number of bits each, in the smaller layout, and of what they stand for."""
    kept = codes.kept
    spare = codes.kind == "shared" and bool(kept.all())  # its number of zero is in use only where there are some
    return codes.aside + code_bytes(kept, codes.count - 1, zero=not spare)


@dataclass(frozen=True)
class Encoded:
    """A weight's numbers as an encoder's bytes.

    Attributes:
        width: of the gaps; 0 where the layout is dense.
        streams: `codes`, and `gaps` of a sparse layout.
    """

    width: int
    streams: Mapping[str, bytes]

    @property
    def bytes(self) -> int:
        """Of the streams, their tables included, and of the width."""
        return sum(map(len, self.streams.values())) + WIDTH_BYTES


def encode(codes: Codes, encoder: Encoder) -> Encoded:
    """The layout that takes the fewest bytes.

    Dense, or sparse with gaps of the width that is best with a fixed number of bits, or of 8 bits.
    """
    found = [Encoded(0, {"codes": encoder.encode(codes.numbers)})]
    if codes.zero is not None and not bool(codes.kept.all()):
        _, best = fewest(codes.kept, codes.count - 1)
        for width in sorted({best, 8}):
            gaps, filler = gapped(codes.kept, width)
            numbers = torch.full_like(gaps, codes.zero)
            numbers[~filler] = codes.numbers[codes.kept]
            found.append(Encoded(width, {"codes": encoder.encode(numbers), "gaps": encoder.encode(gaps)}))
    return min(found, key=lambda one: one.bytes)


def decode(encoded: Encoded, encoder: Encoder, known: Codes) -> Codes:
    """The inverse of `encode`: exact.

    Args:
        encoded: may come from anyone.
        known: as of `like`, of the right length.

    Raises:
        ValueError: it is not what `encode` made of numbers like these.
    """
    most = len(known.numbers)
    numbers = encoder.decode(encoded.streams["codes"], most)
    if encoded.width:
        gaps = encoder.decode(encoded.streams["gaps"], most)
        if known.zero is None or encoded.width not in WIDTHS or len(gaps) != len(numbers):
            raise Wrong("codes and gaps do not belong together")
        where = positions(gaps)
        if len(where) and (int(gaps.max()) >= 2**encoded.width or int(where[-1]) >= most):
            raise Wrong("gaps lead beyond the end of the weight")
        whole = torch.full((most,), known.zero, dtype=torch.long)
        whole[where] = numbers
        numbers = whole
    if len(numbers) != most or (most and int(numbers.max()) >= known.count):
        raise Wrong(f"there are {len(numbers):,} codes, not {most:,} codes below {known.count}")
    return replace(known, numbers=numbers)
