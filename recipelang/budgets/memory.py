"""What a search has found out so far, in a file of the step's folder: a search that is killed goes on from it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from recipelang.budgets.held import Division
from recipelang.files import write_text
from recipelang.kinds import Task
from recipelang.plan import Condition, canonical
from recipelang.surgery.network import Network, content

FORMAT = "recipelang.search/1"
SAVE_EVERY = 1.0  # seconds: of what comes faster, some is found out again after a kill


class Searched(Protocol):
    """What decides every search: `Workbench`, `WidthsBench`."""

    until: Condition | None
    division: Division
    task: Task
    seed: int
    device: str
    threads: int
    folder: Path
    smoke: bool

    @property
    def whole(self) -> Network:
        """The network before."""


class Memory:
    """JSON by key, written as it comes.

    Args:
        path: the file; another search's is not read.
        identity: of the search: everything that decides what is found out.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self._path, self._identity = path, identity
        self._known: dict[str, Any] = self._read()
        self._saved, self._new = time.monotonic(), False

    def of(self, key: str, make: Callable[[], Any]) -> Any:
        """What is known under a key; made, and kept, where nothing is."""
        if key not in self._known:
            self._known[key] = json.loads(json.dumps(make()))  # the same value as one that is read
            self._new = True
            if time.monotonic() - self._saved >= SAVE_EVERY:
                self.save()
        return self._known[key]

    @property
    def known(self) -> Mapping[str, Any]:
        """What is known, by key."""
        return self._known

    def save(self) -> None:
        """Write what is not written yet.

        Raises:
            OSError: the disk is full or not writable.
        """
        if self._new:
            told = {"format": FORMAT, "identity": self._identity, "known": self._known}
            write_text(self._path, json.dumps(told))
            self._new = False
        self._saved = time.monotonic()

    def _read(self) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError, RecursionError):
            told = json.loads(self._path.read_text("utf-8"))
            if isinstance(told, dict) and (told.get("format"), told.get("identity")) == (FORMAT, self._identity):
                known = told.get("known")
                return known if isinstance(known, dict) else {}
        return {}


def memory_of(bench: Searched, file: str, own: Mapping[str, Any]) -> Memory:
    """What a search has found out so far.

    Args:
        bench: of the search.
        file: in the step's folder.
        own: what else decides it, as JSON: its method, and what it chooses from.
    """
    decides = {
        **own,
        "until": canonical(bench.until),
        "network": content(bench.whole),
        "data": [bench.division.rest.fingerprint, bench.division.held.fingerprint],
        "run": [bench.seed, torch.device(bench.device).type, bench.threads, bench.smoke, torch.__version__],
        "task": canonical(bench.task),
    }
    identity = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
    return Memory(bench.folder / file, identity)
