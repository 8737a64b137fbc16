"""`train for DURATION [with OPTIMIZER]`: train the network before anything is removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.meaning import places, training
from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Clause, Verb
from recipelang.plan import Needs, Samples, Training


@dataclass(frozen=True)
class Train:
    """Train the network, from its current weights or from scratch."""

    verb: ClassVar[str] = "train"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "training"
    before_healthy: ClassVar[bool] = True

    training: Training
    scratch: bool = False
    samples: Samples | None = None

    def needs(self) -> Needs:
        """Its training."""
        return Needs(training=self.training, trains_on=self.samples)


def read(reader: Reader) -> Train | None:
    """`train for 30 epochs with sgd(lr=0.1)`, `train from scratch for 30 epochs`."""
    reader.no_operands()
    start = reader.argument("from")
    scratch = start is not None and reader.word(start, "where training starts", ("scratch",)) is not None
    made = training.read(reader, training.FROM_SCRATCH)
    return reader.done(Train(made, scratch, places.samples(reader, trains=True))) if made else None


VERB = Verb(
    summary="Trains the network on the task, from its current weights or from scratch.",
    operands="nothing",
    clauses=(
        Clause("for", "a number of epochs or steps", required=True),
        Clause("with", "an optimizer and a loss", default=training.FROM_SCRATCH),
        Clause("from", "`scratch`: random weights in the current architecture"),
        Clause("on", "`train(samples=N)`: part of the training split", default="all of it"),
    ),
    example="train for 30 epochs with sgd(lr=0.1)",
    read=read,
    operation=Train,
    rules=("Training before anything is removed belongs to `healthy`, and is done once for all variants.",),
)
