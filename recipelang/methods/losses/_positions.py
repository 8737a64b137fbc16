"""What losses of features share: positions named in a setting, and maps brought to one size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from recipelang.errors import SettingError
from recipelang.kinds import Point
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

STUDENT = "Modules of the network whose outputs are compared: `layer1, layer2`. Default: found by shape and depth."
TEACHER = "Those of every teacher, in the same order. Default: of the same names as the network's."


def names(text: str) -> tuple[str, ...]:
    """`"layer1, layer2"` → its names."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def require_pairs(student: str, teacher: str, loss: str) -> None:
    """Settings that name positions must name pairs.

    Raises:
        SettingError: the teacher's are named alone, or another number of them.
    """
    mine, theirs = names(student), names(teacher)
    if theirs and len(mine) != len(theirs):
        found = f"`student` names {len(mine)}" if mine else "`student` names none"
        raise SettingError(
            "teacher",
            f"`teacher` names {len(theirs)} position{'s' * (len(theirs) != 1)}, and {found}",
            f'name pairs, in one order: `{loss}(student="layer1, layer2", teacher="features.8, features.15")`',
        )


def grid(point: Point) -> tuple[int, int] | None:
    """(H, W) of a map, or of tokens that are the places of a square map, with a class token before them or without."""
    if len(point.positions) == 2:
        return point.positions[0], point.positions[1]
    side = _side(point.positions[0]) if len(point.positions) == 1 else 0
    return (side, side) if side else None


def as_maps(features: Tensor) -> Tensor:
    """B×C×H×W as it is; B×T×D as B×D×√T×√T, without the class token where there is one."""
    if features.ndim == 4:
        return features
    side = _side(features.shape[1])
    return features[:, -side * side :].transpose(1, 2).unflatten(2, (side, side))


def _side(tokens: int) -> int:
    """The side of the square map that tokens are; 0 where they are none."""
    for places in (tokens - 1, tokens):
        side = math.isqrt(places)
        if side > 1 and side * side == places:
            return side
    return 0


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps …×H×W in another size: an axis that shrinks is averaged, one that grows is interpolated linearly.

    These are torch's adaptive average pooling and bilinear interpolation written as products, whose gradients are
    the same at every run; torch's own are not on a GPU.

    Args:
        maps: …×H×W.
        size: (H, W) of the result.
    """
    rows, columns = (_weights(length, to, maps) for length, to in zip(maps.shape[-2:], size, strict=True))
    return rows.mT @ maps @ columns


def _weights(length: int, to: int, like: Tensor) -> Tensor:
    """length×to: what each place contributes to each new one."""
    eye = torch.eye(length, device=like.device, dtype=like.dtype)[None]
    if to < length:
        return torch.nn.functional.adaptive_avg_pool1d(eye, to)[0]
    return torch.nn.functional.interpolate(eye, size=to, mode="linear", align_corners=False)[0]
