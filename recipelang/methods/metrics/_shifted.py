"""What the qualities of classifiers share: they may be measured on blurred or noisy inputs."""

from __future__ import annotations

from dataclasses import dataclass

from recipelang.catalogue import setting
from recipelang.kinds import Shift

#: in pixels: beyond it, images of usual sizes are of one colour
WIDEST_BLUR = 64.0


@dataclass(frozen=True)
class Shifted:
    """The settings `blur` and `noise`; see `kinds.Shift`."""

    blur: float = setting(
        0.0, type="number", low=0, high=WIDEST_BLUR, later=True, help="σ of a Gaussian blur of the images, in pixels."
    )
    noise: float = setting(
        0.0, type="number", low=0, high=1, later=True, help="σ of Gaussian noise added to them, on the scale 0…1."
    )

    @property
    def shift(self) -> Shift:
        """What is done to the inputs."""
        return Shift(self.blur, self.noise)
