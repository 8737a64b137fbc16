"""The diagonal of the loss's Hessian over the training data, estimated with random numbers of mean zero.

fisher      E (Σ_n ε_n ∂ log p(ŷ_n)/∂w)² = Σ_n of the Gauss–Newton diagonal: ŷ_n drawn from the network's own answer,
            ε_n = ±1, so that the samples of a batch do not mix
hutchinson  E v ⊙ (H v) = diag H, v = ±1
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from recipelang.images.batches import count
from recipelang.kinds import Batch
from recipelang.surgery.finite import finite
from recipelang.surgery.operands import unfused


def fisher_diagonal(
    weights: Mapping[str, Tensor],
    batches: Iterable[Batch],
    answer: Callable[[Batch], Tensor],
    probes: int,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Name → diagonal of the Gauss–Newton matrix of the cross-entropy, mean over samples: never negative, and equal to
    that of the Hessian where the network is piecewise linear in each weight (ReLU).

    Args:
        weights: name → parameter; they need no gradients before and after.
        batches: is read after they need gradients.
        answer: scores B×C of a batch.
        probes: draws for each batch.
        seed: of the draws.

    Raises:
        Refusal: RCP1005: an answer or a gradient is not a finite number.
    """
    generator = torch.Generator().manual_seed(seed)

    def squared(batch: Batch, tensors: list[Tensor]) -> list[Tensor | None]:
        logs = answer(batch).log_softmax(1)
        chances = logs.detach().exp().cpu()
        _finite("the network's answer", chances)
        sums: list[Tensor | None] = [None] * len(tensors)
        for probe in range(probes):
            labels = torch.multinomial(chances, 1, generator=generator).to(logs.device)
            signs = _signs(torch.Size((len(logs), 1)), generator).to(logs.device)
            total = (signs * logs.gather(1, labels)).sum()
            found = torch.autograd.grad(total, tensors, retain_graph=probe < probes - 1, allow_unused=True)
            sums = [_added(before, None if g is None else g.square()) for before, g in zip(sums, found, strict=True)]
        return sums

    return _averaged(weights, batches, squared, probes)


def hutchinson_diagonal(
    weights: Mapping[str, Tensor],
    batches: Iterable[Batch],
    loss: Callable[[Batch], Tensor],
    probes: int,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Name → diagonal of the Hessian of the loss, mean over samples; an estimate may be negative.

    Args:
        weights, batches, probes, seed: as for `fisher_diagonal`.
        loss: mean over the samples of a batch.

    Raises:
        Refusal: RCP1005: a second derivative is not a finite number.
    """
    generator = torch.Generator().manual_seed(seed)

    def curved(batch: Batch, tensors: list[Tensor]) -> list[Tensor | None]:
        with unfused(), sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
            first = torch.autograd.grad(loss(batch), tensors, create_graph=True, allow_unused=True)
            sums: list[Tensor | None] = [None] * len(tensors)
            for _ in range(probes):
                signs = [_signs(tensor.shape, generator).to(tensor.device) for tensor in tensors]
                along = [(g * v).sum() for g, v in zip(first, signs, strict=True) if g is not None and g.requires_grad]
                if not along:
                    break  # linear in every weight
                found = torch.autograd.grad(sum(along), tensors, retain_graph=True, allow_unused=True)  # type: ignore[arg-type]
                scaled = (None if h is None else h * v * count(batch.inputs) for h, v in zip(found, signs, strict=True))
                sums = [_added(before, more) for before, more in zip(sums, scaled, strict=True)]
        return sums

    return _averaged(weights, batches, curved, probes)


def _averaged(
    weights: Mapping[str, Tensor],
    batches: Iterable[Batch],
    summed: Callable[[Batch, list[Tensor]], list[Tensor | None]],
    probes: int,
) -> dict[str, Tensor]:
    """The sums over samples and probes of all batches, divided by both."""
    tensors = list(weights.values())
    totals = [torch.zeros_like(tensor) for tensor in tensors]
    samples = 0
    for tensor in tensors:
        tensor.requires_grad_(True)
    try:
        for batch in batches:
            for total, found in zip(totals, summed(batch, tensors), strict=True):
                if found is not None:
                    total += found.detach()
            samples += count(batch.inputs)
    finally:
        for tensor in tensors:
            tensor.requires_grad_(False)
    for name, total in zip(weights, totals, strict=True):
        _finite(f"the second derivative of `{name}`", total.div_(samples * probes))
    return dict(zip(weights, totals, strict=True))


def _added(before: Tensor | None, more: Tensor | None) -> Tensor | None:
    return more if before is None else before if more is None else before + more


def _signs(shape: torch.Size, generator: torch.Generator) -> Tensor:
    return torch.randint(0, 2, shape, generator=generator).float() * 2 - 1


def _finite(what: str, tensor: Tensor) -> None:
    finite(what, tensor, "RCP1005")
