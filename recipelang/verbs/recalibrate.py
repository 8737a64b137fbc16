"""`recalibrate [on DATA]`: estimate BatchNorm statistics again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.meaning import places
from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Clause, Verb
from recipelang.plan import Needs, Samples


@dataclass(frozen=True)
class Recalibrate:
    """Estimate the running statistics of every BatchNorm again, without training."""

    verb: ClassVar[str] = "recalibrate"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "training"
    before_healthy: ClassVar[bool] = False

    samples: Samples = Samples("train", 2048)

    def needs(self) -> Needs:
        """A control repeats it: its own BatchNorms see the same images."""
        return Needs(samples=self.samples, repeated=True)


def read(reader: Reader) -> Recalibrate | None:
    """`recalibrate on train(samples=2048)`."""
    reader.no_operands()
    if reader.clause("on") is None:
        reader.add("on", "train(samples=2048)")
    samples = places.samples(reader)
    return reader.done(Recalibrate(samples)) if samples else None


VERB = Verb(
    summary="Estimates the running statistics of every BatchNorm again, without training a weight.",
    operands="nothing",
    clauses=(Clause("on", "a split, and how many samples of it", default="train(samples=2048)", accepts=("split",)),),
    example="recalibrate on train(samples=2048)",
    read=read,
    operation=Recalibrate,
)
