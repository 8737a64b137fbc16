"""What the numbers of an input are: floating point, or whole numbers such as the ids of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: most ids that a network may be tried with
MOST_IDS = 2**24


@dataclass(frozen=True)
class Inputs:
    """What the numbers of an input are. Their shape is `input_shape` beside it.

    Attributes:
        ids: None: floating point. Otherwise inputs are whole numbers, int64, of 0 to `ids` - 1: names of things, such
            as tokens, that can be looked up and not computed with.
        padding: the id that fills up inputs that are shorter than others; None where there is none, or it is not known.
    """

    ids: int | None = None
    padding: int | None = None

    def json(self) -> dict[str, int]:
        """What is not floating point, as entries; none where it is, as before there was anything else."""
        return {name: value for name, value in (("ids", self.ids), ("padding", self.padding)) if value is not None}

    @property
    def whole(self) -> bool:
        """Whether they are whole numbers."""
        return self.ids is not None

    def __str__(self) -> str:
        return "floating-point numbers" if self.ids is None else f"whole numbers below {self.ids:,}"


FLOATING = Inputs()


def inputs_of(thing: Any) -> Inputs:
    """What the inputs of a data set, a network or an executable are; floating point where it does not say (`inputs`).

    A plug-in whose inputs are floating point need not know of this.
    """
    found = getattr(thing, "inputs", FLOATING)
    return found if isinstance(found, Inputs) else FLOATING
