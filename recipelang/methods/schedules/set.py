"""`over set(part=30%, every=1 epochs)`: the smallest weights leave, random ones come."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Companion, Masking, Moment
from recipelang.methods.schedules._choosing import drawn, least
from recipelang.methods.schedules._rewiring import Moving, Rewiring, Weight, hold

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@method("schedule", "set")
@dataclass(frozen=True)
class Set(Moving):
    """Sparse evolutionary training: a sparse network whose weakest connections are replaced by random ones.

    What: at every update the weights closest to zero are removed, of the positive and of the negative ones each, and
        as many random ones are added, so that a layer keeps its number.
    Formula: of the n₊ positive and n₋ negative weights of a layer the ⌊part·n₊⌋ smallest and the ⌊part·n₋⌋ largest are
        removed; as many of all that are then masked are added, each with the same probability; they start
        at random as torch initialises a layer, uniform in ±1/√(inputs). A layer that an allocation leaves whole is not
        touched.
    Start: random weights are kept with `from scratch`, the largest ones without it; each layer keeps its share.
    Shapes: w O×I or O×I×kh×kw, single weights.
    Needs: weights alone.
    When it misleads: most random weights are removed again at the next update, so it needs many updates. torch computes
        dense products: sparse training saves no time here.
    Source: Mocanu et al. 2018, "Scalable training of artificial neural networks with adaptive sparse connectivity
        inspired by network science", algorithm 1; part (ζ) = 0.3 and an update after every epoch but the last as there.
        There the start is an Erdős–Rényi graph.
    """

    single: ClassVar[bool] = True

    part: float = setting(0.3, type="number", low=0, high=1, open_low=True, help="The part that moves at an update, ζ.")

    def companion(self, masking: Masking) -> Companion:
        """What moves the masks."""
        return AtRandom(masking)


@dataclass(frozen=True)
class AtRandom(Rewiring):
    """Removes the weights of each sign that are closest to zero and adds random ones."""

    def rewire(self, weights: Sequence[Weight], optimizer: torch.optim.Optimizer, state: Any, moment: Moment) -> None:
        """Layer by layer."""
        counts = []
        for weight in weights:
            kept, value = weight.kept, weight.pieces(weight.value)
            if bool(kept.all()):  # nothing could come in place of what goes
                counts.append(0)
                continue
            gone = self._closest(value, kept & (value > 0)) | self._closest(value, kept & (value < 0))
            weight.set(kept & ~gone)
            counts.append(int(gone.sum()))
        hold(weights, optimizer)  # what is removed and drawn again starts like the others
        for weight, count in zip(weights, counts, strict=True):
            came = drawn(~weight.kept, count)
            weight.set(weight.kept | came)
            weight.start(came)  # at zero, one whose input is zero would stay there: of no sign, it would never leave

    def _closest(self, value: Tensor, among: Tensor) -> Tensor:
        """The part of some weights that is closest to zero."""
        return least(value.abs(), among, math.floor(round(self.schedule.part * int(among.sum()), 6)))
