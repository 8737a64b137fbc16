"""What the steps of a run take: seconds, what is read of the data, joules; and what all steps of a network took."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from recipelang.errors import Refusal
from recipelang.images.counted import Read
from recipelang.measuring.energy import Meter, meter_of

#: seconds between two looks at the counters of energy, which begin at 0 again after some minutes of full load
LOOK_EVERY_S = 30.0
BEFORE = "a step was stored before costs were recorded"


class Spent:
    """Notes what a step takes.

    Args:
        device: of the run: where it is a GPU, its counter of energy is read as well.
        read: what counts the samples that are read.
    """

    def __init__(self, device: str, read: Read) -> None:
        self.device, self.read = device, read
        self._meters: Mapping[str, Meter] | None = None

    @contextmanager
    def noting(self, continued: bool) -> Iterator[dict[str, Any]]:
        """Inside, a step is done; afterwards, the dictionary says what it took, as `report.costs.Cost` has it.

        Args:
            continued: whether an earlier attempt at the step was interrupted.
        """
        told: dict[str, Any] = {}
        before, epochs, began = dict(self.read.samples), self.read.epochs, time.monotonic()
        with _Joules(self.meters) as joules:
            yield told
        samples = {split: n - before.get(split, 0) for split, n in self.read.samples.items()}
        passes = {split: round(n / max(1, self.read.sizes[split]), 4) for split, n in sorted(samples.items()) if n}
        told |= {
            "seconds": time.monotonic() - began,
            "epochs": round(self.read.epochs - epochs, 4),
            "passes": passes,
            "samples": sum(samples.values()),
            "joules": joules.value,
            "at_least": continued,
            "note": "; ".join(filter(None, ("it was interrupted and continued" if continued else "", joules.note))),
        }

    @property
    def meters(self) -> Mapping[str, Meter]:
        """What counts energy here: `processor`, `GPU`."""
        if self._meters is None:
            found = {}
            places = {"processor": "cpu", **({"GPU": self.device} if self.device.startswith("cuda") else {})}
            for name, place in places.items():
                try:
                    found[name] = meter_of(place)
                except Refusal:
                    continue
            self._meters = found
        return self._meters


class _Joules:
    """Adds up what the counters of the machine count within the block."""

    def __init__(self, meters: Mapping[str, Meter]) -> None:
        self.meters, self.value, self.note = meters, None if not meters else 0.0, ""
        self._ended, self._last = threading.Event(), dict[str, Any]()

    def __enter__(self) -> _Joules:
        self._read()
        self._thread = threading.Thread(target=self._look, daemon=True) if self._last else None
        if self._thread:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread:
            self._thread.join()
            self._read()
        self.note = f"joules of the {' and the '.join(self._last)}, whoever used it" if self._last else ""
        if not self._last:
            self.value = None

    def _look(self) -> None:
        while not self._ended.wait(LOOK_EVERY_S):
            self._read()

    def _read(self) -> None:
        for name, meter in self.meters.items():
            try:
                now = meter.read()
            except Exception:  # a driver that was reloaded, a counter whose rights changed: the step goes on
                self._last.pop(name, None)
                continue
            if name in self._last:
                self.value = (self.value or 0.0) + meter.joules(self._last[name], now)
            self._last[name] = now


def together(costs: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """What several steps took, one after another; None where none of them had anything to do.

    Args:
        costs: of steps, in order; None where there was nothing to do.
    """
    given = [cost for cost in costs if cost is not None]
    if not given:
        return None
    passes: dict[str, float] = {}
    for cost in given:
        for split, n in (cost.get("passes") or {}).items():
            passes[split] = round(passes.get(split, 0.0) + n, 4)
    notes = dict.fromkeys(note for cost in given if (note := cost.get("note")))
    joules = [cost.get("joules") for cost in given]
    return {
        "seconds": _sum([cost.get("seconds") for cost in given]),
        "epochs": round(sum(cost.get("epochs") or 0.0 for cost in given), 4),
        "passes": dict(sorted(passes.items())),
        "samples": sum(cost.get("samples") or 0 for cost in given),
        "joules": None if None in joules else _sum(joules),
        "at_least": any(cost.get("at_least") for cost in given),
        "note": "; ".join(notes),
    }


def mean(costs: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """The mean over seeds of what a network took."""
    given = [cost for cost in costs if cost is not None]
    whole, n = together(given), len(given)
    if whole is None:
        return None
    split = {name: round(passes / n, 4) for name, passes in whole["passes"].items()}
    each = {name: None if whole[name] is None else whole[name] / n for name in ("seconds", "joules")}
    return {**whole, **each, "epochs": whole["epochs"] / n, "passes": split, "samples": round(whole["samples"] / n)}


def _sum(values: Sequence[float | None]) -> float | None:
    """Of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


#: of a step that was stored before costs were
UNKNOWN: Mapping[str, Any] = {
    "seconds": None, "epochs": 0.0, "passes": {}, "samples": 0, "joules": None, "at_least": True, "note": BEFORE
}  # fmt: skip
