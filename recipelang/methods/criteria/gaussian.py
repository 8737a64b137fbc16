"""`gaussian`, `gaussian(steps=100, weight=1e-6)`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Batch, Evidence
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

#: the paper removes a channel if its mean is below one and its standard deviation below the other
MEAN, SPREAD = 0.02, 0.01


@method("criterion", "gaussian")
@dataclass(frozen=True)
class Gaussian:
    """How much of a channel is left if a normal distribution of its scale is pulled towards zero.

    Formula: a saliency γ_j ~ N(μ_j, σ_j²) multiplies every channel where it is read, from μ = 1 and σ = 0.01 on. Adam
        minimises loss(γ) + weight · Σ_j KL(N(μ_j, σ_j²) ‖ N(0, 0.01²)) over μ and log σ, with one draw γ = μ + σ·ε a
        step (the lower bound of variational inference). Score: max(|μ| / 0.02, σ / 0.01), so that what scores below 1
        is what the source removes: a mean below 0.02 and a standard deviation below 0.01.
    Prior: the source gives it the variance of the posterior, which leaves KL = μ²/2σ² and lets σ escape the penalty by
        growing; here its standard deviation is the source's threshold, so that a channel which nothing depends on
        ends where the source removes it.
    Trained: only μ and σ, on copies of what enters the weights; the network's weights do not change, so that scores are
        those of the network that is pruned.
    Coupled filters: one γ for each channel, wherever it is read. Groups are compared as they are: a saliency is
        relative to the scale that training gave the channel.
    Layers: a γ for every output of their weights, before the norm; the mean over them.
    Shapes: N channels, N scores.
    Needs: `steps` times a forward and a backward pass of `batch` training images, of `samples` in memory.
    Measured: ResNet-20 for CIFAR-10 (80.4 % of 1,000 test images) has 74.7, 60.9, 46.9 and 30.5 % at 0.9, 0.8, 0.7 and
        0.6 of its FLOPs, without tuning, mean over three seeds (17.2 to 39.3 % at 0.6); `taylor`
        (1,024 images) 74.8, 57.7, 39.5 and 13.6 %, filters in random order 47.3, 38.9, 15.3 and 13.7 %.
    When it misleads: with few steps all means are near 1, and their order is that of noisy gradients; with a large
        `weight` all go to zero together. Channels that can replace each other share the pull and look less important
        than they are together.
    Source: Zhao, Ni, Zhang, Zhao, Zhang, Tian, "Variational convolutional neural network pruning", CVPR 2019.
    """

    unit: ClassVar[str] = "filter"
    needs: ClassVar[tuple[str, ...]] = ("network", "labels")

    steps: int = setting(100, type="integer", low=1, help="Steps of Adam.")
    lr: float = setting(0.02, type="number", low=0, open_low=True, help="Its step size, for means and log deviations.")
    weight: float = setting(1e-6, type="number", low=0, help="Of the divergence; 1/N is the bound for N images.")
    samples: int = setting(256, type="integer", low=2, help="Training images, drawn once.")
    batch: int = setting(32, type="integer", low=1, help="Images of a step.")

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Group, or weight of a layer → max(|μ| / 0.02, σ / 0.01) of each channel.

        Raises:
            Refusal: RCP1005: the loss is not finite. RCP1008: no training images.
        """
        return {
            group: torch.maximum(mean.abs() / MEAN, deviation / SPREAD)
            for group, (mean, deviation) in self.saliencies(evidence).items()
        }

    def saliencies(self, evidence: Evidence) -> Mapping[str, tuple[Tensor, Tensor]]:
        """Group, or weight of a layer → mean and standard deviation of each channel's saliency."""
        from recipelang.measuring.gates import descend, gates_of, minibatches, open_gates

        gates, held = gates_of(evidence), evidence.drawn(self.samples)
        if not gates.total:
            return {}
        random = torch.Generator().manual_seed(evidence.seed)
        device = held.inputs.device if hasattr(held.inputs, "device") else "cpu"
        mean = torch.ones(gates.total, device=device, requires_grad=True)
        log = torch.full((gates.total,), math.log(SPREAD), device=device, requires_grad=True)

        def loss(batch: Batch) -> Tensor:
            noise = torch.randn(gates.total, generator=random).to(device)
            with open_gates(evidence, gates, mean + log.exp() * noise):
                lost = evidence.answer_loss(batch)
            return lost + self.weight * divergence(mean, log.exp()).sum()

        batches = minibatches(held, self.batch, random)
        descend(evidence, (mean, log), loss, batches, self.steps, self.lr, "training channel saliencies")
        means, deviations = gates.each(mean.detach()), gates.each(log.detach().exp())
        return {group: (means[group], deviations[group]) for group in gates.sizes}


def divergence(mean: Tensor, deviation: Tensor, prior: float = SPREAD) -> Tensor:
    """KL(N(mean, deviation²) ‖ N(0, prior²)), elementwise."""
    return torch.log(prior / deviation) + (deviation**2 + mean**2) / (2 * prior**2) - 0.5
