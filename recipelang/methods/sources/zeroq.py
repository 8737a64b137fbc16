"""`zeroq(samples=…, steps=…)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.kinds import Progress
from recipelang.lazy import torch
from recipelang.methods.sources._statistics import finite, require_statistics, run_watched, without_gradients

if TYPE_CHECKING:
    from torch import Tensor

#: steps without progress before the step size becomes a tenth, down to `SMALLEST`
PATIENCE = 100
SMALLEST = 1e-4
BRIEF = 2


@method("source", "zeroq")
@dataclass(frozen=True)
class ZeroQ:
    """Images that make every BatchNorm see the statistics that it keeps.

    What: for networks whose data are not available. What activations are observed on is distilled from the network:
        noise is changed by gradients until means and deviations before each BatchNorm are those of training.
    Formula: minimise over x, from N(0, 1), by Adam: Σ_i mean (μ̃_i(x) − μ_i)² + mean (σ̃_i(x) − σ_i)², means over
        channels, i the BatchNorm layers with the kept μ_i and σ_i, tildes those of the batch x; with `normalised` also
        the input itself with μ = 0 and σ = 1. The step size becomes a tenth after 100 steps without progress.
    Shapes: B×(input) → B×(input); `together` images are one batch, and have the statistics together.
    Needs: BatchNorm layers that keep statistics, and no data. Labels, where a method asks for them, are the network's
        own answers.
    When it misleads: the images have the right first two moments and nothing else of the data. It is a replacement for
        calibration, not for training. After surgery the kept statistics may be of the network before: `recalibrate`
        needs data.
    Source: Cai et al., "ZeroQ: a novel zero shot quantization framework", CVPR 2020, section 3.1, equation 3; the term
        of the input and the step sizes are of the authors' code.
    """

    samples: int = setting(64, type="integer", low=2, high=4096, positional=True, help="How many images are made.")
    steps: int = setting(500, type="integer", low=1, high=100_000, help="Steps of each batch.")
    lr: float = setting(0.1, type="number", low=0, high=10, open_low=True, help="Step size of Adam at the start.")
    together: int = setting(32, type="integer", low=2, high=1024, help="Images that have the statistics together.")
    normalised: bool = setting(
        True, type="boolean", help="Whether channels of images have mean 0 and deviation 1 themselves."
    )

    def require_network(self, network: Any) -> None:
        """Refuse a network without statistics, or one whose inputs cannot be moved by a gradient.

        Raises:
            Refusal: RCP1439.
        """
        require_statistics("zeroq", network)

    def make(self, module: Any, start: Tensor, progress: Progress, brief: bool) -> tuple[Tensor, float, float]:
        """The images, and the distance of equation 3 before the first and after the last step.

        Raises:
            Refusal: RCP1439: no BatchNorm runs. RCP1010: the distance is not a finite number.
        """
        images = start.clone().requires_grad_(True)
        optimizer = torch.optim.Adam([images], lr=self.lr)
        paced = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=PATIENCE, min_lr=SMALLEST)
        first = best = float("inf")
        kept = start
        steps = min(self.steps, BRIEF) if brief else self.steps
        with torch.enable_grad(), without_gradients(module):
            for step in range(steps + 1):
                far = self.distance(module, images)
                value = float(far.detach())
                if step == 0:
                    first = value
                if value < best:  # a step may lead away: the nearest images are kept
                    best, kept = value, images.detach().clone()
                if step < steps:
                    optimizer.zero_grad()
                    far.backward()
                    optimizer.step()
                    paced.step(value)
                    progress.advance()
        return kept, first, best

    def distance(self, module: Any, images: Tensor) -> Tensor:
        """Equation 3 for these images, a scalar.

        Raises:
            Refusal: RCP1439: no BatchNorm runs. RCP1010: it is not a finite number.
        """
        terms: list[Tensor] = []

        def see(norm: Any, entering: Tensor) -> None:
            deviation = (norm.running_var + norm.eps).sqrt()
            terms.append(_apart(entering, norm.running_mean, deviation, norm.eps))

        run_watched("zeroq", module, images, see)
        if self.normalised:
            terms.append(_apart(images, images.new_zeros(()), images.new_ones(()), 0.0))
        return finite("zeroq", torch.stack(terms).sum())


def _apart(values: Tensor, mean: Tensor, deviation: Tensor, eps: float) -> Tensor:
    """The squared distance of both moments of each channel (axis 1), mean over channels."""
    rows = values.movedim(1, 0).flatten(1)
    variance = rows.var(1, correction=min(1, rows.shape[1] - 1))
    # the root of zero has no derivative
    own = (variance + max(eps, 1e-12)).sqrt()
    return (rows.mean(1) - mean).square().mean() + (own - deviation).square().mean()
