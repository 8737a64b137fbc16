"""Weights that are corrected while they are sparsified: in order of execution, each with what enters it by then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.kinds import Solver
from recipelang.stages.evidence import Gathered
from recipelang.surgery.masks import restrict
from recipelang.surgery.network import Mask, Network


@torch.no_grad()
def solved(
    criterion: Solver, evidence: Gathered, pattern: Any, names: Sequence[str]
) -> tuple[Network, tuple[str, ...]]:
    """A copy of the network in which weights are in the pattern and corrected, their masks beside them; and which.

    Args:
        criterion: solves one weight matrix N×K; convolutions are matrices in the order kh, kw, I.
        evidence: of the network as it is; its own copy of the network is changed weight by weight.
        pattern: keeps `n` of every `m`.
        names: of weights without groups; those that no input reaches are left out.

    Raises:
        Refusal: RCP1006: a corrected weight is no finite number; whatever the criterion raises.
    """
    asked = set(names)
    masks, values = {}, {}
    for name in (name for name in evidence.reached if name in asked):
        for _, moments in evidence.second_moments((name,)):
            weight = evidence.weights[name]
            keep, matrix = criterion.solve(_matrix(weight), moments[0], pattern.n, pattern.m)
            if not bool(torch.isfinite(matrix).all()):
                raise Refusal(
                    "RCP1006",
                    f"the correction of `{name}` is NaN or infinite",
                    "its weights or inputs hold enormous numbers: training has diverged, or the weights are damaged",
                )
            weight.copy_(_weight(matrix, weight))
            masks[name] = Mask(str(pattern), _weight(keep, weight).cpu())
            values[name] = weight.cpu().clone()
    return restrict(evidence.network, masks, values), tuple(name for name in names if name in masks)


def _matrix(weight: Tensor) -> Tensor:
    """O×I×kh×kw → O×(kh·kw·I)."""
    return weight.movedim(1, -1).flatten(1)


def _weight(matrix: Tensor, like: Tensor) -> Tensor:
    """O×(kh·kw·I) → O×I×kh×kw."""
    return matrix.reshape(like.movedim(1, -1).shape).movedim(-1, 1).contiguous()
