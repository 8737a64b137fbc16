"""How images become inputs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes an input: resize and centre-crop to (height, width), scale to 0…1, normalise.

    The defaults of the last four are what was done before they existed, so that an old entry keeps its meaning.

    Attributes:
        size: (height, width) in pixels.
        mean, std: per channel, on the 0…1 scale; their length is the number of channels.
        resize: shorter side before the centre crop, in pixels; None resizes directly to `size`.
        interpolation: `bilinear` or `bicubic`, antialiased where the image shrinks.
        crop: `rounded`: sides and place of the centre crop are whole pixels, as torchvision rounds them; `exact`: they
            are fractions.
        via: (height, width) to which the image is first resized directly; None: it is not.
        bits: how many bits of a 16-bit image are used where the file does not say; None: all 16.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int | None = None
    interpolation: str = "bilinear"
    crop: str = "exact"
    via: tuple[int, int] | None = None
    bits: int | None = None
