"""`no recovery`: nothing is trained unless the recipe says so."""

from __future__ import annotations

from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Switch, Verb

SWITCHES = ("recovery",)


def read(reader: Reader) -> Switch | None:
    """`no recovery`."""
    node = reader.operand("one thing to leave out", "write `no recovery`")
    word = reader.word(node, "something that can be left out", SWITCHES) if node is not None else None
    return reader.done(Switch(f"no {word}"))


VERB = Verb(
    summary="Leaves out the tuning that is otherwise inserted between removal and a hardware restriction.",
    operands="`recovery`",
    words=("recovery",),
    clauses=(),
    example="no recovery\nprune 2 layers by imprint\nsparsify nm 2:4\ndistill from healthy, recovered",
    read=read,
    top_level=True,
    after_variants=True,
)
