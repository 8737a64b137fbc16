"""The loss `vid`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recipelang.catalogue import method, setting
from recipelang.kinds import Point
from recipelang.lazy import torch
from recipelang.methods.losses._pairs import PairLoss, alike, channels_first, smaller, why_other_places
from recipelang.methods.losses._positions import STUDENT, TEACHER, as_maps

if TYPE_CHECKING:
    from torch import Tensor, nn


@method("loss", "vid")
@dataclass(frozen=True)
class Vid(PairLoss):
    """Variational information distillation: an activation of the network tells as much as it can of the teacher's.

    What: a regression like `fitnet`, in which channels of the teacher that cannot be predicted count less: the variance
    of each is learned.
    Formula: mean over elements of ½ · ((t − μ(s))²/σ_c² + log σ_c²) for each pair of positions, μ three convolutions of
    1×1 with ReLU between them, for tokens linear layers, as wide as the teacher, and σ_c² = softplus(a_c) + 1e-5,
    learned for each channel of the teacher, from 5. Several positions: the sum; several teachers: the mean over them,
    each with adapters of its own. Adapters are trained along by the same optimizer and discarded.
    Shapes: activations B×C×H×W, or B×T×D of tokens, of student and teachers → scalar. May be negative.
    Positions: stages of about the same depth; the larger map is averaged down to the smaller. `plan` shows them.
    When it misleads: its scale is that of a log-likelihood, which falls below 0 where the teacher is predicted well;
    adapters of three layers may predict what the network itself does not show.
    Source: Ahn et al. 2019, Variational Information Distillation for Knowledge Transfer, Eq 5 and 6, without the
    constant; adapters and start of the variance as in the authors' code.
    """

    student: str = setting("", type="text", help=STUDENT)
    teacher: str = setting("", type="text", help=TEACHER)

    def fits(self, mine: Point, theirs: Point) -> str:
        """Activations that can be brought to the same places."""
        return why_other_places(mine, theirs)

    def adapter(self, mine: Point, theirs: Point) -> nn.Module:
        """μ and σ of each channel."""
        return _gaussian(mine.channels, theirs.channels, tokens=alike(mine, theirs))

    def distance(self, mine: Tensor, theirs: Tensor, adapter: nn.Module) -> Tensor:
        """Activations B×C×H×W or B×T×D → scalar."""
        mean, spread = adapter["mean"], adapter["spread"].weight  # type: ignore[index]
        if isinstance(mean[0], torch.nn.Linear):
            predicted = mean(mine)
        else:
            mine, theirs = smaller(as_maps(mine), as_maps(theirs))
            predicted = mean(mine)
        variance = torch.nn.functional.softplus(spread[0])[:, None] + LEAST
        missed = (channels_first(theirs) - channels_first(predicted)).square()
        return (missed / variance + variance.log()).mean() / 2


#: the variance at the start, and what is added to it
START, LEAST = 5.0, 1e-5


def _gaussian(mine: int, theirs: int, *, tokens: bool) -> nn.Module:
    def layer(before: int) -> nn.Module:
        return torch.nn.Linear(before, theirs) if tokens else torch.nn.Conv2d(before, theirs, 1)

    mean = torch.nn.Sequential(layer(mine), torch.nn.ReLU(), layer(theirs), torch.nn.ReLU(), layer(theirs))
    spread = torch.nn.Embedding(1, theirs)  # a table: its numbers are not decayed by optimizers that spare biases
    torch.nn.init.constant_(spread.weight, float(torch.tensor(START - LEAST).expm1().log()))
    return torch.nn.ModuleDict({"mean": mean, "spread": spread})
