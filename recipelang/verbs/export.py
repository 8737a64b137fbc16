"""`export FORMAT, … [to "DIR"]`: write the deployed network for use elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Clause, Verb
from recipelang.plan import Needs, Written


@dataclass(frozen=True)
class Export:
    """Write the network for use without recipelang."""

    verb: ClassVar[str] = "export"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "outcome"
    before_healthy: ClassVar[bool] = False

    formats: tuple[Any, ...]
    to: str = ""

    def needs(self) -> Needs:
        """The formats to write."""
        return Needs(writes=Written(self.formats, self.to))


def read(reader: Reader) -> Export | None:
    """`export safetensors, pt2 to "deploy"`."""
    if not reader.statement.operands:
        reader.refuse("RCP0404", "`export` needs a format", None, "write `export safetensors, pt2`")
    formats = reader.methods(reader.statement.operands, "export", "`export`", "export safetensors, pt2")
    if reader.failed:  # the formats that remain no longer match their words
        return None
    for node, format in zip(reader.statement.operands, formats, strict=True):
        if getattr(format, "packed", False) and not reader.flow.sparse:
            help = "write `sparsify nm 2:4` above, or remove `packed`"
            reader.refuse("RCP1301", "no weight is 2:4 here, so there is nothing to pack", node.span, help)
        lacking: Mapping[str, tuple[str, str]] = getattr(format, "cannot_hold", {})
        held = reader.flow.certain if getattr(format, "leaves_out", False) else reader.flow.restrictions
        for restriction in sorted(held & lacking.keys()):
            why, instead = lacking[restriction]
            message = f"the network cannot be written as {format.name}: {why}"
            reader.refuse("RCP0716", message, node.span, instead)
    folder = reader.path("to")
    _never_over_another(reader, formats, folder)
    return reader.done(Export(formats, folder))


def _never_over_another(reader: Reader, formats: tuple[Any, ...], folder: str) -> None:
    """Refuse a format that is already written to the folder: the second would overwrite the first."""
    written = reader.flow.exported
    for item, made in zip(reader.statement.operands, formats, strict=True):
        first = written.setdefault((folder, made.name), item.span)
        if first != item.span:
            reader.refuse(
                "RCP0408",
                f"`{made.name}` is already written to this folder, {first.at(item.span)}",
                item.span,
                f'write one of the two elsewhere: `export {made.name} to "DIR"`',
            )


VERB = Verb(
    summary="Writes the network for use without recipelang.",
    operands="formats",
    accepts=("export",),
    clauses=(
        Clause("to", "a folder in quotes, under the output folder", default="the output folder", accepts=("folder",)),
    ),
    example='export safetensors, pt2 to "deploy"',
    read=read,
    operation=Export,
    rules=("After variants, each of them is written.",),
    after_variants=True,
    own_to_file=True,
)
