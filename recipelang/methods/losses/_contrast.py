"""What `crd` is made of: banks of embeddings, draws of negatives, and the contrastive loss between them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

LEAST = 1e-7  # added to what is divided by
UNKNOWN = -1  # the class of a sample that was not seen yet


def memory(bank: nn.Module, samples: int, width: int) -> None:
    """Give a module random embeddings of every sample by both networks, the classes, and Z, not known yet."""
    bound = 1 / math.sqrt(width / 3)
    for name in ("of_student", "of_teacher"):
        bank.register_buffer(name, torch.empty(samples, width).uniform_(-bound, bound))
    bank.register_buffer("classes", torch.full((samples,), UNKNOWN))
    bank.register_buffer("scales", torch.zeros(2))


def among_all(samples: Tensor, count: int, negatives: int) -> Tensor:
    """For each of the samples (int64 B) others of 0…count−1, uniformly and with replacement: int64 B×negatives.

    A single sample has no other, and is its own.
    """
    steps = torch.randint(1, max(2, count), (len(samples), negatives), device=samples.device)
    return (samples[:, None] + steps) % count


def among_other_classes(classes: Tensor, every: Tensor, negatives: int) -> Tensor:
    """For each class (int64 B) samples of other classes, uniformly and with replacement: int64 B×negatives.

    Args:
        every: the class of each sample, int64 N; one that is not known counts as another. Where all samples are of one
            class, they are drawn from all.
    """
    ordered, order = every.sort(stable=True)  # a class is a run of it, which a draw leaps over
    start, end = (torch.searchsorted(ordered, classes, right=right) for right in (False, True))
    own = end - start
    own = torch.where(own == len(every), 0, own)
    drawn = torch.rand(len(classes), negatives, device=every.device, dtype=torch.float64)
    place = (drawn * (len(every) - own)[:, None]).long()
    return order[torch.where(place >= start[:, None], place + own[:, None], place)]


def contrast(
    bank: Any, student: Tensor, teacher: Tensor, samples: Tensor, negatives: Tensor, temperature: float
) -> Tensor:
    """The loss of both directions, a scalar; Z is set by the first call.

    Args:
        bank: of `memory`.
        student, teacher: embeddings B×width of a batch.
        samples: their numbers, int64 B.
        negatives: the numbers of other samples for each, int64 B×k.
    """
    chosen = torch.cat((samples[:, None], negatives), 1)
    # The banks change before the gradient is asked for, so it is taken here, and handed on by the last line.
    leaves = [one.detach().requires_grad_() for one in (student, teacher)]
    with torch.enable_grad():
        values = [
            _one_way(leaf, other, chosen, bank.scales, n, temperature)
            for n, (leaf, other) in enumerate(zip(leaves, (bank.of_teacher, bank.of_student), strict=True))
        ]
        value = torch.stack(values).sum()
        gradients = torch.autograd.grad(value, leaves)
    pairs = zip((student, teacher), gradients, strict=True)
    return value.detach() + sum(((one - one.detach()) * gradient).sum() for one, gradient in pairs)


def _one_way(embedded: Tensor, bank: Tensor, chosen: Tensor, scales: Tensor, n: int, temperature: float) -> Tensor:
    """−mean over the batch of log h of the sample itself + Σ log(1 − h) of its negatives."""
    near = (embedded @ bank.T).gather(1, chosen).div(temperature).exp()  # every product: fewer numbers than copied rows
    scale = torch.where(scales[n] > 0, scales[n], near.detach().mean() * len(bank))
    scales[n] = scale
    near = near / scale
    noise = (chosen.shape[1] - 1) / len(bank)
    own = near[:, 0] / (near[:, 0] + noise + LEAST)
    others = noise / (near[:, 1:] + noise + LEAST)
    return -(own.log() + others.log().sum(1)).mean()


def remember(bank: Any, student: Tensor, teacher: Tensor, samples: Tensor, momentum: float) -> None:
    """Move the bank's embeddings of these samples towards those of the batch, B×width."""
    with torch.no_grad():
        for rows, new in ((bank.of_student, student), (bank.of_teacher, teacher)):
            rows[samples] = torch.nn.functional.normalize(momentum * rows[samples] + (1 - momentum) * new)
