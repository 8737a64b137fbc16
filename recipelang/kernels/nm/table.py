"""Measured times of kernels, stored on disk: one file for each device and its software.

A table that cannot be read is measured again, and if it cannot be written the next run measures again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from recipelang.files import atomic
from recipelang.images.cache import cache_folder
from recipelang.kernels.nm.device import versions
from recipelang.kernels.nm.problem import Device
from recipelang.kernels.nm.trials import Trial

#: Changes when a kernel, a configuration or the way of timing does.
VERSION = 1


@dataclass
class Table:
    """The trials of one device.

    Attributes:
        path: the file; None keeps them in memory.
        about: what the times are valid for; a file about something else is not read.
    """

    path: Path | None = None
    about: dict[str, Any] = field(default_factory=dict)
    _entries: dict[str, tuple[Trial, ...]] | None = None

    def find(self, key: str) -> tuple[Trial, ...] | None:
        """The trials of a problem; None where it was never measured."""
        return self._loaded().get(key)

    def keep(self, key: str, trials: Sequence[Trial]) -> None:
        """Store the trials of a problem, together with what other processes have written meanwhile."""
        entries = self._loaded()
        entries[key] = tuple(trials)
        if self.path is None:
            return
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.path}.lock"):
                together = self._read() | entries
                rows = {name: [trial.json() for trial in found] for name, found in sorted(together.items())}
                with atomic(self.path) as file:
                    file.write(json.dumps({"about": self.about, "entries": rows}, indent=1).encode())
            self._entries = together

    def _loaded(self) -> dict[str, tuple[Trial, ...]]:
        if self._entries is None:
            self._entries = self._read()
        return self._entries

    def _read(self) -> dict[str, tuple[Trial, ...]]:
        if self.path is None:
            return {}
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            if found["about"] != self.about:
                return {}
            return {str(key): tuple(map(_trial, rows)) for key, rows in found["entries"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {}


def table_of(device: Device) -> Table:
    """The table of a device in the user's cache folder."""
    about = {"version": VERSION, **versions(device)}
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]
    name = "".join(c if c.isalnum() else "-" for c in device.name.lower()) or device.type
    return Table(cache_folder() / "kernels" / f"{name}-{digest}.json", about)


def _trial(row: dict[str, Any]) -> Trial:
    seconds = row["seconds"]
    return Trial(
        str(row["kernel"]),
        {str(name): int(value) for name, value in row["configuration"].items()},
        None if seconds is None else float(seconds),
        str(row["refused"]),
    )
