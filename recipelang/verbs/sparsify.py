"""`sparsify PATTERN [by CRITERION] [with PERMUTATION] …`: set weights to zero in a pattern."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang import catalogue
from recipelang.errors import Span
from recipelang.kinds import Solver
from recipelang.meaning import modules, places
from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Clause, Verb
from recipelang.meaning.wording import listing
from recipelang.plan import Needs, Samples, Selection, unhashed


@dataclass(frozen=True)
class Sparsify:
    """Set weights to zero in a pattern that a machine can use; masks are kept through later training."""

    verb: ClassVar[str] = "sparsify"
    version: ClassVar[int] = 2
    role: ClassVar[str] = "surgery"
    before_healthy: ClassVar[bool] = False

    pattern: Any
    criterion: Any
    selection: Selection = Selection()
    samples: Samples = Samples("train")
    permutation: Any = None
    criterion_span: Span | None = unhashed(None)

    def needs(self) -> Needs:
        """Its criterion, and the restriction of its pattern."""
        return Needs(
            criterion=self.criterion,
            samples=self.samples,
            selection=self.selection,
            restriction=self.pattern.restriction,
            sparse=bool(self.pattern.restriction),
        )


DEFAULT_CRITERION = "magnitude"


def read(reader: Reader) -> Sparsify | None:
    """`sparsify nm 2:4`, `sparsify nm 2:4 by magnitude(p=2) except "fc"`."""
    node = reader.operand("one pattern", "write `sparsify nm 2:4`")
    pattern = None
    if node is not None and not reader.comparison(node):
        pattern = reader.method(node, "pattern", "`sparsify`", "sparsify nm 2:4")
    if reader.clause("by") is None:
        reader.add("by", DEFAULT_CRITERION)
    by = reader.argument("by")
    criterion = reader.method(by, "criterion", "`by`", "by magnitude") if by is not None else None
    if by is not None and criterion is not None and criterion.unit not in ("element", "any"):
        reader.refuse(
            "RCP0413",
            f"{criterion.name} ranks {criterion.unit}s; it does not score single weights",
            by.span,
            f"`prune {criterion.unit}s by {criterion.name}`, or {_scoring_weights()} here",
        )
    groups = hasattr(pattern, "n") and hasattr(pattern, "m")
    if isinstance(criterion, Solver) and pattern is not None and not groups:
        reader.refuse(
            "RCP0413",
            f"{criterion.name} corrects weights group by group, and {pattern.name} has no groups of m",  # type: ignore[attr-defined]
            by.span if by is not None else None,
            "`nm 2:4` has groups; or write `by wanda`, which only ranks",
        )
    chosen = reader.argument("with")
    permutation = None
    if chosen is not None:
        permutation = reader.method(chosen, "permutation", "`with` of `sparsify`", "with permute")
        if pattern is not None and not groups:
            reader.refuse(
                "RCP0413",
                f"{pattern.name} prunes no groups of channels: their order does not matter to it",
                chosen.span,
                "leave `with` out, or write `nm 2:4`",
            )
    samples = places.samples(reader) or Samples("train")
    span = by.span if by is not None else None
    return reader.done(Sparsify(pattern, criterion, modules.selection(reader), samples, permutation, span))


def _scoring_weights() -> str:
    """The criteria that score single weights, as a help line offers them."""
    fitting = [name for name in catalogue.names("criterion") if _unit(name) in ("element", "any")]
    return f"by {listing(fitting)}"


def _unit(name: str) -> str:
    return str(getattr(catalogue.find("criterion", name), "unit", ""))


VERB = Verb(
    summary="Sets weights to zero in a pattern that a machine can use; the masks are kept through later training.",
    operands="a pattern and its numbers: `nm 2:4`",
    clauses=(
        Clause("by", "the criterion that scores each weight", default=DEFAULT_CRITERION),
        Clause("with", "how input channels are reordered first: `permute`"),
        Clause("in", "modules to sparsify", default="all that can take the pattern"),
        Clause("except", "modules to leave dense"),
        Clause("on", "the data that the criterion uses", default="train"),
    ),
    example='sparsify nm 2:4 by magnitude except "fc"',
    read=read,
    operation=Sparsify,
    rules=(
        "`nm` sets `recovered`: the network as it is before the pattern.",
        "Weights that cannot take the pattern stay dense, and the report says why.",
        "`with permute` reorders input channels so that the pattern keeps more of the scores; until the pattern is "
        "applied, the network computes the same function as before.",
        "Where removal comes just before and `recovered` is named later, tuning for 3 epochs is inserted between; "
        "`no recovery` leaves it out.",
    ),
    restricts=True,
)
