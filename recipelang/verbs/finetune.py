"""`finetune for DURATION [with OPTIMIZER]`: train the network after surgery."""

from __future__ import annotations

from recipelang.meaning import places, training
from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Clause, Verb
from recipelang.plan import Finetune


def read(reader: Reader) -> Finetune | None:
    """`finetune for 10 epochs with sgd(lr=1e-3)`."""
    reader.no_operands()
    made = training.read(reader, training.TUNING, removes=True)
    return reader.done(Finetune(made, places.samples(reader, trains=True))) if made else None


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
    ),
    example="prune 2 layers by imprint\nfinetune for 10 epochs with sgd(lr=1e-3)",
    read=read,
    operation=Finetune,
    rules=("Losses that compare with a teacher belong to `distill`.",),
)
