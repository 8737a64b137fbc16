"""Measurements and rows of layers as the store holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy

from recipelang.kinds import LayerExecution, Measurement, Percentiles
from recipelang.kinds.layer_times import times_of
from recipelang.run.store import Entry


def rows_of(value: Any) -> tuple[LayerExecution, ...]:
    """Rows as they were stored; none where an entry holds something else."""
    try:
        return tuple(LayerExecution(**{**row, "shape": tuple(row["shape"])}) for row in value)
    except (TypeError, KeyError):
        return ()


def read(entry: Entry) -> Measurement:
    """A measurement as it was stored.

    Raises:
        OSError, EOFError, ValueError, TypeError, KeyError: the entry is not a measurement.
    """
    record = dict(entry.record)
    numbers = [record.get(name) for name in ("value", "low", "high")]
    numbers += [x for name in ("ratio", "ratio_low", "ratio_high") if (x := record.get(name)) is not None]
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
        raise ValueError("not a measurement")
    samples = None
    if "per_sample.npy" in entry.files:
        samples = numpy.load(entry.folder / "per_sample.npy", allow_pickle=False)
    spread = record.get("percentiles")
    spread = Percentiles(**spread) if isinstance(spread, Mapping) else None
    told = {"percentiles": spread, "layers": times_of(record.get("layers"))}
    return Measurement(**{**record, "per_sample": samples, **told})
