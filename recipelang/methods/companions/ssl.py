"""`with ssl(1e-3)`, `prune filters by ssl for 10 epochs`: a group lasso, after which whole structures are zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from recipelang.catalogue import method, setting
from recipelang.errors import SettingError
from recipelang.kinds import MASKS, Finished, Moment, Seen, Unit
from recipelang.lazy import torch
from recipelang.methods.companions._deciding import Deciding
from recipelang.plan import Selection, later

if TYPE_CHECKING:
    from torch import Tensor, nn

    from recipelang.measuring.lasso import Lassoed

#: λ where a recipe names none
USUAL = 1e-3
#: what is shrunk first: groups inside others before those that hold them
ORDER = ("shapes", "channels", "parts", "depth")


def _more(what: str) -> Any:
    """A factor λ for another sort of groups; off where it is left out."""
    return setting(None, type="number", low=0, open_low=True, ramp=True, help=f"Factor λ for {what}; left out: none.")


@method("companion", "ssl")
@dataclass(frozen=True)
class Ssl(Deciding):
    """Structured sparsity learning: a group lasso that makes whole filters, channels, columns or blocks exactly zero.

    What: the training decides which structures stay, and how many of each layer.
    Formula: loss + Σ_sorts λ · Σ_groups ‖w_g‖₂. With `proximal`, each step of the optimizer with rate η is followed by
        w_g ← max(0, 1 − η·λ/‖w_g‖) · w_g, which is argmin_u ½‖u − w_g‖² + η·λ·‖u‖: groups become exactly zero. Without,
        the penalty is in the loss, as in the paper: groups become small, and what is removed is left to `prune`.
    Groups: of `unit`, with `strength`: all weights, biases and norms that make a part which `prune` could remove, in
        every layer that is added to it, so that a group of zeros is a channel of zeros, also after BatchNorm (the
        paper's networks have no norms: its group is W[n, :, :, :]); `unit=layers`, or `depth`: all parameters of a
        block that its skip connection replaces. `channels`: W[:, c, :, :] of each weight. `shapes`: W[:, c, y, x], a
        column of the matrix that a convolution is computed with.
    Several sorts: nested groups are shrunk from the inside out, which is the proximal step of their sum (Jenatton et
        al. 2011); where groups cross, as filters and channels do, one after another, an incremental proximal method
        (Bertsekas 2011).
    Leaves: parts and blocks of zeros are removed, with parity; so are channels that no weight reads any more. Columns
        of zeros become masks. Convolutions in groups have no `channels` and no `shapes`.
    Collapse: where all other groups of a layer are zero, the strongest is not shrunk: one part, or one column, of every
        layer stays, and the record names the layer.
    Widths: as for `prune filters`: what stays is rounded (`unit=filters(round=1)` for any width).
    Measured: a step costs 1.02 (filters) to 1.03 (blocks, channels) of a plain one in processor time: ResNet-20,
        batches of 128, bfloat16, one thread (`benchmarks/companions.py`).
    When it misleads: a step takes at most η·λ from the norm of a group, so a short training with a small rate removes
        nothing: η·λ times the number of steps has to reach the norms. λ acts on the size of weights, and a weight
        before BatchNorm has any size. The step is that of gradient descent with rate η; with momentum, and even more
        with Adam, it is a heuristic. All that stays is shrunk as well: tune afterwards without it.
    Source: Wen, Wu, Wang, Chen, Li, "Learning structured sparsity in deep neural networks", NeurIPS 2016, equations 1
        to 4; proximal step: Yuan and Lin 2006.
    """

    units: ClassVar[tuple[str, ...]] = ("filters", "neurons", "heads", "layers")

    strength: Any = setting(
        None, type="number", low=0, open_low=True, ramp=True, positional=True,
        help="Factor λ for the parts of `unit`; default 1e-3 where no other is given.",
    )  # fmt: skip
    unit: Any = setting(None, type="method", kind="unit", help="What parts are; default `filters`.")
    channels: Any = _more("input channels of each weight")
    shapes: Any = _more("columns of each weight")
    depth: Any = _more("blocks beside a skip connection")
    proximal: bool = setting(True, type="boolean", help="Whether a proximal step makes groups exactly zero.")
    selection: Selection = later(Selection())

    def __post_init__(self) -> None:
        unit = self.chosen
        if self.unit is not None and "parts" not in self.strengths:
            message = f"`unit={unit.name}` has no strength"
            raise SettingError("unit", message, f"write `ssl({USUAL:g}, unit={unit.name}, …)`, or leave `unit` out")
        if unit.name == "layers" and self.depth is not None:
            raise SettingError("depth", "`unit=layers` and `depth` are the same groups", "leave one of them out")
        if not self.proximal or set(self.strengths) == {"shapes"}:  # no group becomes zero, or only columns do
            object.__setattr__(self, "leaves", MASKS if self.proximal else "")

    @property
    def strengths(self) -> dict[str, Any]:
        """Sort of groups → λ, in the order in which they are shrunk."""
        given = {"shapes": self.shapes, "channels": self.channels, "parts": self.strength, "depth": self.depth}
        found = {sort: given[sort] for sort in ORDER if given[sort] is not None}
        return found or {"parts": USUAL}

    def of(self, unit: Unit, selection: Selection) -> Self:
        """Groups of this unit of `prune`, in these modules."""
        strength = USUAL if self.strength is None else self.strength
        return replace(self, unit=unit, selection=selection, strength=strength)

    def foresee(self, network: Any) -> tuple[str, ...]:
        """How many groups of which sort it finds.

        Raises:
            Refusal: RCP0910: a sort has no group here; RCP0703: an entry of the selection matches nothing; RCP0718: the
                network cannot be traced.
        """
        return self._found(network).words

    def begin(self, network: Any, moment: Moment) -> nn.Module:
        """The groups. What follows from the network alone is no part of a checkpoint."""
        from recipelang.measuring.lasso import LassoState

        return LassoState(self._found(network))

    def penalty(self, seen: Seen, state: Any, moment: Moment) -> Tensor | None:
        """Σ λ · Σ ‖w_g‖, a scalar in float32; None where a proximal step takes its place."""
        if self.proximal:
            return None
        parameters = named(seen.network)
        each = [moment.value(value) * state[sort].norms(parameters).sum() for sort, value in self.strengths.items()]
        return torch.stack(each).sum()

    def after_step(self, network: Any, optimizer: Any, state: Any, moment: Moment) -> None:
        """The proximal step with the optimizer's rate."""
        from recipelang.measuring.proximal import shrink

        if self.proximal:
            rate, parameters = optimizer.param_groups[0]["lr"], named(network)
            for sort, value in self.strengths.items():
                shrink(state[sort], parameters, rate * moment.value(value))

    def finish(self, network: Any, state: Any) -> Finished:
        """Masks of columns of zeros, and the decision to remove parts and blocks of zeros."""
        from recipelang.measuring.lasso import finished

        return finished(network, state) if self.proximal else Finished(network)

    def _found(self, network: Any) -> Lassoed:
        from recipelang.measuring.lasso import look_for_groups

        return look_for_groups(network, tuple(self.strengths), self.chosen, self.selection)


def named(network: Any) -> Mapping[str, Tensor]:
    """Name → parameter, under all of its names."""
    return dict(network.module.named_parameters(remove_duplicate=False))
