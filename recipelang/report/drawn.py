"""The charts of a report, drawn once: equal numbers give equal charts, and the library that draws takes longer to load
than all the rest of a report.

Charts are made from a context without what they may not depend on, such as when a run was made. What they can see is
the key under which they are kept in the user's cache, together with the code that draws.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, fields, is_dataclass, replace
from typing import Any

from recipelang.files import write_text
from recipelang.plan import whole
from recipelang.report.chart import Chart, Charts, Text
from recipelang.report.context import ReportContext
from recipelang.report.making import Making
from recipelang.report.plots import charts
from recipelang.report.record import Step
from recipelang.report.runs import RecordedRun

MOST_ROWS = 100  # naming the numbers of more takes as long as drawing them
LARGEST_FILE = 50_000_000  # bytes


def drawn(context: ReportContext) -> Charts:
    """The charts of a context: those that were drawn of the same numbers before, else drawn and kept."""
    from recipelang.images.cache import DRAWN, cache_folder
    from recipelang.run.surroundings import surroundings

    if len(context.rows) > MOST_ROWS:
        return charts(context)
    seen, here = visible(context), surroundings()
    said = json.dumps([whole(seen), here["code"], here["packages"]], sort_keys=True)
    place = cache_folder() / DRAWN / f"{hashlib.sha256(said.encode()).hexdigest()}.json"
    with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        if place.stat().st_size <= LARGEST_FILE:
            return _read(json.loads(place.read_bytes()))
    found = charts(seen)
    with suppress(OSError):
        write_text(place, json.dumps(asdict(found)))
    return found


def visible(context: ReportContext) -> ReportContext:
    """The context as charts see it: numbers and names, not when, where and how fast they were found."""
    # The name of a run tells it from others; alone it is that of a folder, and each run writes a new one.
    names = [source.name for source in context.sources] if len(context.sources) > 1 else [""]
    seen: ReportContext = _timeless(
        replace(
            context,
            sources=tuple(_without_time(source, name) for source, name in zip(context.sources, names, strict=True)),
            journeys=(),
            recipes=(),
            environment=(),
            warnings=(),
            arrivals=(),
            outcomes=(),
            making=Making(),
        )
    )
    return seen


def _without_time(source: RecordedRun, name: str) -> RecordedRun:
    report = replace(source.report, created="", command="", environment={}, warnings=(), variants=())
    return replace(source, name=name, report=report, data={}, folder=None)


def _timeless(value: Any) -> Any:
    """The value with every step in it as if it had come from the store, so that a rerun gives the same."""
    if isinstance(value, Step):
        return replace(value, seconds=None, cached=True)
    if isinstance(value, tuple):
        inner = tuple(map(_timeless, value))
        return inner if any(new is not old for new, old in zip(inner, value, strict=True)) else value
    if is_dataclass(value) and not isinstance(value, type):
        old = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        new = {name: made for name, one in old.items() if (made := _timeless(one)) is not one}
        return replace(value, **new) if new else value
    return value


def _read(kept: Mapping[str, Any]) -> Charts:
    """The charts of a file."""
    found = []
    for chart in kept["all"]:
        text = chart["text"]
        rows = tuple(tuple(map(str, row)) for row in text["rows"])
        found.append(Chart(**{**chart, "text": Text(tuple(map(str, text["header"])), rows, int(text["more"]))}))
    return Charts(tuple(found), int(kept["left_out"]))
