"""`train for DURATION [with OPTIMIZER]`: train the network before anything is removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.meaning import places, scratch, training
from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Clause, Verb
from recipelang.plan import Needs, Samples, Training, later


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
    equal: str = later("epochs")  # one of `meaning.scratch.EQUAL`

    def needs(self) -> Needs:
        """Its training, and the network whose FLOPs it spends."""
        spends = "healthy" if self.equal == "flops" else ""
        states = (spends,) if spends else ()
        return Needs(
            training=self.training,
            trains_on=self.samples,
            states=states,
            spends=spends,
            beside=self.training.beside(),
        )


def read(reader: Reader) -> Train | None:
    """`train for 30 epochs with sgd(lr=0.1)`, `train from scratch(equal=flops) for 30 epochs`."""
    reader.no_operands()
    equal = scratch.read(reader)
    made = training.read(reader, training.FROM_SCRATCH, removes=True)
    if made is None:
        return None
    return reader.done(Train(made, bool(equal), places.samples(reader, trains=True), equal or "epochs"))


VERB = Verb(
    summary="Trains the network on the task, from its current weights or from scratch.",
    operands="nothing",
    clauses=(
        Clause("for", "a number of epochs or steps", required=True, accepts=("epochs",)),
        Clause(
            "with",
            "an optimizer, a loss, companions",
            default=training.FROM_SCRATCH,
            accepts=("optimizer", "loss", "companion"),
        ),
        Clause(
            "from",
            "`scratch`: random weights in the current architecture; `scratch(equal=flops)` trains as much longer as "
            "the network needs less than `healthy`",
            words=("scratch",),
        ),
        Clause("on", "`train(samples=N)`: part of the training split", default="all of it", accepts=("split",)),
    ),
    example="train for 30 epochs with sgd(lr=0.1)",
    read=read,
    operation=Train,
    rules=(
        "Training before anything is removed belongs to `healthy`, and is done once for all variants.",
        "`from scratch` after a removal trains what is left from new random weights for as many epochs as it says, and "
        "with `equal=flops` for as many as `healthy` could be trained with the same FLOPs: the controls scratch-E and "
        'scratch-B of Liu et al. 2019, "Rethinking the Value of Network Pruning". FLOPs are those of an image, and '
        "products with weights that masks hold at zero are not counted; ramps keep their shape, a milestone in the "
        "middle stays in the middle. `plan` and the report say how many epochs it is.",
        "A companion that removes parts or leaves masks compresses: `healthy` is the network before such a training.",
    ),
)
