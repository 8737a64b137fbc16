"""What searches for widths show of them."""

from __future__ import annotations

from collections.abc import Sequence

from recipelang.kinds import Line, Plot, Queue, Taken


def kept_plot(queues: Sequence[Queue], taken: Taken) -> Plot:
    """The share that every group keeps, in the order of the network."""
    kept = [100 * (1 - queue.gone(count) / queue.group.size) for queue, count in zip(queues, taken, strict=True)]
    line = Line("", tuple(range(1, len(kept) + 1)), tuple(kept))
    return Plot("What stays of each group", "group, in the order of the network", "% of its parts", (line,))


def course_plot(title: str, x: str, y: str, **lines: Sequence[float]) -> Plot:
    """Numbers after 1, 2, … of something; a line for each keyword."""
    found = (Line(name, tuple(range(1, len(each) + 1)), tuple(each)) for name, each in lines.items())
    return Plot(title, x, y, tuple(found))
