"""Masks that move while a network trains, at a share of zeros that stays: what such schedules and companions share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import setting
from recipelang.errors import SettingError
from recipelang.kinds import MASKS, Companion, Figure, Finished, Masking, Moment
from recipelang.lazy import torch
from recipelang.methods.schedules._marks import end_mark
from recipelang.plan import Duration, Mark
from recipelang.units import show

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Moving:
    """A schedule that moves masks at intervals of `every`, until some time before the end of the training.

    An update comes after `every`, 2 · `every`, … optimizer steps, while they are fewer than those until `end`.
    """

    name: ClassVar[str]
    moves: ClassVar[tuple[str, ...]] = ("masks",)
    ranks: ClassVar[bool] = False
    single: ClassVar[bool] = False
    #: the part of the training after which nothing moves, where no `end` is given
    lasts: ClassVar[float] = 1.0

    every: Duration = setting(Duration(1), type="duration", help="The time from one update to the next.")
    end: Duration | None = setting(
        None, type="duration", help="When masks stop moving; the end of the training by default."
    )

    def __post_init__(self) -> None:
        if not self.every.count:
            raise SettingError("every", "an update `every=0` never comes", "write, for example, `every=100 steps`")
        if self.end and self.end.unit == self.every.unit and self.end.count <= self.every.count:
            message = f"`{self.name}` ends at {self.end}, before its first update at {self.every}"
            raise SettingError("end", message, "write a smaller `every`, or a later `end`")

    def until(self, total: int, steps_per_epoch: int) -> int:
        """The number of steps after which nothing moves; of a training of `total` steps."""
        asked = round(self.end.steps(steps_per_epoch)) if self.end else round(self.lasts * total)
        return min(total, asked)

    def target_at(self, final: float, step: int, total: int, steps_per_epoch: int) -> float | None:
        """The target at the first step and after each update; None where nothing moves."""
        between = step % max(1, round(self.every.steps(steps_per_epoch)))
        return None if between or (step and step >= self.until(total, steps_per_epoch)) else final

    def why_not(self, final: float) -> str:
        """Every share of zeros can be kept."""
        return ""

    def marks(self) -> tuple[Mark, ...]:
        """The first update, and its end."""
        first = Mark("every", self.every, f"there is no update after {self.every}")
        return first, *end_mark(self.end)

    def telling(self, final: float, total: int, steps_per_epoch: int) -> str:
        """How often it moves masks, for a plan."""
        found = [step for step in range(1, total) if self.target_at(final, step, total, steps_per_epoch) is not None]
        last = f", the last time at epoch {found[-1] / steps_per_epoch:.3g}" if found else ""
        return f"{self.name} moves masks {len(found)} time{'s' * (len(found) != 1)} at {show(final, '%')} zeros{last}"


@dataclass(frozen=True)
class Weight:
    """One weight that trains under a mask.

    Attributes:
        name: of the parameter.
        number: of the weight among those of the schedule.
        value: the parameter.
        keep: bool, its shape and memory format; changed in place.
        pattern: divides it into pieces.
    """

    name: str
    number: int
    value: Tensor
    keep: Tensor
    pattern: Any

    def pieces(self, elements: Tensor) -> Tensor:
        """The sum over each piece of a tensor of the weight's shape: N, float32."""
        found: Tensor = self.pattern.split(elements.detach().float()).sum(1)
        return found

    @property
    def sizes(self) -> Tensor:
        """The sum of the absolute weights of each piece: N."""
        return self.pieces(self.value.detach().abs())

    @property
    def gradients(self) -> Tensor:
        """The sum of the absolute gradients of each piece, removed ones included: N."""
        gradient = self.value.grad
        return self.pieces(torch.zeros_like(self.value) if gradient is None else gradient.abs())

    @property
    def kept(self) -> Tensor:
        """Which pieces may be nonzero: bool N, a copy."""
        found: Tensor = self.pattern.split(self.keep)[:, 0].clone()
        return found

    def set(self, kept: Tensor) -> None:
        """Let only these pieces be nonzero; bool N."""
        self.keep.copy_(self._elements(kept))

    def start(self, came: Tensor) -> None:
        """Give these pieces random values, as torch initialises a layer: uniform in ±1/√(inputs); bool N."""
        # Drawn on the CPU, so that every device draws the same.
        values = (2 * torch.rand(self.value.shape) - 1).to(self.value) / math.sqrt(self.value[0].numel())
        self.value.copy_(torch.where(self._elements(came), values, self.value))

    def _elements(self, pieces: Tensor) -> Tensor:
        """N → bool of the weight's shape."""
        width = self.pattern.split(self.keep).shape[1]
        found: Tensor = self.pattern.joined(pieces[:, None].expand(-1, width), self.keep)
        return found


@dataclass(frozen=True)
class MovingMasks(Companion):
    """Masks on the pieces of some weights, as buffers of its state; a subclass says when and how they move.

    At the start, the largest weights are kept, or random ones where the training starts from scratch.
    """

    leaves: ClassVar[str] = MASKS
    came: ClassVar[str] = "moved"  # what has become of the weights that came, in words

    masking: Masking

    @property
    def schedule(self) -> Any:
        """The schedule with its settings."""
        return self.masking.course.schedule

    def begin(self, network: Any, moment: Moment) -> nn.Module:
        """The masks at the start, as buffers `keep0`, `keep1`, … of the weights' memory formats; and how many weights
        have come since, as `moved`."""
        state = torch.nn.Module()
        for number, name in enumerate(self.masking.names):
            weight = network.module.get_parameter(name).detach()
            # Drawn on the CPU, so that every device draws the same.
            scores = torch.rand(weight.shape).to(weight.device) if self.masking.scratch else weight.abs()
            keep = self.masking.pattern.at(self.masking.shares[name]).mask(scores)
            state.register_buffer(f"keep{number}", torch.empty_like(weight, dtype=torch.bool).copy_(keep))
        state.register_buffer("moved", torch.zeros((), dtype=torch.int64))
        return state

    @contextmanager
    def counted(self, network: Any, state: Any) -> Iterator[None]:
        """The weights that come inside the block are counted."""
        before = [weight.keep.clone() for weight in self.weights(network, state)]
        yield
        for weight, kept in zip(self.weights(network, state), before, strict=True):
            state.moved += (weight.keep & ~kept).sum()

    def finish(self, network: Any, state: Any) -> Finished:
        """The network with its masks, which hold after other companions have finished too."""
        self.hold(network, state)
        found = {one.name: self._mask(one) for one in self.weights(network, state) if not bool(one.keep.all())}
        masked = network.restricted(found)
        return Finished(masked, reached=(Figure(self.came, int(state.moved), noun="weight"),))

    def weights(self, network: Any, state: Any) -> tuple[Weight, ...]:
        """The weights with their masks."""
        pattern = self.masking.pattern
        return tuple(
            Weight(name, number, network.module.get_parameter(name), state.get_buffer(f"keep{number}"), pattern)
            for number, name in enumerate(self.masking.names)
        )

    def hold(self, network: Any, state: Any, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Set what is masked to zero, also in the optimizer's state."""
        hold(self.weights(network, state), optimizer)

    def _mask(self, weight: Weight) -> Any:
        """The mask of a weight, named by the share of zeros that was asked of it, or by its own where that moved."""
        from recipelang.surgery.restrictions.mask import Mask

        asked, kept = self.masking.shares[weight.name], weight.kept
        own = 1 - float(kept.double().mean())
        share = asked if 0 <= own - asked < 1 / len(kept) else own  # a share is rounded up to whole pieces
        return Mask(str(self.masking.pattern.at(share)), weight.keep)


@dataclass(frozen=True)
class Rewiring(MovingMasks, ABC):
    """Keeps a share of each weight's pieces nonzero and moves them by a law, which a subclass says in `rewire`.

    What is removed is zero, also in the optimizer's state, and what is added starts at zero, where a law says nothing
    else.
    """

    def before_step(self, network: Any, state: Any, moment: Moment) -> None:
        """The masks of the start hold from the first step on."""
        if not moment.step:
            self.hold(network, state)

    def after_step(self, network: Any, optimizer: torch.optim.Optimizer, state: Any, moment: Moment) -> None:
        """Masks hold, also in the optimizer's state; then they move, where the schedule says so."""
        self.hold(network, state, optimizer)
        done = moment.step + 1
        at = self.schedule.target_at(self.masking.course.target, done, moment.total, moment.per_epoch)
        if at is not None and done < moment.total:
            with torch.no_grad(), self.counted(network, state):
                self.rewire(self.weights(network, state), optimizer, state, moment)

    @abstractmethod
    def rewire(self, weights: Sequence[Weight], optimizer: torch.optim.Optimizer, state: Any, moment: Moment) -> None:
        """Move the masks, in place, and hold them; gradients of the step are in `value.grad`."""


def hold(weights: Sequence[Weight], optimizer: torch.optim.Optimizer | None = None) -> None:
    """Set what is masked to zero, and every state of the optimizer that has a weight's shape with it."""
    from recipelang.surgery.restrictions.mask import Mask

    for weight in weights:
        Mask("", weight.keep).hold(weight.value, optimizer)
