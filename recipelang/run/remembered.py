"""Numbers that were measured on this machine, remembered in the user's cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from recipelang.files import used, write_text
from recipelang.images.cache import cache_folder
from recipelang.kinds import Progress
from recipelang.measuring.hardware import fingerprint
from recipelang.measuring.machine import busy

MOST_SECONDS = 4.0  # that one plan spends on measuring one thing: training, and the same again on clocks


@dataclass
class Remembered:
    """What is known of this machine, for one plan; what is not known is measured while time is left.

    Attributes:
        progress: where to say that something is being timed.
        spent: seconds spent on measuring so far, by what was measured.
    """

    progress: Progress
    spent: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _known: dict[str, Any] = field(default_factory=dict)

    def left(self, what: str) -> float:
        """Seconds that may still be spent on measuring this."""
        return MOST_SECONDS - self.spent[what]

    def numbers(
        self, decides: Mapping[str, Any], measure: Callable[[], Mapping[str, Any] | None], what: str
    ) -> Mapping[str, Any] | None:
        """What is known under this key, measured if nothing is and time is left; None if there is nothing.

        Args:
            decides: everything that determines the numbers but the machine and torch.
            measure: numbers by name, or None where they cannot be measured.
            what: is measured, in words.
        """
        machine = {"hardware": fingerprint(), "torch": torch.__version__}
        text = json.dumps({**decides, **machine}, sort_keys=True, default=str)
        key = hashlib.sha256(text.encode()).hexdigest()
        if key in self._known:
            return self._known[key]
        place = cache_folder() / "times" / f"{key}.json"
        found: Any = None
        with contextlib.suppress(OSError, ValueError, RecursionError):
            found = json.loads(place.read_bytes()[:10_000])
            used(place)
        if not isinstance(found, dict) or (found.get("busy") and not busy()):  # it may be faster now
            found = None
            if self.left(what) > 0:
                began = time.monotonic()
                self.progress.start(f"timing {what}")
                try:
                    found = measure()
                finally:
                    self.progress.stop()
                    self.spent[what] += time.monotonic() - began
            if found is not None:
                with contextlib.suppress(OSError):
                    numbers = {name: v for name, v in found.items() if isinstance(v, int | float)}
                    write_text(place, json.dumps({**numbers, "busy": busy()}))
        self._known[key] = found
        return found


def positive(value: Any) -> float | None:
    """A number from a remembered file, if a clock can give it; else None."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and math.isfinite(value) and value > 0 else None
