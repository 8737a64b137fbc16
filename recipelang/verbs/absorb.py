"""`absorb biases`: what BatchNorm adds far above zero moves into the next layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.meaning import modules
from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Clause, Verb
from recipelang.plan import Needs, Selection

BIASES = "biases"


@dataclass(frozen=True)
class Absorb:
    """Move what norms add above zero through the ReLU into the biases of the next layers."""

    verb: ClassVar[str] = "absorb"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "surgery"
    before_healthy: ClassVar[bool] = False

    selection: Selection = Selection()

    def needs(self) -> Needs:
        """Nothing but modules."""
        return Needs(selection=self.selection)


def read(reader: Reader) -> Absorb | None:
    """`absorb biases`, `absorb biases except "layer4.*"`."""
    operands = reader.statement.operands
    if len(operands) != 1:
        span = operands[1].span if operands else None
        reader.refuse("RCP0404", f"`absorb` takes `{BIASES}`", span, f"write `absorb {BIASES}`")
    else:
        reader.word(operands[0], "what can be absorbed", (BIASES,))
    if "quantized" in reader.flow.restrictions:
        reader.refuse(
            "RCP1437",
            "the network is quantized here, and its grids were chosen for activations as they are",
            None,
            "write `absorb biases` before `quantize`",
        )
    return reader.done(Absorb(modules.selection(reader)))


VERB = Verb(
    summary="Moves what BatchNorm adds far above zero through the ReLU into the next layer, so that activations have "
    "smaller ranges.",
    operands="`biases`",
    words=("biases",),
    clauses=(
        Clause("in", "modules whose layers give and absorb", default="all", accepts=("modules",)),
        Clause("except", "modules that stay as they are", accepts=("modules",)),
    ),
    example="equalize\nabsorb biases\nquantize weights, activations to 8 bits by dfq "
    "with bias_correction(means=batchnorm)",
    read=read,
    operation=Absorb,
    rules=(
        "For two layers of which the second alone reads the channels of the first, through BatchNorm and ReLU: "
        "c = max(0, β − 3|γ|) leaves β, and W₂ c is added to the second layer's bias, or taken off the mean of its "
        "BatchNorm (Nagel et al. 2019, section 4.1.3).",
        "The network computes the same wherever a channel is above c, which 99.865 % of a normal distribution are. A "
        "second layer that pads with zeros stays as it is, since there is no c in its padding.",
        "It comes after `equalize`, which may make activations large, and before `quantize`.",
    ),
)
