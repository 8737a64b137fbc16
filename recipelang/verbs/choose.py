"""`choose by METRIC` or `choose first`: make one variant current."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.meaning import metrics, places, trees
from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Clause, Verb
from recipelang.plan import Chosen, Needs, Reading


@dataclass(frozen=True)
class Choose:
    """Make the best variant current, or the first that meets every expectation above."""

    verb: ClassVar[str] = "choose"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "structure"
    before_healthy: ClassVar[bool] = False

    by: Reading | None  # None: the first that meets every `expect`

    def needs(self) -> Needs:
        """The choice."""
        return Needs(writes=Chosen(self.by))


def read(reader: Reader) -> Choose | None:
    """`choose by top1`, `choose first`."""
    by, operands = reader.argument("by"), reader.statement.operands
    data = _place(reader)
    if not reader.flow.branch:
        reader.refuse(
            "RCP0507",
            "there are no variants above to choose from",
            None,
            "write `variant NAME { … }` or a `sweep` above",
        )
    if by is not None and operands:
        reader.refuse("RCP0409", "`first` and `by` are two ways to choose", operands[0].span, "keep one of them")
    elif by is not None:
        reading = metrics.reading(reader, by, "val", data)
        if reading and reading.form != "value":
            help = f"write `choose by {reading.metric.name}`"
            reader.refuse("RCP0405", "`by` of `choose` takes only a metric", by.span, help)
        return reader.done(Choose(reading))
    elif len(operands) == 1 and trees.bare_word(operands[0]) == "first":
        if not reader.flow.expects:
            help = "write `expect …` between the variants and this line"
            reader.refuse(
                "RCP0508",
                "`choose first` takes the variant that meets every `expect`, and there is no `expect` above",
                operands[0].span,
                help,
            )
        return reader.done(Choose(None))
    else:
        place = operands[0].span if operands else None
        reader.refuse("RCP0404", "`choose` does not say how", place, "write `choose by top1` or `choose first`")
    return None


def _place(reader: Reader) -> str:
    """`on val` or `on set5`; choosing on the test split is refused."""
    node = reader.argument("on")
    place = places.place(reader, node, "val") if node is not None else None
    if place and node is not None and place.split != "val":
        why = "makes its number worthless" if place.split == "test" else "rewards memorizing it"
        reader.refuse("RCP0509", f"choosing on the {place.split} split {why}", node.span, "`on val`, or leave it out")
    return place.data if place else ""


VERB = Verb(
    summary="Makes one variant current: the best by a metric, or the first that meets every `expect` above.",
    operands="`first`, or nothing",
    words=("first",),
    clauses=(
        Clause("by", "a metric; the best value wins", accepts=("metric",)),
        Clause("on", "a data set; always its validation split", default="val", accepts=("split",)),
    ),
    example="sweep lr in 1e-2, 1e-3 {\n  finetune for 3 epochs with sgd(lr=$lr)\n}\nchoose by top1",
    read=read,
    operation=Choose,
    rules=(
        "It reads the validation split; choosing on the test split is refused.",
        "`choose first` does not run the variants after the first that qualifies.",
    ),
    after_variants=True,
    joins=True,
)
