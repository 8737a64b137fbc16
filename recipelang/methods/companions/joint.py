"""`with joint(0.5)`, `prune filters by joint for 10 epochs`: which filters stay is learned with the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.kinds import Decided, Finished, Moment, Seen
from recipelang.lazy import torch
from recipelang.methods.companions._gates import Gating
from recipelang.plan import Selection, later

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.surgery.gating import GateState


@method("companion", "joint")
@dataclass(frozen=True)
class Joint(Gating):
    """Joint end-to-end pruning: each filter has a real mask that is trained with the weights, and in use is 0 or 1.

    What: how much of which layer stays is learned, with no ratio given in advance; filters whose mask ends at 0 are
        removed physically. The share of each layer is in the record, and drawn in the report.
    Formula: m_b = 1 where sigmoid(m_r) ≥ 0.5, else 0; what reads a filter gets m_b · F. Loss + strength · ‖m_b‖₁ / Σn,
        the share of the n filters of all layers that stay (equations 3.2 to 3.4). Straight through the binarisation:
        ∂L/∂m_r = ∂L/∂m_b · sigmoid(m_r) · (1 − sigmoid(m_r)) (equation 3.5). Of each group the filter with the largest
        m_r is open in any case, so that no layer vanishes.
    Shapes: one mask for each filter, or group of coupled ones; m_r starts at `init`. Of `neurons` and `heads` one each;
        of `layers` one for each block, which computes x + m_b · F(x), and all of them may go.
    Optimizer: the masks have Adam with `lr` of their own and no weight decay, whatever trains the weights. The source
        gives neither the start nor the optimizer of the masks; its networks are trained with Adam.
    Widths: as for `prune filters`: what stays is rounded (`unit=filters(round=1)` for any width). A filter that is
        closed and stays for it has no effect.
    Measured: `recipes/studies/joint_ratios.rcp`: 21 % of the parameters of a small VGG stay at strength 1, with the
        accuracy of its control. A step costs 1.00 to 1.02 of a plain one in processor time (medians of two runs):
        ResNet-20, batches of 128, bfloat16, one thread (`benchmarks/companions.py`).
    When it misleads: a mask moves by about `lr` a step, so it needs at least `init/lr` steps to close: short trainings
        remove nothing. `strength` trades accuracy for filters, and not for the clock or FLOPs: a filter of a large
        feature map counts as much as one of a small one.
    Source: Elkerdawy, "On efficient deep learning inference", thesis, chapter 3; Elkerdawy et al., "Lightweight
        monocular depth estimation model by joint end-to-end filter pruning", ICIP 2019. Straight-through: Bengio et al.
        2013.
    """

    strength: Any = setting(
        1.0, type="number", low=0, open_low=True, ramp=True, positional=True, help="Factor of the share that stays."
    )
    lr: Any = setting(0.01, type="number", low=0, open_low=True, ramp=True, help="Learning rate of the masks.")
    init: float = setting(1.0, type="number", low=0, help="The real masks at the start; sigmoid(init) ≥ 0.5 is open.")
    unit: Any = setting(None, type="method", kind="unit", help="What has masks; default `filters`.")
    selection: Selection = later(Selection())

    def __post_init__(self) -> None:
        _ = self.chosen  # refuses a unit that has no masks

    @property
    def closing(self) -> float:
        """From `init` to 0."""
        return float(self.init)

    def begin(self, network: Any, moment: Moment) -> GateState:
        """The masks, all at `init`; errors as of `gated`."""
        from recipelang.surgery.gating import GateState

        gated = self.gated(network)
        return GateState(gated, torch.full((gated.gates.total,), float(self.init)))

    def gates(self, state: Any) -> Tensor:
        """The binary masks, with the gradient of the sigmoid."""
        return straight_through(state.leaf, self._mask(state))

    def penalty(self, seen: Seen, state: Any, moment: Moment) -> Tensor:
        """strength · the share of filters that stay, a scalar."""
        share: Tensor = state.now.sum() / len(state.now)
        return moment.value(self.strength) * share

    def after_step(self, network: Any, optimizer: Any, state: Any, moment: Moment) -> None:
        """One step of Adam on the real masks."""
        state.descend(moment.value(self.lr))

    def finish(self, network: Any, state: Any) -> Finished:
        """The network in which closed filters have no effect, and the decision to remove them."""
        gates, soft = state.gated.gates, state.reals.sigmoid()
        gates.fold(network.module, self._mask(state))
        return Finished(network, (Decided(self.chosen, state.gated.offer, gates.each(soft), gates.each(soft < 0.5)),))

    def _mask(self, state: Any) -> Tensor:
        """1 where the sigmoid is at least 0.5 and for the largest of each group, else 0."""
        reals = state.reals
        mask: Tensor = (reals.sigmoid() >= 0.5).to(reals.dtype)
        return mask.index_fill(0, state.largest(reals), 1)


def straight_through(reals: Tensor, mask: Tensor) -> Tensor:
    """The mask, with the gradient of sigmoid(reals)."""
    soft = reals.sigmoid()
    return mask + (soft - soft.detach())  # the difference is exactly 0
