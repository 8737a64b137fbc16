"""`deepinversion(samples=…, steps=…)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.kinds import Progress
from recipelang.lazy import torch
from recipelang.methods.sources._statistics import finite, require_statistics, run_watched, without_gradients

if TYPE_CHECKING:
    from torch import Tensor

BRIEF = 2


@method("source", "deepinversion")
@dataclass(frozen=True)
class DeepInversion:
    """Images that a network takes for its classes, and that make every BatchNorm see the statistics that it keeps.

    What: for distillation without data: `distill from healthy on nothing` is `on deepinversion`. Noise is changed by
        gradients until the teacher sees a class in it and its BatchNorm layers see what they saw in training.
    Formula: minimise over x, from N(0, 1), by Adam: classes · CE(t(x), y) + statistics · Σ_i (‖μ̃_i(x) − μ_i‖ +
        ‖σ̃²_i(x) − σ²_i‖) + smooth · TV(x) + small · ‖x‖, norms of vectors over channels, i the BatchNorm layers with
        the kept μ_i and σ²_i, tildes those of the batch x; y are drawn evenly, TV sums ‖·‖ of the differences to the
        neighbours of each place, and the norms of images are means over the batch. Where answers are no scores of
        classes, without the first term.
    Shapes: B×(input) → B×(input); `together` images are one batch, and have the statistics together.
    Needs: BatchNorm layers that keep statistics, and no data. Targets are the teacher's own answers.
    When it misleads: the images show what the teacher knows and less than the data do, so a student stays below one
        that saw data. After surgery kept statistics may be of the network before. The adaptive term of the paper, which
        looks for images on which student and teacher disagree, is left out: the images are made before the training.
    Source: Yin et al. 2020, "Dreaming to Distill: Data-free Knowledge Transfer via DeepInversion", equations 2 to 4.
    """

    samples: int = setting(256, type="integer", low=2, high=100_000, positional=True, help="How many images are made.")
    steps: int = setting(500, type="integer", low=1, high=100_000, help="Steps of each batch.")
    lr: float = setting(0.1, type="number", low=0, high=10, open_low=True, help="Step size of Adam.")
    together: int = setting(64, type="integer", low=2, high=1024, help="Images that have the statistics together.")
    classes: float = setting(1.0, type="number", low=0, help="Weight of the classes.")
    statistics: float = setting(1.0, type="number", low=0, open_low=True, help="Weight of the statistics.")
    smooth: float = setting(1e-4, type="number", low=0, help="Weight of the total variation.")
    small: float = setting(1e-5, type="number", low=0, help="Weight of the images' own size.")

    def require_network(self, network: Any) -> None:
        """Refuse a network without statistics, or one whose inputs cannot be moved by a gradient.

        Raises:
            Refusal: RCP1439.
        """
        require_statistics("deepinversion", network)

    def make(self, module: Any, start: Tensor, progress: Progress, brief: bool) -> tuple[Tensor, float, float]:
        """The images, and the distance of the statistics before the first and after the last step.

        Raises:
            Refusal: RCP1439: no BatchNorm runs. RCP1010: the distance is not a finite number.
        """
        images = start.clone().requires_grad_(True)
        # which class each image is for follows from its first number, evenly: Φ of a normal number is uniform
        share = torch.distributions.Normal(0.0, 1.0).cdf(start.flatten(1)[:, 0])
        optimizer = torch.optim.Adam([images], lr=self.lr)
        steps = min(self.steps, BRIEF) if brief else self.steps
        first = best = float("inf")
        kept, near = start, float("inf")
        with torch.enable_grad(), without_gradients(module):
            for step in range(steps + 1):
                total, far = self.distance(module, images, share)
                value = float(total.detach())
                if step == 0:
                    first = float(far.detach())
                if value < best:  # a step may lead away: the best images are kept
                    best, kept, near = value, images.detach().clone(), float(far.detach())
                if step < steps:
                    optimizer.zero_grad()
                    total.backward()
                    optimizer.step()
                    progress.advance()
        return kept, first, near

    def distance(self, module: Any, images: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """What is minimised for these images, and its term of the statistics without the weight; scalars.

        Args:
            share: B, from 0 to 1: image b is for class ⌊share_b · classes⌋.

        Raises:
            Refusal: RCP1439: no BatchNorm runs. RCP1010: it is not a finite number.
        """
        terms: list[Tensor] = []

        def see(norm: Any, entering: Tensor) -> None:
            rows = entering.movedim(1, 0).flatten(1)
            mean, variance = rows.mean(1), rows.var(1, correction=0)
            terms.append(_length(mean - norm.running_mean) + _length(variance - norm.running_var))

        answer = run_watched("deepinversion", module, images, see)
        far = torch.stack(terms).sum()
        total = self.statistics * far + self.small * images.flatten(1).norm(dim=1).mean()
        if images.ndim == 4:
            total = total + self.smooth * variation(images)
        scores = answer[0] if isinstance(answer, tuple) else answer
        if isinstance(scores, torch.Tensor) and scores.ndim == 2 and scores.shape[1] > 1:
            wanted = (share * scores.shape[1]).long().clamp(0, scores.shape[1] - 1)
            total = total + self.classes * torch.nn.functional.cross_entropy(scores, wanted)
        return finite("deepinversion", total), far


def variation(images: Tensor) -> Tensor:
    """The total variation of images B×C×H×W: norms of the differences down, across and on both diagonals, a mean over
    the batch."""
    down, across = images[:, :, 1:] - images[:, :, :-1], images[:, :, :, 1:] - images[:, :, :, :-1]
    falling, rising = images[:, :, 1:, 1:] - images[:, :, :-1, :-1], images[:, :, 1:, :-1] - images[:, :, :-1, 1:]
    each = [_length(part.flatten(1)) for part in (down, across, falling, rising)]
    return torch.stack(each).sum(0).mean()


def _length(rows: Tensor) -> Tensor:
    """The norm of the last axis; the root of zero has no derivative."""
    return (rows.square().sum(-1) + 1e-12).sqrt()
