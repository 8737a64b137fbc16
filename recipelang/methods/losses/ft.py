"""The loss `ft`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.kinds import Moment, Pairing, Point, Points, Seen, Task
from recipelang.lazy import torch
from recipelang.methods.losses._pairs import PairLoss, alike, ends, scaled, smaller, why_other_places
from recipelang.methods.losses._positions import STUDENT, TEACHER, as_maps

if TYPE_CHECKING:
    from torch import Tensor, nn

SLOPE = 0.1  # of the leaky ReLU


@method("loss", "ft")
@dataclass(frozen=True)
class Ft(PairLoss):
    """Factor transfer: the network learns the teacher's activations in the words of a paraphraser.

    What: a paraphraser, an autoencoder on the teacher's activations, says what matters of them in fewer channels, its
    factors; a translator says the same of the network's. The factors are compared, so that widths, sizes and classes
    may differ.
    Formula: β · mean|f_t/‖f_t‖₂ − f_s/‖f_s‖₂| + mean((t − t̂)²) for each pair of positions, f_t = E(t) and f_s = R(s)
    the factors, each divided by its length over channels and places of one image, and t̂ = D(E(t)). s and t are divided
    by their root mean square over the batch, so that the paraphraser learns at any scale. E, D and R are three
    convolutions of 3×3 each (D transposed), for tokens linear layers, with leaky ReLU after each; factors have `rate`
    of the teacher's channels. The second term trains E and D alone, the first one R and the network alone. Several
    positions: the sum; several teachers: the mean over them, each with parts of its own. Paraphraser and translator are
    trained along by the same optimizer and discarded.
    Shapes: activations B×C×H×W, or B×T×D of tokens, of student and teachers → scalar.
    Positions: the ends of the last stages; the larger map is averaged down to the smaller. `plan` shows them.
    When it misleads: the authors train the paraphraser first, and here it is trained along. Its gradients are the same,
    those of its own reconstruction, since the teacher does not change and the first term does not reach it; but factors
    move while it learns, fast at the beginning. `first=0.2` lets it learn alone for a fifth of the steps, while the
    network trains on the other terms. β is large because elements of a factor of length one are small.
    Source: Kim, Park and Kwak 2018, Paraphrasing Complex Network: Network Compression via Factor Transfer, Eq 1 to 3
    with p = 1; β = 500 and a rate of 0.5 as there.
    """

    beta: float = setting(500.0, type="number", low=0, help="Weight of the factors against the task's loss.")
    rate: float = setting(0.5, type="number", low=0, open_low=True, high=1, help="Channels of a factor, a share.")
    first: float = setting(0.0, type="number", low=0, high=1, help="Share of the steps for the paraphraser alone.")
    student: str = setting("", type="text", help=STUDENT)
    teacher: str = setting("", type="text", help=TEACHER)

    def fits(self, mine: Point, theirs: Point) -> str:
        """Activations that can be brought to the same places."""
        return why_other_places(mine, theirs)

    def found(self, student: Points, teachers: tuple[Points, ...]) -> tuple[Pairing, ...]:
        """The ends of the last stages."""
        return (ends("ft", student, teachers, self.fits),)

    def adapter(self, mine: Point, theirs: Point) -> nn.Module:
        """A paraphraser of the teacher's activation, and a translator of the network's."""
        tokens = alike(mine, theirs)
        wide, width = theirs.channels, max(1, round(self.rate * theirs.channels))
        return torch.nn.ModuleDict(
            {
                "encoder": layers((wide, wide, width, width), tokens),
                "decoder": layers((width, width, wide, wide), tokens, transposed=True),
                "translator": layers((mine.channels, mine.channels, width, width), tokens),
            }
        )

    def __call__(
        self,
        student: Seen,
        teachers: tuple[Seen, ...],
        targets: Any,
        task: Task,
        parts: nn.Module | None,
        moment: Moment,
    ) -> Tensor:
        """Features of student and teachers, B×C×H×W or B×T×D each → scalar."""
        now = self if moment.step >= self.first * moment.total else replace(self, beta=0.0)
        return super(Ft, now).__call__(student, teachers, targets, task, parts, moment)

    def distance(self, mine: Tensor, theirs: Tensor, adapter: Any) -> Tensor:
        """Activations B×C×H×W or B×T×D → scalar."""
        if isinstance(adapter["encoder"][0], torch.nn.Conv2d):
            mine, theirs = smaller(as_maps(mine), as_maps(theirs))
        mine, theirs = scaled(mine), scaled(theirs)
        factors = adapter["encoder"](theirs)
        missed = (theirs - adapter["decoder"](factors)).square().mean()
        apart = (unit(factors.detach()) - unit(adapter["translator"](mine))).abs().mean()
        return self.beta * apart + missed


def unit(factors: Tensor) -> Tensor:
    """B×… → B×elements, rows of length one."""
    return torch.nn.functional.normalize(factors.flatten(1))


def layers(widths: tuple[int, ...], tokens: bool, transposed: bool = False) -> nn.Module:
    """Convolutions of 3×3, or linear layers for tokens, from width to width, with leaky ReLU after each."""
    made: list[nn.Module] = []
    for before, after in zip(widths, widths[1:], strict=False):
        if tokens:
            made.append(torch.nn.Linear(before, after))
        elif transposed:
            made.append(torch.nn.ConvTranspose2d(before, after, 3, padding=1))
        else:
            made.append(torch.nn.Conv2d(before, after, 3, padding=1))
        made.append(torch.nn.LeakyReLU(SLOPE))
    return torch.nn.Sequential(*made)
