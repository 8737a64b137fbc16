"""Which numbers a quantized tensor may hold, and the methods that decide it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

from recipelang.kinds.progress import Progress
from recipelang.kinds.restriction import Restriction
from recipelang.kinds.seen import Moment
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

    from recipelang.plan import Selection

#: what can be quantized
QUANTIZED = ("weights", "activations")
#: bits of a grid, unless a method says otherwise
BITS = tuple(range(2, 9))


@dataclass(frozen=True)
class Scheme:
    """The integers of a grid.

    Attributes:
        bits: of one number.
        signed: whether they may be negative: weights are, activations have a zero point instead.
        symmetric: whether zero is the integer 0, and -w is on the grid where w is.
        axis: of the tensor, along which each row has a grid of its own; None: one grid for all.
        group: inputs of a row that share a scale: this many neighbours along the other axes, flattened; the last group
            of a row may be smaller. None: the whole row shares one.
    """

    bits: int
    signed: bool = False
    symmetric: bool = False
    axis: int | None = None
    group: int | None = None

    @property
    def low(self) -> int:
        """The smallest integer; symmetric 8 bits have -127…127."""
        return -(2 ** (self.bits - 1)) + self.symmetric if self.signed else 0

    @property
    def high(self) -> int:
        """The largest integer."""
        return 2 ** (self.bits - 1) - 1 if self.signed else 2**self.bits - 1


@dataclass(frozen=True)
class Observed:
    """What was seen at a place.

    Attributes:
        low, high: the extremes of everything: () where one range is wanted, (C,) where each row of the scheme's axis
            has one, (C, G) where each group of a row has one.
        values: the values, with one more axis at the end: (N,), (C, N) or (C, G, N). All of a weight (a last group
            that is incomplete repeats its values), a bounded sample of an activation; None where the method needs
            extremes alone.
    """

    low: Tensor
    high: Tensor
    values: Tensor | None = None


#: what was seen at a place, and the integers of the grid that is sought for it
Sought: TypeAlias = tuple[Observed, Scheme]
#: place → its restriction: the loss of the network with them
Loss: TypeAlias = Callable[[Mapping[str, Restriction]], float]


class Quantizer(Protocol):
    """`quantize … by NAME(…)`: which numbers a weight or an activation may hold, and how they are learned, if they are.

    A method that only chooses ranges defines `range`; what is outside a range is clipped to its ends. A grid is
    decided by its range: `Grid.between` widens it to hold zero, so that no method can lose the zeros of masks, padding
    and ReLU. A method with other numbers than those of a grid defines `restriction`. One that takes part in later
    training (`learns`) also says what computes there.

    The settings `per`, `form` and `group` are read where a method has them: `per` is `channel` (each output of a
    weight has a range of its own; the default), `tensor` or `group`; `form` is `symmetric` or `affine`, by default the
    first for weights and the second for activations; `group` is the number of inputs in a group. An activation has one
    range.

    Inherit from this class: what does not concern a method then has its default.

    Attributes:
        needs: `extremes` of activations, `samples` for a bounded sample of their values as well, or `loss` for a
            function of the whole network's loss. All values of a weight are always there.
        parts: what it can quantize; `check` refuses the others.
        bits: the widths that it has; `check` refuses the others.
        learns: whether it takes part in training. Its spelling is then in `trained` of the restrictions.
        keeps_zero: whether zero stays zero; where it does not, masked weights are refused.
        uniform: whether the numbers of a weight are those of a uniform grid; where not, most rounders are refused.
        ends: whether the first and the last layer are quantized where the recipe selects no modules with `in`.
        inputs_of_products: whether activations are what products read, before a ReLU, so that sums read numbers that
            are not quantized; else they are what functions return.
        observes: whether it looks at activations; without, `Observed` is what `known` says, and no data are needed.
        products: the layers that it quantizes: `linear`, `convolution`, `transposed convolution`; () is all, and sums.
    """

    needs: ClassVar[str] = "extremes"
    parts: ClassVar[tuple[str, ...]] = QUANTIZED
    bits: ClassVar[tuple[int, ...]] = BITS
    learns: ClassVar[bool] = False
    keeps_zero: ClassVar[bool] = True
    uniform: ClassVar[bool] = True
    ends: ClassVar[bool] = True
    inputs_of_products: ClassVar[bool] = False
    observes: ClassVar[bool] = True
    products: ClassVar[tuple[str, ...]] = ()

    def prepared(self, network: Any, selection: Selection) -> tuple[Any, Selection]:
        """The `Network` that is quantized in place of this one, and the selection in it; here both as they are."""
        return network, selection

    def why_not(self, observed: Observed) -> str:
        """Why an activation of which this was seen stays in floating point; "" where it need not.

        One that was always zero does: the grid of a range without width would clip whatever comes later.
        """
        always = not bool(observed.low.any() or observed.high.any())
        return "it was zero on all samples" if always else ""

    def known(self, network: Any, places: Sequence[str]) -> tuple[Mapping[str, Observed], Mapping[str, str]]:
        """Of a quantizer that does not observe activations: what it knows of them, here nothing, 0 to 0; and the places
        of which it would have to know more, which stay in floating point, with the reason.

        Args:
            network: a `Network`.
            places: of the activations.
        """
        return dict.fromkeys(places, Observed(torch.zeros(()), torch.zeros(()))), {}

    def range(self, observed: Observed, scheme: Scheme) -> tuple[Tensor, Tensor]:
        """The smallest and the largest value of the grid, of the shape of `observed.low`."""
        raise TypeError(f"{type(self).__name__} chooses no range")

    def restriction(self, observed: Observed, scheme: Scheme) -> Restriction | None:
        """What the tensor is restricted to; None: the grid over `range` (`Grid.between`)."""
        return None

    def joint(self, sought: Mapping[str, Sought], loss: Loss, progress: Progress) -> Mapping[str, Restriction]:
        """The restrictions of all places together; asked, instead of `range` and `restriction`, where it needs `loss`.

        Args:
            sought: place → what was seen there, with values, and the integers of its grid.
            loss: the mean loss, on the samples of the statement, of the network with restrictions at these places.
            progress: what is told while the loss is computed again and again.
        """
        raise TypeError(f"{type(self).__name__} chooses each range alone")

    def begin(self, one: Restriction, value: Tensor | None) -> nn.Module | None:
        """Its state at a place before training: parameters are trained along, buffers are its own numbers.

        Args:
            one: the restriction that training starts from.
            value: the weight; None for an activation.
        """
        return None

    def computed(self, value: Tensor, one: Restriction, state: nn.Module | None, moment: Moment) -> Tensor:
        """What computes in place of the value in a step of training; here: straight through the rounding.

        Args:
            value: a weight of any shape, or an activation B×C×…; what a linear layer alone reads, B×…×C, comes as
                B×C×… too.
            one: the restriction that training started from.
            state: of its place.
            moment: where the training is.
        """
        return one.apply(value)

    def penalty(self, one: Restriction, state: nn.Module | None, moment: Moment) -> Tensor | None:
        """A scalar that is added to the loss; None adds nothing."""
        return None

    def after_step(
        self,
        parameter: Tensor | None,
        one: Restriction,
        state: nn.Module | None,
        moment: Moment,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """After an update, without gradients: the weight (None for an activation) and the state may be changed.

        Masks hold again afterwards.
        """
        return None

    def finish(self, one: Restriction, state: nn.Module | None, value: Tensor | None) -> Restriction:
        """The restriction with which the network is executed after training, of the same kind as before.

        Args:
            one: the restriction that training started from.
            state: of `begin`, on the CPU as everything here.
            value: the weight, which may be changed in place where what was computed is not its nearest numbers; None
                for an activation.
        """
        return one
