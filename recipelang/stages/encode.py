"""Store the weights that hold few values as the bytes of an encoder."""

from __future__ import annotations

from dataclasses import replace

from recipelang.errors import Refusal
from recipelang.kinds import Figure
from recipelang.stages.context import Context, Foresight, Known, Outcome
from recipelang.surgery.coding import encode, plain_bytes
from recipelang.surgery.encoding import coded, settled
from recipelang.surgery.network import Network
from recipelang.surgery.sparse import sparse_float_bytes
from recipelang.verbs.encode import Encode


def run(operation: Encode, context: Context) -> Outcome:
    """Record the encoder in the network; its files and its size are those of the encoded weights.

    Raises:
        Refusal: RCP1445: no weight holds few values.
    """
    network = replace(settled(context.network), encoded=operation.encoder.name)
    found = coded(network)
    if not found:
        raise Refusal(
            "RCP1445",
            "there is nothing to encode: no weight of the network holds few values",
            "write `share weights to 5 bits`, or `quantize weights to 8 bits`, above",
        )
    told, sums = [], dict.fromkeys(("float32", "without zeros", "as codes", "encoded"), 0)
    for name, codes in found.items():
        made, numbers = encode(codes, operation.encoder), len(codes.numbers)
        sizes = 4 * numbers, sparse_float_bytes(codes.kept), plain_bytes(codes), made.bytes + codes.aside
        for what, size in zip(sums, sizes, strict=True):
            sums[what] += size
        kept, how = int(codes.kept.sum()), f"gaps of {made.width} bits" if made.width else "densely"
        told.append(
            f"`{name}`: {kept:,} of {numbers:,} elements are nonzero, {codes.count} values, {how}: "
            f"float32 {sizes[0]:,} B, without zeros {sizes[1]:,} B, as codes {sizes[2]:,} B, encoded {sizes[3]:,} B"
        )
    figures = [Figure("encoded", len(told), noun="weight")]
    for what, size in sums.items():
        figures.append(Figure(what, size, "B", joins=":" if len(figures) == 1 else ""))
    return Outcome(network, reached=tuple(figures), edits=tuple(told))


def foresee(operation: Encode, network: Network, known: Known) -> Foresight:
    """Nothing: which weights hold few values is known when it runs, except where a network comes with none."""
    return Foresight()
