"""Masks that follow a schedule during a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from recipelang.kinds import MASKS, Companion, Masking, Moment
from recipelang.plan import Course, later, unhashed
from recipelang.scoring.dividing import Dividing
from recipelang.surgery.network import Network
from recipelang.surgery.restricting import hold
from recipelang.surgery.restrictions.mask import Mask
from recipelang.surgery.tracing import let_go


def following(masking: Masking) -> Companion:
    """What moves masks during a training: the schedule's own companion, or masks that follow its target."""
    schedule: Any = masking.course.schedule
    if hasattr(schedule, "companion"):
        made: Companion = schedule.companion(masking)
        return made
    assert masking.score is not None, "a schedule without a companion ranks by a criterion"
    return Following(masking.course, masking.pattern, masking.names, masking.score, masking.dividing)


@dataclass(frozen=True)
class Following(Companion):
    """Puts weights into a pattern whose target a schedule raises, and keeps them in it between two updates.

    What is removed stays removed, so the share of zeros never falls: a removed weight is zero, and with it whatever a
    criterion might know of it.

    Attributes:
        course: the schedule and the target at its end.
        pattern: `pattern.at(target)` is the pattern on the way.
        names: of the weights.
        score: scores a network's weights, by name; called at every update with the network that trains.
        dividing: the target among the weights; None: each has the target.
    """

    leaves: ClassVar[str] = MASKS

    course: Course
    pattern: Any
    names: tuple[str, ...]
    score: Callable[[Network], Mapping[str, Tensor]] = unhashed()
    dividing: Dividing | None = later(None)

    def begin(self, network: Network, moment: Moment) -> nn.Module:
        """The masks: those that the network comes with, which this pattern will replace, or none."""
        state = nn.Module()
        for number, name in enumerate(self.names):
            weight, mask = network.module.get_parameter(name), network.masks.get(name)
            keep = torch.ones(weight.shape, dtype=torch.bool) if mask is None else mask.keep.clone()
            state.register_buffer(f"keep{number}", keep)
        return state

    def before_step(self, network: Network, state: nn.Module | None, moment: Moment) -> None:
        """New masks where the schedule asks for them, and those of the target at the last step in any case."""
        schedule, final = self.course.schedule, self.course.target
        last = moment.step == moment.total - 1
        target = schedule.target_at(final, moment.step, moment.total, moment.per_epoch)
        if target is None and not last:
            return
        let_go(network)
        found = self.score(network)
        masks = self._masks(state)
        scores = {name: found[name].to(keep.device).masked_fill(~keep, -torch.inf) for name, keep in masks}
        divided = self._divided(scores, final if last or target is None else target)
        for name, keep in masks:
            keep &= self.pattern.at(divided[name]).mask(scores[name])
        self._hold(network, state)

    def _divided(self, scores: Mapping[str, Tensor], target: float) -> Mapping[str, float]:
        """The share of zeros of each weight on the way."""
        return self.dividing.at(self.pattern, scores, target) if self.dividing else dict.fromkeys(scores, target)

    def after_step(
        self, network: Network, optimizer: torch.optim.Optimizer, state: nn.Module | None, moment: Moment
    ) -> None:
        """What is removed stays zero, also in the optimizer's state."""
        self._hold(network, state, optimizer)

    def finish(self, network: Network, state: nn.Module | None) -> Network:
        """The network with its masks, which hold after other companions have finished too."""
        self._hold(network, state)
        return network.restricted({name: self._mask(keep) for name, keep in self._masks(state)})

    def _hold(self, network: Network, state: nn.Module | None, optimizer: torch.optim.Optimizer | None = None) -> None:
        masks = {name: (Mask("", keep),) for name, keep in self._masks(state)}
        hold(network.module, masks, optimizer)

    def _mask(self, keep: Tensor) -> Mask:
        """A mask, named by the target, or by its own share of zeros where weights have different ones."""
        share = self.course.target
        if self.dividing is not None:
            share = 1 - float(self.pattern.split(keep)[:, 0].double().mean())
        return Mask(str(self.pattern.at(share)), keep)

    def _masks(self, state: nn.Module | None) -> list[tuple[str, Tensor]]:
        assert state is not None
        return [(name, state.get_buffer(f"keep{number}")) for number, name in enumerate(self.names)]
