"""Pages in a real browser: Chromium without a window, as Debian installs it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

#: for a page to open and for what is waited for there: browsers are slow on a machine that does other work
PATIENCE_MS = 120_000


@dataclass
class Visit:
    """An open page.

    Attributes:
        page: playwright's.
        log: errors of its console and of its script.
        requests: addresses that it asked for, its own left out.
    """

    page: Any
    log: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def rows(self) -> list[str]:
        """The ids of the networks that are seen, from top to bottom; the pinned ones left out."""
        script = "[...document.querySelectorAll('#rows tr')].filter(r => r.offsetParent).map(r => r.id)"
        return self.page.evaluate(script)

    @property
    def said(self) -> str:
        """What the live region says."""
        return self.page.inner_text("#count")


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; the test is skipped, with the reason, where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as started:
        # As root, Chromium starts only without its sandbox; the pages are our own.
        browser = started.chromium.launch(executable_path=program, chromium_sandbox=os.geteuid() != 0)
        yield browser
        browser.close()


@contextmanager
def visit(browser: Any, html: str, folder: Path, hash: str = "", **how: Any) -> Iterator[Visit]:
    """A page, open; `how` is what playwright's `new_context` takes."""
    file = folder / "report.html"
    file.write_text(html, "utf-8")
    how = {"viewport": {"width": 1200, "height": 900}} | how
    opened = browser.new_context(**how)
    opened.set_default_timeout(PATIENCE_MS)
    found = Visit(opened.new_page())
    page = found.page
    page.on("console", lambda message: found.log.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: found.log.append(str(error)))
    page.on("request", lambda request: found.requests.append(request.url) if request.url != file.as_uri() else None)
    page.goto(file.as_uri() + hash)
    yield found
    opened.close()
