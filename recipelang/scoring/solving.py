"""Correcting weights while they are sparsified: in order of execution, each with its inputs at that point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from recipelang.errors import Refusal
from recipelang.kinds import Numbered, Quiet, Solver, as_matrices, as_weight
from recipelang.scoring.evidence import Gathered
from recipelang.surgery.network import Network
from recipelang.surgery.restricting import restrict
from recipelang.surgery.restrictions.mask import Mask


@torch.no_grad()
def solved(
    criterion: Solver, evidence: Gathered, pattern: Any, names: Sequence[str]
) -> tuple[Network, tuple[str, ...]]:
    """A copy of the network with weights in the pattern, corrected, and their masks; and the names of these weights.

    Args:
        criterion: solves one weight matrix N×K; convolutions are matrices in the order kh, kw, I.
        evidence: of the network as it is; its own copy of the network is changed weight by weight.
        pattern: keeps `n` of every `m`.
        names: of weights without groups; those that no input reaches are skipped.

    Raises:
        Refusal: RCP1006: a corrected weight is not a finite number; and as the criterion.
    """
    asked = set(names)
    masks, values = {}, {}
    order = [name for name in evidence.reached if name in asked]
    progress = Numbered(evidence.progress or Quiet(), "weight", len(order))
    evidence = replace(evidence, progress=progress)
    for number, name in enumerate(order):
        progress.number = number + 1
        for _, moments in evidence.second_moments((name,)):
            weight = evidence.weights[name]
            keep, matrix = criterion.solve(as_matrices(weight)[0], moments[0], pattern.n, pattern.m)
            if not bool(torch.isfinite(matrix).all()):
                raise Refusal(
                    "RCP1006",
                    f"the correction of `{name}` is NaN or infinite",
                    "its weights or inputs are extremely large: training has diverged, or the weights are damaged",
                )
            weight.copy_(as_weight(matrix, weight))
            masks[name] = Mask(str(pattern), as_weight(keep, weight).cpu())
            values[name] = weight.cpu().clone()
    return restrict(evidence.network, masks, values), tuple(name for name in names if name in masks)
