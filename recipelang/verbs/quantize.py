"""`quantize weights, activations to 8 bits by minmax …`: round weights and activations to few numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang import catalogue
from recipelang.kinds import BITS, QUANTIZED
from recipelang.meaning import modules, places
from recipelang.meaning.lookup import lookup
from recipelang.meaning.reader import Reader
from recipelang.meaning.training import names
from recipelang.meaning.verb import Clause, Verb
from recipelang.plan import Condition, FewValues, Needs, Samples, Selection, later
from recipelang.syntax import nodes
from recipelang.units import listed
from recipelang.verbs import _bits, _few, _hardware, _widths

MOST = BITS[-1]
DEFAULT_QUANTIZER = "minmax"
DEFAULT_SAMPLES = "train(samples=512)"
#: what `with` takes, at most one of each kind
INGREDIENTS = ("rounder", "hardware", "widths")


@dataclass(frozen=True)
class Quantize:
    """Round weights and activations to the numbers of a grid, wherever the network reads them."""

    verb: ClassVar[str] = "quantize"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "surgery"
    before_healthy: ClassVar[bool] = False

    parts: tuple[str, ...]
    bits: int  # 0 where `widths` searches for them
    estimator: Any  # the quantizer; its name here is that of the keys
    selection: Selection = Selection()
    samples: Samples | None = None
    rounder: Any = later(None)
    hardware: Any = later(None)
    widths: Any = later(None)
    until: Condition | None = later(None)  # of `widths`
    guard: Condition | None = later(None)

    def needs(self) -> Needs:
        """Data for activations, and the budget of a search. Every `quantize` imposes the same restriction: several of
        them are one."""
        return Needs(
            selection=self.selection,
            samples=self.samples,
            restriction="quantized",
            few=self._few,
            grids=self.parts,
            until=self.until,
            guard=self.guard,
            looks=24 if self.until else 5,
            glances=getattr(self.widths, "looks", 0),
            searches=self._searches,
            rounder=self.rounder,
        )

    @property
    def _few(self) -> FewValues | None:
        """Its weights, of which some have a width of their own."""
        if "weights" not in self.parts:
            return None
        return FewValues("rounded", self.selection, getattr(self.estimator, "keeps_zero", True))

    @property
    def _searches(self) -> str:
        """What computes the network again and again."""
        if self.widths is not None:
            return str(self.widths.name)
        return str(self.estimator.name) if self.estimator.needs == "loss" else ""

    @property
    def able(self) -> tuple[int, ...]:
        """The widths that a search may choose."""
        able = BITS if self.hardware is None else self.hardware.bits
        return tuple(bits for bits in self.estimator.bits if bits in able)


def read(reader: Reader) -> Quantize | None:
    """`quantize weights, activations to 8 bits`, `quantize weights to 4 bits by mse with adaround in "layer3.*"`."""
    quantizer = _quantizer(reader)
    parts = _parts(reader, quantizer)
    searches = _widths.asked(reader)
    searched = _widths.read(reader, quantizer) if searches else _widths.Searched(None, None)
    bits = 0 if searches else _width(reader, quantizer) or MOST
    beside = _ingredients(reader, parts, searches, quantizer)
    if beside.get("widths") is not None:
        _widths.checked(reader, beside["widths"])
    samples = _samples(reader, _looks(parts, quantizer, beside), quantizer)
    if "weights" in parts and not getattr(quantizer, "keeps_zero", True):
        _no_zeros(reader, quantizer)
    selected = modules.selection(reader)
    if "weights" in parts:
        _few.apart(reader, "shared", selected)
    if not reader.failed and beside.get("hardware") is not None:
        quantizer = _hardware.fitted(reader, quantizer, parts, bits, beside["hardware"])
    made = Quantize(parts, bits, quantizer, selected, samples, until=searched.until, guard=searched.guard, **beside)
    return reader.done(made)


def _quantizer(reader: Reader) -> Any | None:
    """The clause `by`."""
    if reader.clause("by") is None:
        reader.add("by", DEFAULT_QUANTIZER)
    by = reader.argument("by")
    return reader.method(by, "quantizer", "`by`", f"by {DEFAULT_QUANTIZER}") if by is not None else None


def _parts(reader: Reader, quantizer: Any) -> tuple[str, ...]:
    """The operands, in the order of `QUANTIZED`."""
    operands = reader.statement.operands
    if not operands:
        reader.refuse(
            "RCP0404", "`quantize` needs what to quantize", None, "write `quantize weights, activations to 8 bits`"
        )
    parts = [reader.word(node, "what can be quantized", QUANTIZED) for node in operands]
    able = getattr(quantizer, "parts", QUANTIZED)
    for n, (node, part) in enumerate(zip(operands, parts, strict=True)):
        if part is not None and part in parts[:n]:
            reader.refuse("RCP0408", f"`{part}` appears twice", node.span, "name each once")
        elif part is not None and part not in able:
            message = f"`{quantizer.name}` quantizes {listed(able)} and not {part}"
            help = f"write `quantize {', '.join(able)} …`, and quantize {part} in a second statement"
            reader.refuse("RCP1407", message, node.span, help)
    return tuple(part for part in QUANTIZED if part in parts)


def _width(reader: Reader, quantizer: Any) -> int | None:
    """The clause `to`."""
    node = reader.argument("to")
    able = getattr(quantizer, "bits", BITS)
    if node is None:
        if reader.clause("to") is None and len(able) == 1:
            return int(able[0])
        if reader.clause("to") is None and quantizer is not None:
            help = f"write `to {_spelt(able[-1])}`, or `until size < 25%` to have widths searched for"
            reader.refuse("RCP0403", "`quantize` does not say to how many bits", None, help)
        return None
    number = _bits.number(reader, node, _spelt(able[-1]))
    if number is None:
        return None
    if number not in able:
        nearest = min(able, key=lambda bits: abs(bits - number))
        reader.refuse(
            "RCP1401",
            f"{f'`{quantizer.name}`' if quantizer else 'a grid'} has {_range(able)} bits; `{node.text}` is outside",
            node.span,
            f"write `to {_spelt(nearest)}`{_otherwise(number, able)}",
        )
        return None
    return int(number)


def _otherwise(asked: float, able: tuple[int, ...]) -> str:
    """What else helps someone who asked for a width that is not among these."""
    if asked == 1:
        return ", or quantize `by bwn`, whose weights have one bit"
    return ", or fewer with `finetune` after it" if asked > able[-1] == MOST and len(able) > 1 else ""


def _no_zeros(reader: Reader, quantizer: Any) -> None:
    """Refuse a quantizer without zero where all of its weights are masked; a stage knows of others."""
    if reader.flow.zeros is None:
        return
    zeros, place = reader.flow.zeros
    if zeros.selection in (Selection(), modules.selection(reader)):
        by = reader.argument("by")
        reader.refuse(
            "RCP1454",
            f"weights have masks ({place.seen_from(reader.statement.verb.span)}), and `{quantizer.name}` has no zero: "
            "what is masked would be a number again",
            by.span if by is not None else None,
            "quantize by `twn`, `ttq` or `gxnor`, which keep zeros",
        )


def _spelt(bits: int) -> str:
    return f"{bits} bit{'s' * (bits > 1)}"


def _range(bits: tuple[int, ...]) -> str:
    """`2 to 8` where there is no gap, else `2 or 4`."""
    whole = len(bits) > 2 and bits == tuple(range(bits[0], bits[-1] + 1))
    return f"{bits[0]} to {bits[-1]}" if whole else listed(map(str, bits), last="or")


def _ingredients(reader: Reader, parts: tuple[str, ...], searches: bool, quantizer: Any) -> dict[str, Any]:
    """The clause `with`: at most one method of each kind, in any order."""
    found: dict[str, Any] = {}
    for node in reader.arguments("with"):
        kind = next((kind for kind in INGREDIENTS if names(node, kind)), "")
        if not isinstance(node, nodes.Call):
            reader.refuse("RCP0405", "`with` of `quantize` takes names of methods", node.span, "leave it out")
        elif not kind:
            lookup(node, INGREDIENTS, "`with` of `quantize`", reader.refuse)
        elif kind in found:
            reader.refuse("RCP0408", f"`with` names a second {kind}", node.span, "keep one")
        elif kind == "rounder" and searches:
            message = f"`{node.name}` rounds to a given width, and this statement searches for widths"
            help = "leave it out, or write `to 4 bits` in place of `until`"
            reader.refuse("RCP1436", message, node.span, help)
        elif kind == "rounder" and parts and "weights" not in parts:
            message = f"`{node.name}` decides how weights are rounded, and this statement quantizes none"
            reader.refuse("RCP1435", message, node.span, "write `quantize weights, activations …`, or leave it out")
        else:
            found[kind] = reader.method(node, kind, "`with` of `quantize`", f"with {catalogue.names(kind)[0]}")
            if kind == "rounder" and getattr(found[kind], "uniform", False) and not getattr(quantizer, "uniform", True):
                message = (
                    f"`{node.name}` goes from one number of a uniform grid to the next, and `{quantizer.name}` has "
                )
                message += "levels instead"
                reader.refuse("RCP1434", message, node.span, "quantize `by minmax` or `by mse`, or leave it out")
    return found


def _looks(parts: Iterable[str], quantizer: Any, beside: dict[str, Any]) -> bool:
    """Whether data are observed: for activations, and for weights by what compares what the network computes."""
    rounded = getattr(beside.get("rounder"), "looks_at_data", False)
    observed = "activations" in parts and getattr(quantizer, "observes", True)
    return observed or rounded or getattr(quantizer, "needs", "") == "loss"


def _samples(reader: Reader, looks: bool, quantizer: Any) -> Samples | None:
    """The clause `on`, where data are observed."""
    given = reader.argument("on")
    if looks and given is None:
        reader.add("on", DEFAULT_SAMPLES)
    if not looks and given is not None and reader.failed:
        return None  # a rounder that is not known may look at data
    if not looks and given is not None:
        message = "the range of a weight is known without data, and `quantize weights` looks at none"
        help = "leave `on` out, or write `quantize weights, activations`"
        if not getattr(quantizer, "observes", True):
            message = f"`{quantizer.name}` knows the range of an activation without data, and looks at none"
            help = "leave `on` out, or write `by minmax`"
        reader.refuse("RCP1402", message, given.span, help)
        return None
    if given is not None and names(given, "source") and not reader.flow.is_data(given.name):
        source = reader.method(given, "source", "`on` of `quantize`", f"on {DEFAULT_SAMPLES}")
        return Samples("train", source.samples, source=source) if source is not None else None
    return places.samples(reader)


VERB = Verb(
    summary="Rounds weights and activations to a grid of few numbers, for hardware that computes in integers.",
    operands="what to quantize: `weights`, `activations`, or both",
    words=("weights", "activations"),
    clauses=(
        Clause(
            "to",
            "the number of bits: `8 bits`; without it, `until` or `while` has them searched for, and a quantizer that "
            "has one width has that",
            accepts=("bits",),
        ),
        Clause(
            "by",
            "the quantizer: which numbers there are, and how they are learned",
            default=DEFAULT_QUANTIZER,
            accepts=("quantizer",),
        ),
        Clause(
            "with",
            "how weights are rounded, what the hardware computes with, how widths are chosen: one of each",
            accepts=("rounder", "hardware", "widths"),
        ),
        Clause(
            "until",
            "a budget: places get the widths that harm least and meet it, from 8 bits down",
            accepts=("condition",),
        ),
        Clause("while", "a guard: widths that break it are undone", accepts=("condition",)),
        Clause("in", "modules to quantize", default="all that compute products and sums", accepts=("modules",)),
        Clause("except", "modules to leave in floating point", accepts=("modules",)),
        Clause(
            "on",
            "the data on which activations are observed: a split, or a source that makes them from the network",
            default=DEFAULT_SAMPLES,
            accepts=("split", "source"),
        ),
    ),
    example="quantize weights, activations to 8 bits by minmax on train(samples=512)",
    read=read,
    operation=Quantize,
    rules=(
        "It sets `recovered`: the network as it is before the first `quantize`.",
        "Weights have a grid for each output channel, symmetric around zero; an activation has one, with a zero point. "
        "The settings `per` and `form` of a quantizer change that. Zero is on every grid, so masks, padding and ReLU "
        "stay exact.",
        "What products and sums read is quantized; BatchNorm and ReLU belong to the layer before them.",
        "A rounder (`with adaround`) replaces the weights with numbers of their grids, one piece of the network after "
        "another; activations are observed afterwards. Without one, weights become the nearest numbers.",
        "The full-precision weights are kept, unless a rounder replaced them: later training moves them, and computes "
        "with their rounded values. A quantizer that learns, such as `lsq`, takes part in every later training: "
        "`finetune`, `distill`, the trainings of `prune`. "
        "Another `quantize` of the same weights replaces their grids; of others, it adds to them.",
        "With `until size < 25%` in place of `to`, every place gets a width of its own: `with sensitivity` (default) or"
        " `with haq` searches for them, and `while top1 drop < 1%` must hold as well.",
        "Accuracy is that of the rounded network everywhere. Time is not: only a runtime that computes in integers, "
        "such as `latency(runtime=onnxruntime)`, is faster.",
    ),
    restricts=True,
)
