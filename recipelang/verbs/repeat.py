"""`repeat N times { … }`, `repeat until CONDITION { … }`, `repeat while CONDITION { … }`."""

from __future__ import annotations

from recipelang.meaning import conditions, trees
from recipelang.meaning.bounds import breaking
from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Clause, Loop, Verb
from recipelang.syntax import nodes


def read(reader: Reader) -> Loop | None:
    """`repeat while top1 drop < 1% { … }`."""
    operands = reader.statement.operands
    until, guard = conditions.of_clause(reader, "until"), conditions.of_clause(reader, "while")
    ways = [
        w for w in (operands[0] if operands else None, reader.clause("until"), reader.clause("while")) if w is not None
    ]
    if not ways:
        help = "write `repeat 3 times { … }`, `repeat until … { … }` or `repeat while … { … }`"
        reader.refuse("RCP0404", "`repeat` does not say how often", None, help)
    elif len(ways) > 1 or len(operands) > 1:
        second = ways[1].span if len(ways) > 1 else operands[1].span
        reader.refuse("RCP0409", "`repeat` takes one of: a number, `until`, `while`", second, "keep one of them")
    times = _times(reader, operands[0]) if operands else None
    breaking(until, reader.refuse)
    return reader.done(Loop(times, until, guard))


def _times(reader: Reader, node: nodes.Condition) -> int | None:
    if reader.comparison(node):
        return None
    times = trees.whole(node, ("times",), most=1e6)
    if times:
        return times
    close = reader.clause_word_in(node)
    if close:
        reader.misspelt(close)
    else:
        reader.refuse("RCP0302", "`repeat` takes a number of times", node.span, "write `repeat 3 times { … }`")
    return None


VERB = Verb(
    summary="Repeats its block: a number of times, until a budget holds, or as long as a guard holds.",
    operands="`N times`, or nothing",
    accepts=("times",),
    clauses=(
        Clause("until", "a budget: stop as soon as it holds", accepts=("condition",)),
        Clause("while", "a guard: the round that breaks it is undone", accepts=("condition",)),
    ),
    example="repeat while top1 drop < 1% {\n  prune 1 layer by imprint\n  finetune for 1 epoch\n}",
    read=read,
    rules=("Exactly one of the three says how often.",),
    block=True,
)
