"""`quantize weights, activations to 8 bits by minmax …`: round weights and activations to a grid of few numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.meaning import modules, places
from recipelang.meaning.reader import Reader
from recipelang.meaning.values import DIMENSIONS
from recipelang.meaning.verb import Clause, Verb
from recipelang.plan import Needs, Samples, Selection
from recipelang.syntax import nodes

PARTS = ("weights", "activations")
FEWEST, MOST = 2, 8  # bits
DEFAULT_ESTIMATOR = "minmax"
DEFAULT_SAMPLES = "train(samples=512)"


@dataclass(frozen=True)
class Quantize:
    """Round weights and activations to the numbers of a grid, wherever the network reads them."""

    verb: ClassVar[str] = "quantize"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "surgery"
    before_healthy: ClassVar[bool] = False

    parts: tuple[str, ...]
    bits: int
    estimator: Any
    selection: Selection = Selection()
    samples: Samples | None = None

    def needs(self) -> Needs:
        """Data for activations. Every `quantize` imposes the same restriction: several of them are one."""
        return Needs(selection=self.selection, samples=self.samples, restriction="quantized")


def read(reader: Reader) -> Quantize | None:
    """`quantize weights, activations to 8 bits`, `quantize weights to 4 bits in "layer3.*"`."""
    operands = reader.statement.operands
    if not operands:
        reader.refuse(
            "RCP0404", "`quantize` needs what to quantize", None, "write `quantize weights, activations to 8 bits`"
        )
    parts = [reader.word(node, "what can be quantized", PARTS) for node in operands]
    for n, node in enumerate(operands):
        if parts[n] is not None and parts[n] in parts[:n]:
            reader.refuse("RCP0408", f"`{parts[n]}` appears twice", node.span, "name each once")
    bits = _bits(reader)
    if reader.clause("by") is None:
        reader.add("by", DEFAULT_ESTIMATOR)
    by = reader.argument("by")
    estimator = reader.method(by, "quantizer", "`by`", f"by {DEFAULT_ESTIMATOR}") if by is not None else None
    samples = _samples(reader, "activations" in parts)
    named = tuple(part for part in PARTS if part in parts)
    return reader.done(Quantize(named, bits or MOST, estimator, modules.selection(reader), samples))


def _bits(reader: Reader) -> int | None:
    """The clause `to`."""
    node = reader.argument("to")
    if node is None:
        if reader.clause("to") is None:
            reader.refuse("RCP0403", "`quantize` does not say to how many bits", None, f"write `to {MOST} bits`")
        return None
    number = node.quantity if isinstance(node, nodes.Number) else None
    if number is None or number.dimension != "bits":
        plain = number is not None and number.unit == "" and number.number == int(number.number)
        what = DIMENSIONS[number.dimension] if number else "not a number"
        help = f"write `to {node.text} bits`" if plain else f"write `to {MOST} bits`"
        reader.refuse("RCP0302", f"`to` of `quantize` takes a number of bits; this is {what}", node.span, help)
        return None
    if number.number != int(number.number) or not FEWEST <= number.number <= MOST:
        reader.refuse(
            "RCP1401",
            f"a grid has {FEWEST} to {MOST} bits; `{node.text}` is outside",
            node.span,
            f"write `to {MOST} bits`, or fewer with `finetune` after it",
        )
        return None
    return int(number.number)


def _samples(reader: Reader, activations: bool) -> Samples | None:
    """The clause `on`, which only activations need."""
    given = reader.argument("on")
    if activations and given is None:
        reader.add("on", DEFAULT_SAMPLES)
    if not activations and given is not None:
        reader.refuse(
            "RCP1402",
            "the range of a weight is known without data, and `quantize weights` looks at none",
            given.span,
            "leave `on` out, or write `quantize weights, activations`",
        )
        return None
    return places.samples(reader)


VERB = Verb(
    summary="Rounds weights and activations to a grid of few numbers, for hardware that computes in integers.",
    operands="what to quantize: `weights`, `activations`, or both",
    clauses=(
        Clause("to", "the number of bits: `8 bits`", required=True),
        Clause("by", "how the range of a grid is chosen", default=DEFAULT_ESTIMATOR),
        Clause("in", "modules to quantize", default="all that compute products and sums"),
        Clause("except", "modules to leave in floating point"),
        Clause("on", "the data on which activations are observed", default=DEFAULT_SAMPLES),
    ),
    example="quantize weights, activations to 8 bits by minmax on train(samples=512)",
    read=read,
    operation=Quantize,
    rules=(
        "It sets `recovered`: the network as it is before the first `quantize`.",
        "Weights have a grid for each output channel, symmetric around zero; an activation has one, with a zero point. "
        "Zero is on every grid, so masks, padding and ReLU stay exact.",
        "What products and sums read is quantized; BatchNorm and ReLU belong to the layer before them.",
        "The full-precision weights are kept: later training moves them, and computes with their rounded values. "
        "Another `quantize` of the same weights replaces their grids; of others, it adds to them.",
        "Accuracy is that of the rounded network everywhere. Time is not: only a runtime that computes in integers, "
        "such as `latency(runtime=onnxruntime)`, is faster.",
    ),
    restricts=True,
)
