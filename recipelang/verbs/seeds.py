"""`seeds 0, 1, 2`: what follows runs once per seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.meaning import trees
from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Verb
from recipelang.plan import Needs, Seeded
from recipelang.syntax import nodes
from recipelang.syntax.show import show


@dataclass(frozen=True)
class Seeds:
    """The seeds for everything that follows."""

    verb: ClassVar[str] = "seeds"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "setup"
    before_healthy: ClassVar[bool] = True

    values: tuple[int, ...]

    def needs(self) -> Needs:
        """The seeds."""
        return Needs(writes=Seeded(self.values))


MOST = 1000


def read(reader: Reader) -> Seeds | None:
    """`seeds 0, 1, 2`, `seeds 0..19`."""
    found: dict[int, Any] = {}  # for its keys, which keep their order
    if not reader.statement.operands:
        reader.refuse("RCP0404", "`seeds` needs a number", None, "write `seeds 0, 1, 2` or `seeds 0..19`")
    for node in reader.statement.operands:
        for value in _values(reader, node):
            if value in found:
                reader.refuse("RCP0311", f"seed {value} appears twice", node.span, "name each seed once")
            found[value] = node
    return reader.done(Seeds(tuple(found)))


def _values(reader: Reader, node: Any) -> tuple[int, ...]:
    """One seed, or a range with both ends."""
    if isinstance(node, nodes.Range) and 0 <= node.last - node.first < MOST:
        return tuple(range(node.first, node.last + 1))
    seed = trees.whole(node, ("number",), low=0, most=2**32)
    if seed is not None:
        return (seed,)
    help = "seeds are whole numbers: `seeds 0, 1, 2` or `seeds 0..19`"
    reader.refuse("RCP0311", f"`{show(node)}` is not a seed", node.span, help)
    return ()


VERB = Verb(
    summary="What follows runs once per seed; what comes before runs once.",
    operands="whole numbers, or a range with both ends: `0..19`",
    clauses=(),
    example="seeds 0, 1, 2",
    read=read,
    operation=Seeds,
    rules=("Results are mean ± standard deviation with their number.", "It appears once, before the first variant."),
    top_level=True,
    once=True,
)
