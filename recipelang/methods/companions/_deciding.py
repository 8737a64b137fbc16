"""What companions share that decide about the parts of a unit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Self

from recipelang import catalogue
from recipelang.errors import SettingError
from recipelang.kinds import PARTS, Companion, Unit
from recipelang.meaning.wording import listing
from recipelang.plan import Selection


class Deciding(Companion):
    """A companion that decides which parts of a unit are removed.

    Attributes:
        unit: what they are, a method of kind `unit`; None: the first of `units`.
        selection: the modules to look at.
    """

    leaves: ClassVar[str] = PARTS

    name: ClassVar[str]
    unit: Any
    selection: Selection

    def of(self, unit: Unit, selection: Selection) -> Self:
        """The same about this unit of `prune`, in these modules."""
        return replace(self, unit=unit, selection=selection)  # type: ignore[type-var]  # methods are dataclasses

    @property
    def chosen(self) -> Any:
        """The method of kind `unit` that it decides about.

        Raises:
            SettingError: it does not decide about the one that is set.
        """
        if self.unit is None:
            usual: Any = catalogue.find("unit", self.units[0])
            return usual()
        if self.unit.name not in self.units:
            message = f"`{self.name}` does not decide about {self.unit.name}"
            raise SettingError("unit", message, f"it takes {listing(self.units)}")
        return self.unit
