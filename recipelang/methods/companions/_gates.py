"""What companions with gates on parts share: where the gates are, and how the network computes with them."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.kinds import Moment
from recipelang.methods.companions._deciding import Deciding
from recipelang.units import counted

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.surgery.gating import Gated


class Gating(Deciding):
    """A companion with one gate for each part of a unit; a subclass says what the gates are, and trains them.

    The state of its training knows the parts as `gated`, and the gates of the step as `now`.
    """

    units: ClassVar[tuple[str, ...]] = ("filters", "neurons", "heads", "layers")
    excludes: ClassVar[tuple[str, ...]] = ("quantized",)

    lr: Any

    def too_short(self, steps: int, per_epoch: int) -> str:
        """Adam moves a number by about `lr` a step: where that is not far enough for any gate to close, it says so."""
        if self.closing is None:
            return ""
        moved = sum(Moment(step, steps, per_epoch).value(self.lr) for step in range(steps))
        if moved >= self.closing:
            return ""
        moves = f"a gate of `{self.name}` moves by about {moved:.3g} in {counted(steps, 'step')}"
        return (
            f"too short: {moves} and closes after {self.closing:.3g}, so nothing may be removed; train longer, or set "
            "a larger `lr`"
        )

    @property
    def closing(self) -> float | None:
        """How far what Adam trains for a gate is, at the start, from where the gate is closed; None where that is not
        what closes it."""
        return None

    def foresee(self, network: Any) -> tuple[str, ...]:
        """What it may remove; errors as of `gated`."""
        from recipelang.surgery.gating import foreseen

        return foreseen(self.gated(network), self.chosen, self.name)

    def computing(self, network: Any, state: Any, moment: Moment) -> AbstractContextManager[None]:
        """The network with the gates of this step."""
        state.now = self.gates(state)
        opened: AbstractContextManager[None] = state.gated.gates.open(network.module, state.now)
        return opened

    @abstractmethod
    def gates(self, state: Any) -> Tensor:
        """The gates of a step, one for each part, with gradients to `state.leaf`."""

    def gated(self, network: Any) -> Gated:
        """The parts that have gates.

        Raises:
            Refusal: RCP0910, RCP0703, RCP0718, RCP0850: the network has nothing that can have gates.
        """
        from recipelang.surgery.gating import gates_on
        from recipelang.surgery.gating_layers import gates_on_layers

        unit = self.chosen
        return (gates_on_layers if unit.ranks == "layer" else gates_on)(network, unit, self.selection, self.name)
