"""`over lottery(rounds=5, rewind=early)`: what stays goes back to an early state after each round of pruning."""

from __future__ import annotations

from dataclasses import dataclass

from recipelang.catalogue import method, setting
from recipelang.kinds import InRounds


@method("schedule", "lottery")
@dataclass(frozen=True)
class Lottery(InRounds):
    """Iterative pruning with rewinding: the weights that stay go back to a kept state and are trained again, in rounds.

    What: looks for a sparse network that learns as well as the dense one from where it started. The weights that the
        trained network can do without are masked, the others get the values that they had in the state `rewind`, with
        biases, norms and their statistics, and the network is trained again; the next round ranks what it has become.
        A state that was kept before any training is the lottery ticket's initialisation, one kept after a little of it
        is late rewinding, which larger networks need.
    Formula: after round r of n, 1 − (1 − s)^(r/n) of the weights are zero, s the target: each round masks the same
        share of what is left. Every round trains an n-th of the duration, with ramps from their start.
    Needs: a network that is trained, since the first round ranks its weights; `keep as NAME` for the state, before it.
    When it misleads: it costs n trainings, which have to be as long as the first one for the result to be compared
        with it. A ticket that learns no better than the same masks with other random weights is an architecture and no
        ticket: `train from scratch` afterwards tells.
    Source: Frankle and Carbin 2019, "The Lottery Ticket Hypothesis", section 1, iterative pruning with resetting;
        Frankle et al. 2020, "Linear Mode Connectivity and the Lottery Ticket Hypothesis", late rewinding.
    """

    rewind: str = setting(type="state", help="The state to which the weights that stay go back before each round.")
    rounds: int = setting(5, type="integer", low=1, help="How often weights are masked and trained again.")

    @property
    def states(self) -> tuple[str, ...]:
        """The state that it goes back to."""
        return (self.rewind,)

    def after(self, final: float, turn: int) -> float:
        """The share of zeros from round `turn` (from 1) on, `final` from the last on."""
        return final if turn == self.rounds else 1 - (1 - final) ** (turn / self.rounds)
