"""`expect CONDITION`: the verdict on the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.meaning import conditions, places
from recipelang.meaning.bounds import contradictions
from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Clause, Verb
from recipelang.plan import All, Condition, Expected, Needs, Samples
from recipelang.syntax.show import show


@dataclass(frozen=True)
class Expect:
    """Fail (exit 4) unless the condition holds; before `choose` it filters."""

    verb: ClassVar[str] = "expect"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "outcome"
    before_healthy: ClassVar[bool] = False

    condition: Condition

    def needs(self) -> Needs:
        """The verdict."""
        return Needs(writes=Expected(self.condition))


def read(reader: Reader) -> Expect | None:
    """`expect top1 drop < 1% and latency < 0.7`, `expect top1 > 90% on val`."""
    operands = reader.statement.operands
    if not operands:
        reader.refuse("RCP0404", "`expect` needs a condition", None, "write `expect top1 drop < 1%`")
    node = reader.argument("on")
    place = Samples("test") if node is None else places.place(reader, node, "test")
    if place is None:
        return None
    found = [conditions.read(reader, operand, place.split, place.data) for operand in operands]
    tests = tuple(condition for condition in found if condition is not None)
    if not tests or len(tests) < len(found):
        return None
    text = " and ".join(show(operand) for operand in operands)
    whole = tests[0] if len(tests) == 1 else All(tests, text, operands[0].span.to(operands[-1].span))
    if len(tests) > 1:
        contradictions(whole, reader.refuse)
    return reader.done(Expect(whole))


VERB = Verb(
    summary="States the verdict: unless the condition holds, the run ends with exit code 4.",
    operands="conditions; all of them must hold",
    accepts=("condition",),
    clauses=(Clause("on", "a split or a data set", default="the test split", accepts=("split",)),),
    example="expect top1 drop < 1% and latency < 0.7",
    read=read,
    operation=Expect,
    rules=(
        "Before `choose` it filters the variants; after `choose` it is a verdict.",
        "With `seeds` it is about the mean, and the report says for how many seeds it holds.",
    ),
    after_variants=True,
    verdict=True,
)
