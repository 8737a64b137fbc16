"""How similar two images are, image by image: PSNR and SSIM, on all channels or on the luma."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from recipelang.errors import Refusal

#: weights of red, green and blue in the luma of ITU-R BT.601, for values of 0…1; the offset is 16
LUMA, OFFSET, TOP = (65.481, 128.553, 24.966), 16.0, 255.0
#: PSNR of equal images, which would be infinite
MOST = 100.0
#: window of SSIM: 11×11 weights of a Gaussian of deviation 1.5 (Wang et al. 2004, section III-B)
WINDOW, DEVIATION = 11, 1.5
K1, K2 = 0.01, 0.03


def as_stored(images: Tensor) -> Tensor:
    """Values as an image file of 8 bits holds them: clipped to 0…1 and rounded to 255 steps."""
    return images.clamp(0, 1).mul(TOP).round().div(TOP)


def luma(images: Tensor) -> Tensor:
    """Y of B×3×H×W in 0…1 → B×1×H×W, in 16/255…235/255 as BT.601 defines it; grey images stay as they are."""
    if images.shape[1] != 3:
        return images
    weights = images.new_tensor(LUMA).view(1, 3, 1, 1)
    return ((images * weights).sum(1, keepdim=True) + OFFSET) / TOP


def without_border(images: Tensor, border: int) -> Tensor:
    """The images without this many pixels on each side."""
    return images[..., border : images.shape[-2] - border, border : images.shape[-1] - border]


def psnr(images: Tensor, references: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of images of 0…1, in dB: B×C×H×W each → B.

    10·log10(1 / MSE), MSE over all pixels and channels of an image; at most `MOST`.
    """
    error = (images.double() - references.double()).square().flatten(1).mean(1)
    return -10 * torch.log10(error.clamp_min(10 ** (-MOST / 10)))


def ssim(images: Tensor, references: Tensor) -> Tensor:
    """Structural similarity of images of 0…1: B×C×H×W each → B.

    The mean, over all places where the whole window fits and over channels, of
    (2·μx·μy + C1)(2·σxy + C2) / ((μx² + μy² + C1)(σx² + σy² + C2)), with C1 = K1², C2 = K2² for a range of 1, and the
    window's weighted mean μ, variance σ² and covariance σxy.

    Raises:
        Refusal: RCP1015: the images are smaller than the window.
    """
    if min(images.shape[-2:]) < WINDOW:
        height, width = images.shape[-2:]
        raise Refusal(
            "RCP1015",
            f"`ssim` looks at windows of {WINDOW}×{WINDOW} pixels, and {height}×{width} are left of an image",
            "measure `psnr`, use larger images, or write a smaller `border=`",
        )
    x, y = images.double(), references.double()
    mean_x, mean_y = _smooth(x), _smooth(y)
    var_x, var_y = _smooth(x * x) - mean_x**2, _smooth(y * y) - mean_y**2
    both = _smooth(x * y) - mean_x * mean_y
    c1, c2 = K1**2, K2**2
    like = (2 * mean_x * mean_y + c1) * (2 * both + c2)
    apart = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return (like / apart).flatten(1).mean(1)


def _smooth(images: Tensor) -> Tensor:
    """Weighted means over windows, rows and then columns: B×C×H×W → B×C×(H−10)×(W−10)."""
    channels = images.shape[1]
    line = _gaussian().to(images).repeat(channels, 1, 1, 1)
    rows = torch.nn.functional.conv2d(images, line, groups=channels)
    return torch.nn.functional.conv2d(rows, line.transpose(2, 3), groups=channels)


@cache
def _gaussian() -> Tensor:
    """1×1×1×11, adding up to 1."""
    places = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    weights = torch.exp(-(places**2) / (2 * DEVIATION**2))
    return (weights / weights.sum()).view(1, 1, 1, -1)
