"""Places for marks and numbers in a chart, so that none hides another."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Place = tuple[float, float]
ROUNDS = 80
GOLDEN = math.pi * (3 - math.sqrt(5))  # directions that never repeat, for marks at one place


def apart(places: Sequence[Place], room: float, farthest: float, frame: Place) -> list[Place]:
    """The places, moved until any two are `room` apart, or as far as that is possible.

    Args:
        places: of marks, in units of the page.
        room: the distance that is wanted.
        farthest: how far a mark may be moved.
        frame: width and height of what no mark may leave, from (0, 0).
    """
    inside = room / 2, np.array(frame) - room / 2
    start = np.array(places, float).reshape(-1, 2).clip(*inside)
    now, count = start.copy(), len(start)
    first, second = np.triu_indices(count, 1)
    reach = np.abs(start[first] - start[second]).max(1, initial=0) < room + 2 * farthest  # others never meet
    first, second = first[reach], second[reach]
    ways = np.stack([np.cos(GOLDEN * np.arange(count)), np.sin(GOLDEN * np.arange(count))], 1)
    for _ in range(ROUNDS):
        between = now[first] - now[second]
        distance = np.hypot(between[:, 0], between[:, 1])
        near = distance < room
        if not near.any():
            break
        one, other, way, gap = first[near], second[near], between[near], room - distance[near] + 0.02
        same = distance[near] < 1e-6
        way[same] = ways[one[same]] - ways[other[same]]
        way *= (gap / np.maximum(np.hypot(way[:, 0], way[:, 1]), 1e-9))[:, None]
        meet = np.maximum(np.bincount(one, minlength=count) + np.bincount(other, minlength=count), 1)
        for axis in (0, 1):
            push = np.bincount(one, way[:, axis], count) - np.bincount(other, way[:, axis], count)
            now[:, axis] += push / 2 / meet
        moved = now - start
        length = np.maximum(np.hypot(moved[:, 0], moved[:, 1]), 1e-9)
        now = (start + moved * np.minimum(1, farthest / length)[:, None]).clip(*inside)
    return [(float(x), float(y)) for x, y in now]


def beside(places: Sequence[Place], marks: Sequence[Place], width: float, height: float) -> list[Place]:
    """A place for a short text beside each mark, where it hides least.

    Args:
        places: of the marks that get a text.
        marks: all marks, these included.
        width, height: of a text, in units of the page; a place is its centre.
    """
    taken = [(x, y, 3.0, 3.0) for x, y in marks]
    found = []
    for x, y in places:
        choices = [
            (x + reach * (width / 2 + 4) * math.cos(angle), y + reach * (height / 2 + 4) * math.sin(angle))
            for reach in (1.0, 1.6)
            for angle in (math.pi / 4 * k for k in (2, 3, 1, 0, 4, 6, 7, 5))
        ]
        best = min(choices, key=lambda spot: sum(_shared(spot, width, height, other) for other in taken))
        found.append(best)
        taken.append((*best, width / 2, height / 2))
    return found


def _shared(spot: Place, width: float, height: float, other: tuple[float, float, float, float]) -> float:
    """The area that a text at a spot shares with a box (centre, half its width, half its height)."""
    x, y, across, up = other
    return max(0.0, width / 2 + across - abs(spot[0] - x)) * max(0.0, height / 2 + up - abs(spot[1] - y))
