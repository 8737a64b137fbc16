"""`with cached`: the teachers answer once, before the first step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Companion


@method("companion", "cached")
@dataclass(frozen=True)
class Cached(Companion):
    """The teachers answer about each training sample once, before the first step; each step looks their answers up.

    What: saves the forward passes of teachers, all but one for each sample: the more, the larger the teachers are and
        the more epochs there are. Answers are kept in a file beside the checkpoint, in float32.
    Shapes: any answer that is one tensor; samples × outputs × 4 bytes for each teacher.
    Needs: samples that are the same in every epoch (`augment=none` in the data), and data that numbers them. Training
        samples of a user's own code (`data python`, data given to `recipelang.run`) are all read once more with other
        random numbers, and refused where one differs, or draws random numbers without a seed of its own.
    Not with: losses that compare more than outputs, ask them about some samples or train them along; companions that
        change the images, as `mixup`; `on nothing`.
    Measured: the record says how long the teachers took, how large their answers are, what a batch takes, what it would
        take with the teachers, and what that saved.
    When it misleads: without augmentation a network usually learns less than from augmented images and a teacher that
        sees them too. Answers may differ in their last bits from those computed in each step, as a sample then shares
        its batch with others. With few epochs, or many teachers of which a loss asks one at a time, the pass may cost
        more than it saves.
    Control: trains without it, as it has no teachers.
    Source: Shen and Xing 2022, "A Fast Knowledge Distillation Framework for Visual Recognition" keeps a teacher's
        answers too, about crops; here they are about whole samples. Beyer et al. 2022, "Knowledge distillation: A good
        teacher is patient and consistent" ("fixed teacher") measures what that costs in accuracy.
    """

    caches: ClassVar[bool] = True

    gigabytes: float = setting(
        8.0, type="number", low=0.001, high=100_000, hashed=False, help="How large the answers may be, in 10⁹ bytes."
    )

    def holds(self) -> int:
        """As many bytes as it says."""
        return round(self.gigabytes * 1e9)
