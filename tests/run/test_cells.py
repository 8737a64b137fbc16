"""Cells over several seeds."""

from __future__ import annotations

from types import SimpleNamespace

from recipelang.kinds import Measurement
from recipelang.run.cells import SeedReading, numbers


def test_what_seeds_say_differently_is_one_note_and_the_same_is_said_once() -> None:
    metric = SimpleNamespace(unit="%", role="property")
    notes = ["of 77,072 weights", "of 77,360 weights", "of 77,072 weights"]
    cell = numbers(metric, [SeedReading(Measurement(0.5, 0.5, 0.5, note=note)) for note in notes])
    assert cell["note"] == "of 77,072 weights / of 77,360 weights", "as steps of several seeds: `;` begins a new one"
