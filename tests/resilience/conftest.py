"""A `recipe` command that starts at once, however often: forks of one process that has everything loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 120.0  # seconds


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Running:
    """A command at work."""

    commands: Commands
    process: int
    out: Path
    err: Path

    def ended(self) -> Ended:
        """Wait for the end."""
        code = self.commands.ask({"do": "wait", "process": self.process})["code"]
        return Ended(code, self.out.read_text(), self.err.read_text())


class Commands:
    """Runs `recipe` commands in a folder."""

    def __init__(self, folder: Path, said: Path) -> None:
        self.folder, self.said, self.count = folder, said, 0
        self.driver = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "driver.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "RECIPELANG_CACHE": str(said / "cache")},
        )

    def ask(self, request: dict[str, Any]) -> Any:
        assert self.driver.stdin and self.driver.stdout
        self.driver.stdin.write(json.dumps(request) + "\n")
        self.driver.stdin.flush()
        return json.loads(self.driver.stdout.readline())

    def start(self, *arguments: str, **more: Any) -> Running:
        """Start a command; `more` is part of the driver's request. A run takes one thread: tests share the machine."""
        arguments += ("--threads", "1") if arguments[0] == "run" else ()
        self.count += 1
        out, err = self.said / f"out-{self.count}", self.said / f"err-{self.count}"
        files = {"out": str(out), "err": str(err)}
        out.touch(), err.touch()
        request = {"do": "start", "arguments": arguments, "folder": str(self.folder), **files, **more}
        return Running(self, self.ask(request)["process"], out, err)

    def __call__(self, *arguments: str, **more: Any) -> Ended:
        """Run a command to its end."""
        return self.start(*arguments, **more).ended()

    def wait(self, happened: Callable[[], bool]) -> None:
        """Wait until something has happened."""
        began = time.monotonic()
        while not happened():
            assert time.monotonic() - began < PATIENCE
            time.sleep(0.02)

    def close(self) -> None:
        assert self.driver.stdin and self.driver.stdout
        self.driver.stdin.close()
        self.driver.stdout.close()
        self.driver.wait()


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """The driver; its folder is set by `recipe`."""
    made = Commands(Path(), tmp_path_factory.mktemp("said"))
    yield made
    made.close()


@pytest.fixture
def recipe(commands: Commands, tmp_path: Path) -> Commands:
    """Runs commands in a fresh folder."""
    commands.folder = tmp_path
    return commands
