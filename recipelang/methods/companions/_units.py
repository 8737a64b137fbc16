"""The unit that a companion decides about."""

from __future__ import annotations

from typing import Any

from recipelang import catalogue
from recipelang.errors import SettingError
from recipelang.meaning.wording import listing


def chosen_unit(companion: Any) -> Any:
    """The method of kind `unit` that a companion's `unit` names; where it names none, the first of its `units`.

    Raises:
        SettingError: the companion does not decide about it.
    """
    unit = companion.unit
    if unit is None:
        usual: Any = catalogue.find("unit", companion.units[0])
        return usual()
    if unit.name not in companion.units:
        message = f"`{companion.name}` does not decide about {unit.name}"
        raise SettingError("unit", message, f"it takes {listing(companion.units)}")
    return unit
