"""`encode by huffman`: the weights that hold few values are stored as bytes of an encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Clause, Verb
from recipelang.plan import Closes, Needs

DEFAULT_ENCODER = "huffman"
CLOSES = Closes(
    "codes are made for the weights as they are, and would fit no others",
    roles=("training", "surgery"),
)
#: verbs after which weights hold few values
LEAVE_FEW = ("share", "quantize")


@dataclass(frozen=True)
class Encode:
    """Store the weights that hold few values as bytes of an encoder."""

    verb: ClassVar[str] = "encode"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "surgery"
    before_healthy: ClassVar[bool] = False

    encoder: Any

    def needs(self) -> Needs:
        """Nothing; no training and no surgery may follow."""
        return Needs(closes=CLOSES)


def read(reader: Reader) -> Encode | None:
    """`encode by huffman`."""
    reader.no_operands()
    if not reader.flow.sparse and not any(verb in reader.flow.last for verb in LEAVE_FEW):  # an artifact may hold few
        reader.refuse(
            "RCP1445",
            "there is nothing to encode: no weight of the network holds few values",
            None,
            "write `share weights to 5 bits`, or `quantize weights to 8 bits`, above",
        )
    if reader.clause("by") is None:
        reader.add("by", DEFAULT_ENCODER)
    by = reader.argument("by")
    encoder = reader.method(by, "encoder", "`by`", f"by {DEFAULT_ENCODER}") if by is not None else None
    return reader.done(Encode(encoder))


VERB = Verb(
    summary="Stores the weights that hold few values as the bytes of an encoder, without loss.",
    operands="nothing",
    clauses=(Clause("by", "the encoder", default=DEFAULT_ENCODER, accepts=("encoder",)),),
    example="share weights to 5 bits by kmeans\nfinetune for 3 epochs\nencode by huffman",
    read=read,
    operation=Encode,
    rules=(
        "Weights that share values, and quantized ones, are encoded; the others stay float32.",
        "Quantized weights become the numbers of their grids: what was finer in them is given up.",
        "It is the last step: training and surgery come before it.",
        "The files of the network are smaller, and are read back bit for bit; in memory and time nothing changes.",
    ),
)
