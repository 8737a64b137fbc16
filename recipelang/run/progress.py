"""Progress of the work: a bar on a terminal, plain lines elsewhere. Everything goes to stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TextIO

from recipelang.kinds import Progress
from recipelang.trouble import tell


class Plain:
    """Messages, and a line on the current work after every half minute of silence, however short its pieces are."""

    every = 30.0

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self._what, self._total, self._done = "", None, 0  # type: str, int | None, int
        self._last = time.monotonic()

    def start(self, what: str, total: int | None = None) -> None:
        self._what, self._total, self._done = what, total, 0

    def advance(self, parts: int = 1, note: str = "") -> None:
        self._done += parts
        if time.monotonic() - self._last >= self.every:
            share = f"{self._done}/{self._total}" if self._total else f"{self._done} so far"
            self.say(f"    {self._what}: {share}{' ' + note if note else ''}")

    def stop(self) -> None:
        self._what = ""

    def say(self, line: str) -> None:
        """Print a line. A closed pipe does not end the run: what it would have shown is in the report as well."""
        self._last = time.monotonic()
        with contextlib.suppress(BrokenPipeError):
            tell(line, self.stream)


class Bar:
    """A rich progress bar for the current piece of work; messages scroll above it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self.console = Console(stderr=True, highlight=False)
        self._bar = RichProgress(
            TextColumn("    {task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=True,
        )
        self._task: int | None = None

    def start(self, what: str, total: int | None = None) -> None:
        self.stop()
        self._bar.start()
        self._task = self._bar.add_task(what, total=total, note="")

    def advance(self, parts: int = 1, note: str = "") -> None:
        if self._task is not None:
            self._bar.update(self._task, advance=parts, note=note)  # type: ignore[arg-type]

    def stop(self) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)  # type: ignore[arg-type]
            self._task = None
            self._bar.stop()

    def say(self, line: str) -> None:
        self.console.print(line, markup=False, soft_wrap=True)


def progress() -> Progress:
    """A bar if stderr is a terminal, else plain lines."""
    return Bar() if sys.stderr.isatty() else Plain()
