"""`equalize`: scale the channels between layers so that their weights fill the ranges of their grids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.meaning import modules
from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Clause, Verb
from recipelang.plan import Needs, Selection


@dataclass(frozen=True)
class Equalize:
    """Scale channels between layers; the network computes what it did."""

    verb: ClassVar[str] = "equalize"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "surgery"
    before_healthy: ClassVar[bool] = False

    selection: Selection = Selection()

    def needs(self) -> Needs:
        """Nothing but modules."""
        return Needs(selection=self.selection)


def read(reader: Reader) -> Equalize | None:
    """`equalize`, `equalize except "layer4.*"`."""
    reader.no_operands()
    if "quantized" in reader.flow.restrictions:
        reader.refuse(
            "RCP1437",
            "the network is quantized here, and its grids were chosen for weights as they are",
            None,
            "write `equalize` before `quantize`",
        )
    return reader.done(Equalize(modules.selection(reader)))


VERB = Verb(
    summary="Scales the channels between two layers so that the ranges of both weights become equal; nothing else "
    "changes.",
    operands="nothing",
    clauses=(
        Clause("in", "modules whose layers are equalized", default="all", accepts=("modules",)),
        Clause("except", "modules that stay as they are", accepts=("modules",)),
    ),
    example="equalize",
    read=read,
    operation=Equalize,
    rules=(
        "For two layers W₁, W₂, the second of which alone reads the channels of the first, through BatchNorm, ReLU or "
        "pooling: W₁ / s and W₂ · s with s = √(r₁ r₂) / r₂, r the ranges of a channel (Nagel et al. 2019).",
        "A BatchNorm between them is as if folded into W₁, and keeps its place. The answer of the network is compared "
        "before and after; pairs that would change it stay as they are, with the reason.",
        "Useful before `quantize … by minmax(per=tensor)`: one range then fits all channels. With a range for each "
        "output channel it only helps the inputs of W₂.",
    ),
)
