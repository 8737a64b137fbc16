"""What trackers were told of a run, in a file of its output folder, so that a run that is continued tells it once."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from recipelang.files import write_text
from recipelang.kinds import Scalar

FILE, FORMAT = "tracking.json", 1
#: a longer file was not written by a run
LONGEST = 50_000_000


class Memory:
    """What was told to each tracker: the token of its run, and the last step of every curve.

    Args:
        folder: the output folder.
        identity: what was asked for; an attempt at something else is not continued, nor one that reached its end.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self._file, self._lock = folder / FILE, threading.Lock()
        self._said = _read(self._file, identity) or {
            "format": FORMAT,
            "identity": identity,
            "ended": False,
            "trackers": {},
            "begins": {},
            "steps": {},
        }

    def token(self, tracker: str) -> str:
        """What finds the run of an earlier attempt; "" where there is none."""
        return str(self._said["trackers"].get(tracker, {}).get("token", ""))

    def marks(self, tracker: str) -> dict[tuple[str, str], int]:
        """(network, curve) → the last step that the tracker has."""
        marks = self._said["trackers"].get(tracker, {}).get("marks", {})
        return {(network, name): step for network, steps in marks.items() for name, step in steps.items()}

    def begun(self, tracker: str, token: str) -> None:
        """A tracker has begun a run; another one than before has nothing yet."""
        with self._lock:
            known = self._said["trackers"].get(tracker, {})
            marks = known.get("marks", {}) if known.get("token") == token else {}
            self._said["trackers"][tracker] = {"token": token, "marks": marks}
        self.save()

    def told(self, tracker: str, network: str, points: Iterable[Scalar]) -> None:
        """A tracker has these points."""
        with self._lock:
            marks = self._said["trackers"][tracker]["marks"].setdefault(network, {})
            marks |= {point.name: max(point.step, marks.get(point.name, -1)) for point in points}

    def first(self, training: str, curve: str) -> int:
        """Where the steps of a training begin on the axis of its curve: where those before it ended."""
        with self._lock:
            return int(self._said["begins"].setdefault(training, self._said["steps"].get(curve, 0)))

    def reached(self, curve: str, step: int) -> None:
        """A training is at a step of the axis of its curve."""
        with self._lock:
            self._said["steps"][curve] = max(step, self._said["steps"].get(curve, 0))

    def ended(self) -> None:
        """The run has reached its end: the next one in this folder is another."""
        with self._lock:
            self._said["ended"] = True
        self.save()

    def save(self) -> None:
        """Write the file; where the disk is full, a continued run may tell something twice."""
        with self._lock, suppress(OSError):
            write_text(self._file, json.dumps(self._said, indent=1))


def _read(file: Path, identity: str) -> dict[str, Any] | None:
    """What the file of an earlier attempt at the same run says; None where there is none."""
    try:
        if file.stat().st_size > LONGEST:
            return None
        said = json.loads(file.read_text(encoding="utf-8"))
        same = said["format"] == FORMAT and said["identity"] == identity and said["ended"] is False
        trackers = said["trackers"].values()
        sound = all(isinstance(one["token"], str) and _numbers(*one["marks"].values()) for one in trackers)
        return said if same and sound and _numbers(said["begins"], said["steps"]) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _numbers(*found: Any) -> bool:
    return all(isinstance(one, dict) and all(type(value) is int for value in one.values()) for one in found)
