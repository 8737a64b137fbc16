"""`with sss(1e-2)`, `prune layers by sss for 10 epochs`: scaling factors of blocks or channels that become zero."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Decided, Finished, Moment
from recipelang.methods.companions._deciding import Deciding
from recipelang.plan import Selection, later

if TYPE_CHECKING:
    from recipelang.measuring.factors import FactorState
    from recipelang.surgery.gating import Gated


@method("companion", "sss")
@dataclass(frozen=True)
class Sss(Deciding):
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
    excludes: ClassVar[tuple[str, ...]] = ("quantized",)

    strength: Any = setting(
        1e-2, type="number", low=0, open_low=True, ramp=True, positional=True, help="Factor γ of the penalty."
    )
    unit: Any = setting(None, type="method", kind="unit", help="What has factors; default `layers`.")
    momentum: float = setting(0.9, type="number", low=0, high=0.9999, help="Momentum μ of the factors.")
    selection: Selection = later(Selection())

    def __post_init__(self) -> None:
        _ = self.chosen  # refuses what it does not decide about

    def require_network(self, network: Any) -> None:
        """Raises:
        Refusal: as of `foresee`.
        """
        self._gated(network)

    def foresee(self, network: Any) -> tuple[str, ...]:
        """What it may remove.

        Raises:
            Refusal: RCP0910, RCP0703, RCP0718, RCP0850: the network has nothing that can have factors.
        """
        from recipelang.surgery.gating import foreseen

        return foreseen(self._gated(network), self.chosen, "sss")

    def begin(self, network: Any, moment: Moment) -> FactorState:
        """The factors, all 1."""
        from recipelang.measuring.factors import FactorState

        return FactorState(self._gated(network), keeps=self.chosen.ranks == "filter")

    def computing(self, network: Any, state: Any, moment: Moment) -> AbstractContextManager[None]:
        """The network with its factors."""
        opened: AbstractContextManager[None] = state.gated.gates.open(network.module, state.opened())
        return opened

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

    def _gated(self, network: Any) -> Gated:
        from recipelang.surgery.gating import gates_on
        from recipelang.surgery.gating_layers import gates_on_layers

        unit = self.chosen
        return (gates_on_layers if unit.ranks == "layer" else gates_on)(network, unit, self.selection, "sss")
