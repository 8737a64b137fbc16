"""`finetune for DURATION [with OPTIMIZER]`: train the network after surgery."""

from __future__ import annotations

from dataclasses import replace

from recipelang.meaning import modules, places, training
from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Clause, Verb
from recipelang.plan import Finetune


def read(reader: Reader) -> Finetune | None:
    """`finetune for 10 epochs with sgd(lr=1e-3)`."""
    reader.no_operands()
    made = training.read(reader, training.TUNING, removes=True)
    if made is None:
        return None
    chosen = replace(made, trains=modules.selection(reader))
    return reader.done(Finetune(chosen, places.samples(reader, trains=True)))


VERB = Verb(
    summary="Trains the network after surgery, on the task's own loss; masks and patterns are kept.",
    operands="nothing",
    clauses=(
        Clause("for", "a number of epochs or steps", required=True, accepts=("epochs",)),
        Clause(
            "with",
            "an optimizer, a loss that needs no teacher, companions",
            default=training.TUNING,
            accepts=("optimizer", "loss", "companion"),
        ),
        Clause("on", "`train(samples=N)`: part of the training split", default="all of it", accepts=("split",)),
        *modules.TRAINED,
    ),
    example="prune 2 layers by imprint\nfinetune for 10 epochs with sgd(lr=1e-3)",
    read=read,
    operation=Finetune,
    rules=(
        "`healthy`, which everything is compared with, is the network before it: what `healthy` is to learn is trained "
        "with `train`.",
        "Losses that compare with a teacher belong to `distill`.",
        "What `in` and `except` leave out stays as it is, also the statistics of its BatchNorm layers.",
    ),
)
