"""Where long work reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias


class Progress(Protocol):
    """Where long work reports its progress: a bar on a terminal, plain lines elsewhere.

    Optional:
        `measured(of, at, numbers)`, which hears of the curves of a training while it is under way: `of` is `step` or
        `epoch`, `at` the step or the epoch, from 1. Numbers of a step are means since the last one that was told
        (`loss`, each of its terms, `lr`), those of an epoch its row of the history.
    """

    def start(self, what: str, total: int | None = None) -> None:
        """Begin a piece of work of `total` parts."""

    def advance(self, parts: int = 1, note: str = "") -> None:
        """Report `parts` more parts as done."""

    def stop(self) -> None:
        """The piece of work is done."""

    def say(self, line: str) -> None:
        """Print a line above the bar."""


class Quiet:
    """A progress that shows nothing: for work within other work that shows its own."""

    def start(self, what: str, total: int | None = None) -> None: ...

    def advance(self, parts: int = 1, note: str = "") -> None: ...

    def stop(self) -> None: ...

    def say(self, line: str) -> None: ...


#: `Progress.measured`
Measured: TypeAlias = Callable[[str, int, Mapping[str, Any]], None]


def hears(progress: Progress) -> Measured | None:
    """What hears of the curves of a training; None where nobody does."""
    return getattr(progress, "measured", None)


class Numbered:
    """A progress in which each piece of work is for one of several things: says which one of how many.

    Args:
        inner: shows it.
        one: what each of them is called: `weight`.
        count: how many there are.
    """

    def __init__(self, inner: Progress, one: str, count: int) -> None:
        self._inner, self._one, self._count = inner, one, count
        self.number = 0  # of the one at work, from 1
        if measured := hears(inner):
            self.measured = measured

    def start(self, what: str, total: int | None = None) -> None:
        self._inner.start(f"{self._one} {self.number} of {self._count}, {what}", total)

    def advance(self, parts: int = 1, note: str = "") -> None:
        self._inner.advance(parts, note)

    def stop(self) -> None:
        self._inner.stop()

    def say(self, line: str) -> None:
        self._inner.say(line)
