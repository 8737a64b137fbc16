"""`share weights to 5 bits by kmeans`: the elements of each weight become a few values that they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.meaning import modules
from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Clause, Verb
from recipelang.plan import Closes, FewValues, Needs, Selection
from recipelang.verbs import _bits, _few

WEIGHTS = "weights"
DEFAULT_SHARING = "kmeans"
MOST = 8  # bits
CLOSES = Closes(
    "shared values are chosen for the weights that are left",
    verbs=("prune", "sparsify"),
)


@dataclass(frozen=True)
class Share:
    """Group the elements of each weight, and make every group one number."""

    verb: ClassVar[str] = "share"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "surgery"
    before_healthy: ClassVar[bool] = False

    bits: int
    sharing: Any
    selection: Selection = Selection()

    def needs(self) -> Needs:
        """Every `share` imposes the same restriction: several of them are one."""
        few = FewValues("shared", self.selection)
        return Needs(selection=self.selection, restriction="shared", few=few, closes=CLOSES)


def read(reader: Reader) -> Share | None:
    """`share weights to 5 bits by kmeans in type(Linear)`."""
    operands = reader.statement.operands
    if len(operands) != 1:
        span = operands[1].span if operands else None
        reader.refuse("RCP0404", f"`share` takes `{WEIGHTS}`", span, "write `share weights to 5 bits`")
    else:
        reader.word(operands[0], "what can be shared", (WEIGHTS,))
    if reader.clause("by") is None:
        reader.add("by", DEFAULT_SHARING)
    by = reader.argument("by")
    sharing = reader.method(by, "sharing", "`by`", f"by {DEFAULT_SHARING}") if by is not None else None
    bits, selected = _width(reader, sharing), modules.selection(reader)
    _few.apart(reader, "rounded", selected)
    return reader.done(Share(bits or MOST, sharing, selected))


def _width(reader: Reader, sharing: Any) -> int | None:
    """The clause `to`."""
    node = reader.argument("to")
    if node is None:
        if reader.clause("to") is None:
            reader.refuse("RCP0403", "`share` does not say how many values a weight has", None, "write `to 5 bits`")
        return None
    number = _bits.number(reader, node, "5 bits")
    if number is None:
        return None
    allowed = sharing.bits if sharing is not None else range(1, MOST + 1)
    if number not in allowed:
        few, most = min(allowed), max(allowed)
        message = f"the number of a shared value has {few} to {most} bits; `{node.text}` is outside"
        reader.refuse("RCP1444", message, node.span, f"write `to {min(max(few, 5), most)} bits`")
        return None
    return int(number)


VERB = Verb(
    summary="Makes the elements of each weight share a few values, so that only their numbers are stored.",
    operands="`weights`",
    words=("weights",),
    clauses=(
        Clause("to", "the bits of the number of a value: 5 bits for 32 values", required=True, accepts=("bits",)),
        Clause("by", "how the values are chosen", default=DEFAULT_SHARING, accepts=("sharing",)),
        Clause("in", "modules whose weights share", default="all that compute products", accepts=("modules",)),
        Clause("except", "modules whose weights stay as they are", accepts=("modules",)),
    ),
    example="sparsify weights by magnitude to 80%\nshare weights to 5 bits by kmeans\nfinetune for 3 epochs",
    read=read,
    operation=Share,
    rules=(
        "It sets `recovered`: the network as it is before the first `share`.",
        "Every weight has values of its own. Zeros of a mask share nothing and stay zeros: they are stored as gaps.",
        "Later training moves the values; every element stays with the value that it has.",
        "Another `share` of the same weights replaces their values; of others, it adds to them.",
        "The same weights are not quantized as well: on a grid with a range for each output, one value would become "
        "several numbers. `quantize activations` may come before or after.",
        "`prune` and `sparsify` come before it, `encode` after it. `size` counts the numbers and the values; no "
        "runtime is faster.",
    ),
    restricts=True,
)
