"""`with sss(1e-2)`, `prune layers by sss for 10 epochs`: scaling factors of blocks or channels that become zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Decided, Finished, Moment
from recipelang.methods.companions._gates import Gating
from recipelang.plan import Selection, later

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.measuring.factors import FactorState


@method("companion", "sss")
@dataclass(frozen=True)
class Sss(Gating):
    """Sparse structure selection: each block, group or neuron has a scaling factor, and those that reach 0 are removed.

    What: the depth or the width of the network is learned with its weights, and needs no tuning afterwards.
    Formula: loss + γ·‖λ‖₁ over the factors λ, which start at 1; a block computes x + λ·F(x), a channel is read as λ·x.
        λ is trained by an accelerated proximal gradient (APG-NAG) with the optimizer's rate η:
        z = λ′ − η·∂L/∂λ′;  v ← S(z) − λ′ + μ·v;  λ′ ← S(z) + μ·v;  S(z) = sign(z)·max(0, |z| − η·γ).
        λ′ is what computes, S(z) what remains: exactly 0 for structures of little use. The weights have the optimizer
        of the recipe.
    Shapes: one factor for each layer, or for each channel (or group of coupled ones) of `filters`, `neurons`, `heads`.
        Groups of a grouped convolution are parts of `filters`.
    Leaves: structures with λ = 0 are removed, with parity; any other factor becomes part of the weights.
    Collapse: of channels that are removed together the one with the largest |z| keeps its factor, so that no layer
        vanishes; the record names the layer. Blocks may all go: their skip connections stay.
    Widths: as for `prune filters`: what stays is rounded (`unit=filters(round=1)` for any width).
    Measured: a step costs 1.02 of a plain one in processor time: ResNet-20, batches of 128,
        bfloat16, one thread (`benchmarks/companions.py`).
    When it misleads: a factor falls by at most about η·γ/(1 − μ) a step, so a short training with a small rate removes
        nothing, and a long one with a large γ removes what is of use. Weights can make up for a small factor: without
        weight decay on them factors fall, and say little.
    Source: Huang and Wang, "Data-driven sparse structure selection for deep neural networks", ECCV 2018, equations 10
        to 12; thesis, section 2.
    """

    units: ClassVar[tuple[str, ...]] = ("layers", "filters", "neurons", "heads")

    strength: Any = setting(
        1e-2, type="number", low=0, open_low=True, ramp=True, positional=True, help="Factor γ of the penalty."
    )
    unit: Any = setting(None, type="method", kind="unit", help="What has factors; default `layers`.")
    momentum: float = setting(0.9, type="number", low=0, high=0.9999, help="Momentum μ of the factors.")
    selection: Selection = later(Selection())

    def __post_init__(self) -> None:
        _ = self.chosen  # refuses what it does not decide about

    def begin(self, network: Any, moment: Moment) -> FactorState:
        """The factors, all 1; errors as of `gated`."""
        from recipelang.measuring.factors import FactorState

        return FactorState(self.gated(network), keeps=self.chosen.ranks == "filter")

    def gates(self, state: Any) -> Tensor:
        """λ′, the factors that compute."""
        factors: Tensor = state.opened()
        return factors

    def after_step(self, network: Any, optimizer: Any, state: Any, moment: Moment) -> None:
        """One step on the factors with the optimizer's rate."""
        state.step(optimizer.param_groups[0]["lr"], moment.value(self.strength), self.momentum)

    def finish(self, network: Any, state: Any) -> Finished:
        """The network with its factors in its weights, and the decision to remove what has none."""
        from recipelang.measuring.grouping import collapsed

        gates, factors = state.gated.gates, state.solution
        gates.fold(network.module, factors)
        decided = Decided(self.chosen, state.gated.offer, gates.each(factors.abs()), gates.each(factors == 0))
        spared = [name for name, parts in gates.each(state.spared).items() if parts.any() and len(parts) > 1]
        return Finished(network, (decided,), note=collapsed(spared))
