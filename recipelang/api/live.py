"""Progress in a notebook: a bar that moves in place, and the messages of the run below it."""

from __future__ import annotations

import html
import time
from typing import Any

from IPython.display import display


class Live:
    """The current piece of work as a bar; redrawn a few times a second, however short its parts are.

    Attributes:
        every: seconds between two redraws.
    """

    every = 0.2

    def __init__(self) -> None:
        self._what, self._note, self._total, self._done = "", "", None, 0  # type: str, str, int | None, int
        self._handle: Any = None
        self._drawn = 0.0

    def start(self, what: str, total: int | None = None) -> None:
        self._what, self._total, self._done, self._note = what, total, 0, ""
        self._draw()

    def advance(self, parts: int = 1, note: str = "") -> None:
        self._done += parts
        self._note = note or self._note
        if time.monotonic() - self._drawn >= self.every:
            self._draw()

    def stop(self) -> None:
        if self._what:
            self._what = ""
            self._draw()

    def say(self, line: str) -> None:
        """Print a line."""
        print(line, flush=True)

    def _draw(self) -> None:
        """Draw the bar, or nothing where no work is going on."""
        self._drawn = time.monotonic()
        content = {"text/html": self._html(), "text/plain": self._text()}
        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)

    def _html(self) -> str:
        if not self._what:
            return ""
        value = f' value="{min(self._done, self._total)}" max="{self._total}"' if self._total else ""
        what, note = html.escape(self._what), html.escape(self._note)
        return f'<progress{value} aria-label="{what}"></progress> {what} <small>{self._share()} {note}</small>'

    def _text(self) -> str:
        return f"{self._what} {self._share()} {self._note}".rstrip() if self._what else ""

    def _share(self) -> str:
        if not self._total:
            return f"{self._done} so far" if self._done else ""
        return f"{100 * min(self._done, self._total) / self._total:.0f} %"
