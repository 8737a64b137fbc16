"""`start from NAME`: go back to a named state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.meaning import names
from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Clause, Verb
from recipelang.plan import Needs, Returned


@dataclass(frozen=True)
class Start:
    """Make a named state the current one."""

    verb: ClassVar[str] = "start"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "structure"
    before_healthy: ClassVar[bool] = False

    state: str

    def needs(self) -> Needs:
        """The state that becomes the current one."""
        return Needs(writes=Returned(self.state), states=(self.state,))


def read(reader: Reader) -> Start | None:
    """`start from pruned`."""
    reader.no_operands()
    node = reader.argument("from")
    if node is None:
        reader.refuse("RCP0403", "`start` does not say where from", None, "write `start from healthy`")
        return None
    state = names.state(reader, node, "`from`")
    return reader.done(Start(state)) if state else None


VERB = Verb(
    summary="Goes back to a named state.",
    operands="nothing",
    clauses=(Clause("from", "`healthy`, `recovered` or a kept state", required=True, accepts=("state",)),),
    example="start from healthy",
    read=read,
    operation=Start,
)
