"""Linear classifiers trained on what passes every candidate.

Source: Chen, Zhao, "Shallowing deep networks: layer-wise pruning based on feature representations", TPAMI 2018.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from recipelang.kinds import Evidence
from recipelang.measuring.imprinting import Point, accuracies, gains

#: iterations of L-BFGS; it ends before where the gradient is small
ITERATIONS = 200


def probe_gains(evidence: Evidence, length: int, penalty: float, against: str) -> dict[str, Tensor]:
    """Candidate → accuracy at its output minus accuracy before it, of classifiers trained at both.

    Args:
        length: approximate number of values that describe an image at every point; their pooling is that of imprinting.
        penalty: λ of `trained`.
        against: as in `imprinting.layer_gains`.
    """
    embeddings: dict[Point, list[Tensor]] = {}
    labels: dict[Point, list[Tensor]] = {}
    progress = evidence.progress

    def add(point: Point, embedded: Tensor, targets: Tensor) -> None:
        embeddings.setdefault(point, []).append(embedded)
        labels.setdefault(point, []).append(targets)

    def classifier(point: Point) -> tuple[Tensor, Tensor]:
        if progress:
            progress.start(f"training a classifier at the {point[1]} of `{point[0]}`")
        try:
            return trained(torch.cat(embeddings.pop(point)), torch.cat(labels.pop(point)), evidence.classes, penalty)
        finally:
            if progress:
                progress.stop()

    return gains(list(evidence.layers), accuracies(evidence, length, False, add, classifier), against)


def trained(embeddings: Tensor, labels: Tensor, classes: int, penalty: float) -> tuple[Tensor, Tensor]:
    """The linear classifier of least loss: cross-entropy, mean over samples, plus λ/2·‖W‖² of standardised inputs.

    Args:
        embeddings: n×E. Every value is standardised over the n first; one that never changes has weight 0.
        labels: int64 n.
        classes: C.
        penalty: λ; above 0 the minimum is unique.

    Returns:
        weights C×E and biases C float32, for inputs as they are.
    """
    rows = embeddings.double()
    mean, scale = rows.mean(0), rows.std(0, correction=0)
    inverse = torch.where(scale > 1e-12 * mean.abs().clamp_min(1), 1 / scale, 0)
    rows = (rows - mean) * inverse
    with torch.enable_grad():
        weight = torch.zeros(classes, rows.shape[1], dtype=rows.dtype, device=rows.device, requires_grad=True)
        bias = torch.zeros(classes, dtype=rows.dtype, device=rows.device, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [weight, bias],
            max_iter=ITERATIONS,
            tolerance_grad=1e-6,
            tolerance_change=1e-10,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = functional.cross_entropy(functional.linear(rows, weight, bias), labels)
            loss = loss + penalty / 2 * weight.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
    weight, bias = weight.detach(), bias.detach()
    return (weight * inverse).float(), (bias - weight @ (mean * inverse)).float()
