"""Proximal steps in closed form: of the group lasso on groups of a network's numbers, and of L1 on factors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from recipelang.measuring.grouping import SMALLEST, Groups, last


@torch.no_grad()
def shrink(groups: Groups, parameters: Mapping[str, Tensor], threshold: float) -> None:
    """The proximal step of threshold · Σ ‖v‖ over the groups v, in place: v ← max(0, 1 - threshold/‖v‖) · v.

    Of a family whose other groups are all zero, the group with the largest norm stays as it is.
    """
    norms = groups.norms(parameters)
    factors = kept_factors(norms, threshold)
    groups.spared.copy_(last(groups.members, norms, factors > 0))
    groups.multiply(torch.where(groups.spared, 1.0, factors), parameters)


def kept_factors(norms: Tensor, threshold: Tensor | float) -> Tensor:
    """What the proximal step of threshold · ‖v‖ multiplies each v by, of these norms: max(0, 1 - threshold/‖v‖)."""
    return (1 - threshold / norms.clamp_min(SMALLEST)).clamp_min(0)


def soft(value: Tensor, threshold: Tensor | float) -> Tensor:
    """The proximal step of Σ threshold · |v|: sign(v) · max(0, |v| - threshold)."""
    return value.sign() * (value.abs() - threshold).clamp_min(0)
