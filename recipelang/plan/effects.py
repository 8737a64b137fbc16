"""What a step leaves, as data: `run/` carries out an effect and knows no verb by name.

Most steps leave a network that the stage of their verb makes (`MADE`). The others open data, name things, ask for
columns, files and verdicts, or choose; every field of theirs is what the run needs for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from recipelang.plan.values import Condition, Reading


@dataclass(frozen=True)
class Made:
    """A new current network, made by `stages/VERB.py` and kept in the store."""


MADE = Made()


@dataclass(frozen=True)
class Built:
    """A network built by a method of kind `model`: the current one, or another by its name."""

    method: Any
    name: str = ""


@dataclass(frozen=True)
class Opened:
    """A data set opened by a method of kind `data`: the one to work on, or another by its name."""

    method: Any
    name: str = ""


@dataclass(frozen=True)
class Tasked:
    """What the network is for: a method of kind `task`."""

    method: Any


@dataclass(frozen=True)
class Seeded:
    """One lane for each seed from here on."""

    values: tuple[int, ...]


@dataclass(frozen=True)
class Named:
    """A name for the current state."""

    name: str


@dataclass(frozen=True)
class Returned:
    """Another state becomes the current one."""

    state: str


@dataclass(frozen=True)
class Shown:
    """Metrics read here, and columns of the report."""

    readings: tuple[Reading, ...]


@dataclass(frozen=True)
class Written:
    """The current network in other formats, at the end of the run: methods of kind `export`; `to` is a folder or ""."""

    formats: tuple[Any, ...]
    to: str = ""


@dataclass(frozen=True)
class Reported:
    """The report in these forms: methods of kind `report`; `to` is a folder or ""."""

    formats: tuple[Any, ...]
    to: str = ""


@dataclass(frozen=True)
class Expected:
    """A verdict: whether a condition holds."""

    condition: Condition


@dataclass(frozen=True)
class Chosen:
    """One of the variants becomes current: the best by a reading; None: the first that meets every verdict."""

    by: Reading | None


Effect: TypeAlias = (
    Made | Built | Opened | Tasked | Seeded | Named | Returned | Shown | Written | Reported | Expected | Chosen
)
