"""Where long work reports."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Where long work reports its progress: a bar on a terminal, plain lines elsewhere."""

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
