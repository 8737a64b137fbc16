"""How inputs are disturbed before a quality is measured on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shift:
    """What a metric of predictions asks to be done to the inputs first; without either they stay as they are.

    Attributes:
        blur: standard deviation of a Gaussian blur, in pixels.
        noise: standard deviation of additive Gaussian noise, on the scale 0…1 of images, which are then cut to 0…1.
    """

    blur: float = 0.0
    noise: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.blur or self.noise)


UNSHIFTED = Shift()


def shift_of(metric: Any) -> Shift:
    """What a metric asks for; nothing where it says nothing."""
    return getattr(metric, "shift", UNSHIFTED)
