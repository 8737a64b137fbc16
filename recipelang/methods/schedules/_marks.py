"""The moments that schedules share."""

from __future__ import annotations

import math

from recipelang.plan import Duration, Mark


def end_mark(end: Duration | None) -> tuple[Mark, ...]:
    """The end of a schedule, which may be that of the training; none where there is no `end`."""
    if end is None:
        return ()
    within = Duration(math.nextafter(end.count, 0), end.unit)
    return (Mark("end", within, f"`end={end}` is after the end of the training"),)
