"""Schedules in rounds: what each of them shares of a training, and of the way to a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.plan import Mark
from recipelang.units import show


class InRounds:
    """A schedule whose rounds share the training; weights are ranked and masked before each (`Schedule.rounds`)."""

    moves: ClassVar[tuple[str, ...]] = ("masks",)
    rounds: int

    def after(self, final: float, turn: int) -> float:
        """The target from round `turn` (from 1) on, `final` from the last on; by default equal parts of it."""
        return final if turn == self.rounds else final * turn / self.rounds

    def target_at(self, final: float, step: int, total: int, steps_per_epoch: int) -> float | None:
        """The target of the round that begins at a step; None within a round."""
        for turn in range(1, self.rounds + 1):
            if step == self._start(turn, total, steps_per_epoch):
                return self.after(final, turn)
        return None

    def _start(self, turn: int, total: int, steps_per_epoch: int) -> int:
        """The first step of a round; rounds have whole epochs where there are enough of them."""
        epochs, rest = divmod(total, steps_per_epoch)
        unit, count = (steps_per_epoch, epochs) if not rest and epochs >= self.rounds else (1, total)
        return unit * (count * (turn - 1) // self.rounds)

    def why_not(self, final: float) -> str:
        """It reaches every target."""
        return ""

    def marks(self) -> tuple[Mark, ...]:
        """None: its rounds divide the training."""
        return ()


@dataclass(frozen=True)
class EvenRounds(InRounds):
    """`over 3 rounds`: a third of the target more in each, then a third of the training, which starts its ramps."""

    rounds: int

    @property
    def name(self) -> str:
        """As a recipe writes it."""
        return f"{self.rounds} round{'s' * (self.rounds != 1)}"

    def telling(self, final: float, total: int, steps_per_epoch: int) -> str:
        """What a plan says: how much is zero from each round on."""
        turns = range(1, self.rounds + 1)
        shown = [turn for turn in turns if turn <= 3 or turn == self.rounds]
        parts = [show(self.after(final, turn), "%") for turn in shown]
        parts[-1:-1] = ["…"] * (len(shown) < self.rounds)
        return f"{self.name}, each ranks again: {', '.join(parts)} zeros"
