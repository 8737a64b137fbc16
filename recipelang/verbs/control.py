"""`control`: a variant with the recipe's training and without its surgery."""

from __future__ import annotations

from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Switch, Verb


def read(reader: Reader) -> Switch | None:
    """`control`."""
    reader.no_operands()
    return reader.done(Switch("control"))


VERB = Verb(
    summary="Adds a variant with the recipe's training and without its surgery, to compare the others with.",
    operands="nothing",
    clauses=(),
    example="prune 2 layers by imprint\nfinetune for 3 epochs\ncontrol\nexpect top1 drop(from=control) < 1%",
    read=read,
    rules=(
        "The recipe must train after something has been removed.",
        "`distill` becomes `finetune` of equal length. In place of images that are made (`on nothing`) it sees as many "
        "of the training split, with their labels; plan and report say so.",
    ),
    top_level=True,
    once=True,
    after_variants=True,
)
