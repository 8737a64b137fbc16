"""Objects of a program that a recipe names: `given("Net", content="3f9a…")` is a network or data set of Python.

They are known by a digest of what they are, for the duration of a call and in the thread that made it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

#: how many characters of a digest a recipe shows: nobody has an interest in two objects of one digest
SHORT = 16


@dataclass(frozen=True)
class Given:
    """An object that a program gave.

    Attributes:
        name: of its class, or of the variable that holds it; for messages and reports.
        value: of a network: an nn.Module that is never changed, or a function that builds one; of data: split → data
            set.
        builds: whether the value is a function, whose network has random weights.
        code: digest of its code, without what it was given as weights and samples.
        notes: for the user.
        opened: what was opened of it during the call, so that its samples are looked at once.
    """

    name: str
    value: Any
    builds: bool = False
    code: str = ""
    notes: tuple[str, ...] = ()
    opened: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)


_known: ContextVar[Mapping[str, Given]] = ContextVar("given")


@contextmanager
def giving(objects: Mapping[str, Given]) -> Iterator[None]:
    """Inside the block, recipes and artifacts that name one of these objects find it.

    Args:
        objects: by the digest of their content.
    """
    token = _known.set({**_known.get({}), **objects})
    try:
        yield
    finally:
        _known.reset(token)


def found(content: str) -> Given | None:
    """The object of this content; None where no program has given it."""
    return _known.get({}).get(content)
