"""What a loss is given, made by hand: activations of seeds, positions, what it trains along; and its value."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recipelang.kinds import Moment, Pairing, Point, Points, Seen
from recipelang.methods.tasks.classification import Classification

NOW = Moment(3, 10, 5)


def seen(*features: Tensor, outputs: Any = None, **more: Any) -> Seen:
    """What a network shows a loss: activations at its positions, and what it answers."""
    return Seen(None, outputs, features, None, **more)


def point(path: str, *shape: int, depth: float = 0.5, through: bool = True) -> Point:
    """A position of this shape: C×H×W, tokens T×C or a vector; `through` where no shortcut bypasses it."""
    return Point(path, shape, depth, through, True, 2 if len(shape) == 2 else 1)


def value(loss: Any, student: Seen, teachers: tuple[Seen, ...], parts: Any = None, moment: Moment = NOW) -> Tensor:
    """The loss of this student and these teachers."""
    found: Tensor = loss(student, teachers, None, Classification(), parts, moment)
    return found


def numbers(seed: int, *shape: int) -> Tensor:
    """Random numbers of a seed, in float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def parts_of(loss: Any, *pairs: tuple[Any, ...]) -> Any:
    """What a loss trains along between positions of these shapes, the student's first."""
    places = [
        Pairing(point(f"a{n}", *mine), tuple(point(f"b{n}", *one) for one in theirs))
        for n, (mine, *theirs) in enumerate(pairs)
    ]
    return loss.parts(tuple(places)).double()


def gradients(parts: Any) -> dict[str, bool]:
    """Whether each parameter received a gradient other than 0."""
    return {name: p.grad is not None and bool(p.grad.any()) for name, p in parts.named_parameters()}


def offer(whose: str, *shapes: tuple[int, ...], through: bool = True) -> Points:
    """A network with a position for each shape, as deep as its number says."""
    every = [point(f"s{n}", *s, depth=n / len(shapes), through=through) for n, s in enumerate(shapes, start=1)]
    return Points(whose, tuple(every))
