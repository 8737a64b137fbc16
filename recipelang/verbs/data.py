"""`data METHOD [as NAME]`: the data to work on, or a second data set by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.meaning import names
from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Clause, Verb
from recipelang.plan import Needs, Opened


@dataclass(frozen=True)
class Data:
    """The data to work on; with a name, another data set to measure on."""

    verb: ClassVar[str] = "data"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "setup"
    before_healthy: ClassVar[bool] = True

    method: Any
    name: str = ""

    def needs(self) -> Needs:
        """The data set to open."""
        return Needs(writes=Opened(self.method, self.name))


def read(reader: Reader) -> Data | None:
    """`data cifar10(batch=128)`, `data folder("photos") as photos`."""
    node = reader.operand("one data set", 'write `data digits` or `data folder("photos")`')
    method = reader.method(node, "data", "`data`", "data digits") if node is not None else None
    name = reader.argument("as")
    return reader.done(Data(method, (names.new(reader, name, "data") or "") if name is not None else ""))


VERB = Verb(
    summary="Names the data to work on; with `as`, another data set to measure on.",
    operands="a data set",
    accepts=("data",),
    clauses=(Clause("as", "a name for a second data set", accepts=("name",)),),
    example='data folder("photos", size=224, split=[80%, 10%, 10%])',
    read=read,
    operation=Data,
    rules=(
        "A recipe trains on one data set; every other one has a name, for `measure … on NAME` and `expect … on NAME`.",
    ),
    top_level=True,
    once=True,
    provides="data",
)
