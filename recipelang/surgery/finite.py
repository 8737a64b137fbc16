"""Refusing what is not a finite number, in the same words wherever it is found."""

from __future__ import annotations

import torch
from torch import Tensor

from recipelang.errors import Refusal

DIVERGED = "training has diverged: lower the learning rate, or start from other weights"


def not_finite(what: str, code: str = "RCP1010") -> Refusal:
    """The refusal of a number, `an input of ...`, that is NaN or infinite."""
    return Refusal(code, f"{what} is NaN or infinite", DIVERGED)


def finite(what: str, tensor: Tensor, code: str = "RCP1010") -> Tensor:
    """The tensor.

    Args:
        what: the number that is refused, for the message: `an input of ...`.
        tensor: is looked at.
        code: of the refusal.

    Raises:
        Refusal: a number of it is NaN or infinite.
    """
    if bool(torch.isfinite(tensor).all()):
        return tensor
    raise not_finite(what, code)
