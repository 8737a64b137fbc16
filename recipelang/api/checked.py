"""A recipe that was found to be right."""

from __future__ import annotations

from dataclasses import dataclass, field

from recipelang.errors import Diagnostic, render
from recipelang.units import counted


@dataclass(frozen=True)
class Checked:
    """What `recipelang.check` found.

    Attributes:
        name: of the recipe: that of its file without the ending.
        statements: in canonical form, in the order of the plan; those that the language adds are among them.
        warnings: what may be a mistake.
        text: of the recipe.
    """

    name: str
    statements: tuple[str, ...]
    warnings: tuple[Diagnostic, ...] = ()
    text: str = field(default="", repr=False)

    def __str__(self) -> str:
        told = [render(warning, self.text) for warning in self.warnings]
        return "\n".join([*told, f"{self.name}: ok, {counted(len(self.statements), 'statement')}"])
