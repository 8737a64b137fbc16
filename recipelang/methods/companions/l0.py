"""`with l0(1)`, `prune filters by l0 for 20 epochs`: gates that are random in training and fixed at its end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.errors import SettingError
from recipelang.kinds import Decided, Finished, Moment, Seen
from recipelang.lazy import torch
from recipelang.methods.companions._gates import Gating
from recipelang.plan import Selection, later

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.surgery.gating import GateState

#: of the uniform numbers that are drawn, as in the authors' code
SMALLEST = 1e-6


@method("companion", "l0")
@dataclass(frozen=True)
class L0(Gating):
    """L0 regularisation: each filter has a hard concrete gate, whose chance to be nonzero is penalised and learned.

    What: filters whose gate ends at 0 are removed physically; the gates of others become part of the weights that read
        them.
    Formula: in training z = min(1, max(0, s·(ζ − γ) + γ)), s = sigmoid((log u − log(1 − u) + log α) / β), u uniform
        in (0, 1), once a step for the whole batch (equations 10 and 11). Loss + strength · Σ |g| · P(z ≠ 0) / Σ |g|,
        P(z ≠ 0) = sigmoid(log α − β · log(−γ/ζ)), |g| the weights that make the filter (equations 12 and 15): the share
        of weights that is expected to stay. At the end z = min(1, max(0, sigmoid(log α)·(ζ − γ) + γ)) (equation 13).
        The λ of the source is strength / Σ |g|.
    Shapes: one gate for each filter, or group of coupled ones; log α starts around log((1 − drop) / drop). Of `neurons`
        and `heads` one each; of `layers` one for each block, which computes x + z · F(x), and all of them may go.
    Optimizer: the gates have Adam with `lr` of their own and no weight decay, whatever trains the weights.
    Widths: as for `prune filters`: what stays is rounded (`unit=filters(round=1)` for any width). A filter that is
        closed and stays for it has no effect.
    Measured: a step costs 0.97 to 1.06 of a plain one in processor time (medians of two runs): ResNet-20, batches of
        128, bfloat16, one thread (`benchmarks/companions.py`).
    When it misleads: BatchNorm has averaged over random gates, and those at the end are fixed: `recalibrate` after it.
        A gate closes only once log α is below −2.4, which takes at least 46 steps with the default `lr`: short
        trainings remove nothing. Noise on every filter costs accuracy in networks that have no room for it.
    Source: Louizos, Welling, Kingma, "Learning sparse neural networks through L0 regularization", ICLR 2018.
    """

    strength: Any = setting(
        1.0,
        type="number",
        low=0,
        open_low=True,
        ramp=True,
        positional=True,
        help="Factor of the share of weights that is expected to stay.",
    )
    lr: Any = setting(0.1, type="number", low=0, open_low=True, ramp=True, help="Learning rate of the gates.")
    drop: float = setting(
        0.1,
        type="number",
        low=0,
        high=1,
        open_low=True,
        help="How often a gate is closed at the start, about; below 1.",
    )
    beta: float = setting(2 / 3, type="number", low=0, open_low=True, help="Temperature β of the gates.")
    gamma: float = setting(-0.1, type="number", high=0, help="Lower end γ of the stretched gates, below 0.")
    zeta: float = setting(1.1, type="number", low=1, open_low=True, help="Upper end ζ of the stretched gates.")
    unit: Any = setting(None, type="method", kind="unit", help="What has gates; default `filters`.")
    selection: Selection = later(Selection())

    def __post_init__(self) -> None:
        if self.gamma >= 0:
            raise SettingError("gamma", "gates above 0 never close: `gamma` must be below 0", "write `gamma=-0.1`")
        if self.drop >= 1:
            raise SettingError("drop", "gates that are always closed learn nothing", "write `drop=0.5`")
        _ = self.chosen  # refuses a unit that has no gates

    @property
    def closing(self) -> float:
        """From log α at the start to log(−γ/ζ), where the gate of the end is 0 (equation 13)."""
        return max(0.0, self._middle - math.log(-self.gamma / self.zeta))

    @property
    def _middle(self) -> float:
        return math.log((1 - self.drop) / self.drop)

    def begin(self, network: Any, moment: Moment) -> GateState:
        """log α of every gate, normal around that of `drop` with deviation 0.01; errors as of `gated`."""
        from recipelang.surgery.gating import GateState, weights_of

        gated = self.gated(network)
        state = GateState(gated, self._middle + 0.01 * torch.randn(gated.gates.total))
        state.register_buffer("weights", weights_of(network.module, gated.offer.groups), persistent=False)
        return state

    def gates(self, state: Any) -> Tensor:
        """Gates that are drawn for this step."""
        return self.drawn(state.leaf, torch.rand_like(state.reals).clamp(SMALLEST, 1 - SMALLEST))

    def penalty(self, seen: Seen, state: Any, moment: Moment) -> Tensor:
        """strength · the share of weights that is expected to stay, a scalar."""
        share: Tensor = (state.weights * self.open(state.leaf)).sum() / state.weights.sum()
        return moment.value(self.strength) * share

    def after_step(self, network: Any, optimizer: Any, state: Any, moment: Moment) -> None:
        """One step of Adam on log α."""
        state.descend(moment.value(self.lr))

    def finish(self, network: Any, state: Any) -> Finished:
        """The network with the gates of the end in its weights, and the decision to remove the closed ones."""
        gates, ends = state.gated.gates, self.ends(state.reals)
        gates.fold(network.module, ends)
        scores, gone = gates.each(self.open(state.reals)), gates.each(ends == 0)
        return Finished(network, (Decided(self.chosen, state.gated.offer, scores, gone),))

    def drawn(self, alpha: Tensor, uniform: Tensor) -> Tensor:
        """Hard concrete gates of log α for uniform numbers, one each (equations 10 and 11)."""
        noise = uniform.log() - (1 - uniform).log()
        return self._stretched(((noise + alpha) / self.beta).sigmoid())

    def open(self, alpha: Tensor) -> Tensor:
        """The chance of each gate not to be 0 (equation 12)."""
        return (alpha - self.beta * math.log(-self.gamma / self.zeta)).sigmoid()

    def ends(self, alpha: Tensor) -> Tensor:
        """The gates at the end of the training (equation 13)."""
        return self._stretched(alpha.sigmoid())

    def _stretched(self, soft: Tensor) -> Tensor:
        return (soft * (self.zeta - self.gamma) + self.gamma).clamp(0, 1)
