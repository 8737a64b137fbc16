"""`measure METRIC, … [on DATA, …]`: measure here, and show these columns in the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.meaning import metrics, places
from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Clause, Verb
from recipelang.plan import Needs, Reading, Samples, Shown
from recipelang.syntax import nodes
from recipelang.syntax.show import show


@dataclass(frozen=True)
class Measure:
    """Metrics to measure here and to show in the report."""

    verb: ClassVar[str] = "measure"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "setup"
    before_healthy: ClassVar[bool] = True

    readings: tuple[Reading, ...]

    def needs(self) -> Needs:
        """The columns."""
        return Needs(writes=Shown(self.readings))


def read(reader: Reader) -> Measure | None:
    """`measure top1, latency(batch=8) on set5`."""
    if not reader.statement.operands:
        reader.refuse("RCP0404", "`measure` needs a metric", None, "write `measure top1, latency`")
    wanted = [places.place(reader, node, "test") for node in reader.arguments("on")] or [Samples("test")]
    found: dict[Reading, Any] = {}  # for its keys, which keep their order
    for place in wanted:
        for node in reader.statement.operands:
            if isinstance(node, nodes.Compare | nodes.AllOf | nodes.AnyOf):
                help = "write the condition after `expect`"
                reader.refuse("RCP0406", "`measure` takes no comparison", node.span, help)
                continue
            reading = metrics.reading(reader, node, place.split, place.data) if place else None
            if reading in found:
                reader.refuse("RCP0408", f"`{show(node)}` appears twice", node.span, "name each once")
            elif reading:
                found[reading] = node
    return reader.done(Measure(tuple(found)))


VERB = Verb(
    summary="Measures here, and shows these columns in the report.",
    operands="metrics",
    accepts=("metric",),
    clauses=(Clause("on", "splits or data sets", default="the test split", accepts=("split",)),),
    example="measure top1, latency(batch=64), flops",
    read=read,
    operation=Measure,
    rules=("After variants, each of them is measured.",),
    after_variants=True,
)
