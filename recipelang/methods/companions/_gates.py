"""What companions with gates on parts share; each says itself what its gates are, and what it costs to keep them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from recipelang import catalogue
from recipelang.errors import SettingError
from recipelang.kinds import PARTS, Companion, Moment, Unit
from recipelang.meaning.wording import listing
from recipelang.plan import Selection

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.surgery.gating import Gated


class Gating(Companion):
    """A companion with one gate for each part of a unit, which are trained by Adam of their own.

    Attributes:
        lr: of that Adam; may be a ramp.
        unit: what has gates, a method of kind `unit`; None: the first of `units`.
        selection: the modules to look at.
    """

    leaves: ClassVar[str] = PARTS
    units: ClassVar[tuple[str, ...]] = ("filters", "neurons", "heads")

    name: ClassVar[str]
    lr: Any
    unit: Any
    selection: Selection

    def of(self, unit: Unit, selection: Selection) -> Self:
        """Gates on this unit of `prune`, in these modules."""
        return replace(self, unit=unit, selection=selection)  # type: ignore[type-var]  # methods are dataclasses

    def foresee(self, network: Any) -> tuple[str, ...]:
        """What it may remove; errors as of `gated`."""
        from recipelang.surgery.gating import foreseen

        return foreseen(self.gated(network), self.chosen, self.name)

    def computing(self, network: Any, state: Any, moment: Moment) -> AbstractContextManager[None]:
        """The network with the gates of this step."""
        state.now = self.gates(state)
        opened: AbstractContextManager[None] = state.gated.gates.open(network.module, state.now)
        return opened

    def after_step(self, network: Any, optimizer: Any, state: Any, moment: Moment) -> None:
        """One step of Adam on the numbers behind the gates."""
        state.descend(moment.value(self.lr))

    def gates(self, state: Any) -> Tensor:
        """The gates of a step, one for each part, with gradients to `state.leaf`."""
        raise TypeError(f"{type(self).__name__} has no gates")

    def gated(self, network: Any) -> Gated:
        """The parts that have gates.

        Raises:
            Refusal: RCP0910, RCP0703, RCP0718, RCP0850: the network has nothing that can have gates.
        """
        from recipelang.surgery.gating import gates_on

        return gates_on(network, self.chosen, self.selection, self.name)

    @property
    def chosen(self) -> Any:
        """The method of kind `unit` that it decides about.

        Raises:
            SettingError: it does not decide about the one that is set.
        """
        if self.unit is None:
            usual: Any = catalogue.find("unit", self.units[0])
            return usual()
        if self.unit.name not in self.units:
            message = f"`{self.name}` does not decide about {self.unit.name}"
            raise SettingError("unit", message, f"it takes {listing(self.units)}")
        return self.unit
