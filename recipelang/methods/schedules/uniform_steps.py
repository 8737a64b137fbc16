"""`over uniform_steps(begin=…, every=…)`: a target that is approached in equal steps."""

from __future__ import annotations

from dataclasses import dataclass

from recipelang.catalogue import method
from recipelang.methods.schedules._regular import RegularUpdates


@method("schedule", "uniform_steps")
@dataclass(frozen=True)
class UniformSteps(RegularUpdates):
    """The same amount at each update, and a little training between two of them.

    What: iterative pruning as most papers do it: rank, remove a part, train for some mini-batches, rank again. 100
        filters for each 30 mini-batches, ten times, are `prune 1000 filters … over uniform_steps(every=30 steps,
        end=270 steps) for …`; what is left of `for` is training without removal.
    Formula: s_k = s_i + (s_f − s_i) · (k + 1) / (n + 1) at the steps t₀ + k·Δt, k = 0 … n; s_f is the target of the
        statement, s_i `start`, what is taken as given before the first update, t₀ `begin`, Δt `every`, and t₀ + n·Δt
        the last update that is not after `end`.
    Masks and parts: as for `agp`.
    When it misleads: the last updates remove as much as the first, from a network that has less to spare: `agp` is
        gentler at the end. Where `end` is left out, the last update is just before the end of the training.
    Source: Molchanov et al. 2017, "Pruning Convolutional Neural Networks for Resource Efficient Inference", section 2;
        Elkerdawy et al., "To filter prune, or to layer prune, that is the question", ACCV 2020, section 4.
    """

    def target_at(self, final: float, step: int, total: int, steps_per_epoch: int) -> float | None:
        """The target from a step on; None between two updates, before the first and after the last."""
        found = self.update_at(step, total, steps_per_epoch)
        if found is None:
            return None
        update, last = found
        return final if update == last else self.start + (final - self.start) * (update + 1) / (last + 1)
