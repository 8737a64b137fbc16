"""`keep as NAME`: give the current state a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.meaning import names
from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Clause, Verb
from recipelang.plan import Named, Needs


@dataclass(frozen=True)
class Keep:
    """Give the current state a name, to start from or to distill from later."""

    verb: ClassVar[str] = "keep"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "structure"
    before_healthy: ClassVar[bool] = True

    name: str

    def needs(self) -> Needs:
        """The name of the current state."""
        return Needs(writes=Named(self.name))


def read(reader: Reader) -> Keep | None:
    """`keep as pruned`."""
    reader.no_operands()
    node = reader.argument("as")
    if node is None:
        reader.refuse("RCP0403", "`keep` needs a name", None, "write `keep as pruned`")
        return None
    name = names.new(reader, node, "state")
    return reader.done(Keep(name)) if name else None


VERB = Verb(
    summary="Gives the current state a name, to start from or to distill from later.",
    operands="nothing",
    clauses=(Clause("as", "the name", required=True, accepts=("name",)),),
    example="keep as pruned",
    read=read,
    operation=Keep,
)
