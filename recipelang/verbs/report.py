"""`report FORMAT, … [to "DIR"]`: choose the formats of the comparison report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Clause, Verb
from recipelang.plan import Needs, Reported


@dataclass(frozen=True)
class Report:
    """Write the comparison report in these formats."""

    verb: ClassVar[str] = "report"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "outcome"
    before_healthy: ClassVar[bool] = False

    formats: tuple[Any, ...]
    to: str = ""

    def needs(self) -> Needs:
        """The forms of the report."""
        return Needs(writes=Reported(self.formats, self.to))


def read(reader: Reader) -> Report | None:
    """`report markdown, html`."""
    if not reader.statement.operands:
        reader.refuse("RCP0404", "`report` needs a format", None, "write `report markdown, html`")
    formats = reader.methods(reader.statement.operands, "report", "`report`", "report markdown, html")
    return reader.done(Report(formats, reader.path("to")))


VERB = Verb(
    summary="Chooses the formats of the comparison report.",
    operands="formats",
    accepts=("report",),
    clauses=(
        Clause("to", "a folder in quotes, under the output folder", default="the output folder", accepts=("folder",)),
    ),
    example="report markdown, html",
    read=read,
    operation=Report,
    rules=("Without this line, Markdown and HTML are written.",),
    after_variants=True,
    own_to_file=True,
)
