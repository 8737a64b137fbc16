"""What raises a target step by step during a training, and what may decide itself which weights are zero."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from recipelang.plan import later, unhashed

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.kinds.companion import Companion
    from recipelang.plan import Course, Mark


@dataclass(frozen=True)
class Masking:
    """What a schedule of masks works on: the weights, where they end, and what its companion may look at.

    Attributes:
        course: the schedule and the share of zeros at the end, over all of these weights.
        pattern: divides a weight into pieces; `pattern.at(share)` is the pattern with another share of zeros.
        names: of the weights.
        shares: name of a weight → its own share of zeros at the end.
        score: scores a network's weights by the criterion of the statement, by name: of the shape of each weight, the
            higher the more important; None for a schedule that ranks by its own law.
        scratch: whether the training starts from new random weights.
        state: the network of a kept state that the schedule reads (`states`).
        dividing: a target on the way among the weights (`scoring.dividing`); None: each has the target.
    """

    course: Course
    pattern: Any
    names: tuple[str, ...]
    shares: Mapping[str, float]
    score: Callable[[Any], Mapping[str, Tensor]] | None = unhashed(None)
    scratch: bool = False
    state: Callable[[str], Any] | None = unhashed(None)
    dividing: Any = later(None)


class Schedule(Protocol):
    """`over NAME(…)`: how far the target of a statement is reached after each step of its training.

    A schedule knows numbers, and so serves every verb that has a target: masks that follow it are a companion of the
    training, parts are removed between its windows. One that decides by its own law which weights are zero brings that
    companion with it.

    Attributes:
        moves: what can follow it: `masks` (patterns of `sparsify`) and `parts` (units of `prune`). `check` refuses the
            other.

    Optional:
        ranks: whether a criterion (`by …`) ranks for it; default true. `check` refuses `by` beside one that ranks by
            its own law.
        single: whether its law is one of single weights, so that `check` refuses patterns of larger pieces; default
            false.
        telling(final: float, total: int, steps_per_epoch: int) -> str: what a plan says of it, where it moves what is
            zero and not how much; by default, the target over time.
        states: names of the kept states that it reads; default (). `check` refuses one that was not kept.
        rounds: how many rounds share the training, each with ramps from their start; a statement without one trains
            once. `after(final, turn)` is then the target of round `turn` (from 1), for which weights are ranked before
            it, and `rewind` the name of the state to which the network goes back before each; one of `states`.
        soft: whether parts are only set to zero at an update, go on being trained, and are removed after the training;
            default false. `units` are those that it can set to zero; default all.
        companion(masking: Masking) -> Companion: what decides which weights are masked after each step. Its masks are
            buffers of its state, and at the end they have the target's share of zeros. Without it, masks follow the
            target by the statement's criterion (`scoring/following.py`).
    """

    moves: ClassVar[tuple[str, ...]]

    def target_at(self, final: float, step: int, total: int, steps_per_epoch: int) -> float | None:
        """The target from the optimizer step number `step` (from 0) of `total` on; None: nothing moves at this step.

        Args:
            final: the target of the statement, which the last of these values is. A schedule that moves what is zero
                and not how much has this value at every step that moves something.
        """

    def why_not(self, final: float) -> str:
        """Why it cannot end at this target; "" where it can. Continues "`NAME` …"."""

    def marks(self) -> tuple[Mark, ...]:
        """The moments that a training must reach for the schedule to end at its target."""


class DecidingSchedule(Schedule, Protocol):
    """A schedule that decides by its own law which weights are zero; see `Schedule`."""

    def companion(self, masking: Masking) -> Companion:
        """What decides which weights are masked after each step of the training."""
