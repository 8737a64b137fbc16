"""`variant NAME { … }`: one way to continue, beside others."""

from __future__ import annotations

from recipelang.meaning import names
from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import VariantPoints, Verb


def read(reader: Reader) -> VariantPoints | None:
    """`variant gentle { prune 1 layer by imprint }`."""
    node = reader.operand("one name", "write `variant gentle { … }`")
    name = names.new(reader, node, "variant") if node is not None else None
    return reader.done(VariantPoints(((name, (), ()),))) if name else None


VERB = Verb(
    summary="Opens one way to continue; each variant starts from the state before the first.",
    operands="a name",
    accepts=("name",),
    clauses=(),
    example="variant gentle {\n  prune 1 layer by imprint\n}\nvariant firm {\n  prune 3 layers by imprint\n}",
    read=read,
    rules=(
        "What comes before the first variant is done once and shared.",
        "After variants only `measure`, `expect`, `control`, `report`, `export` and `choose` may follow,"
        " until `choose` picks one.",
    ),
    block=True,
    after_variants=True,
)
