"""How weights are rounded to the numbers of their grids: `quantize … with NAME(…)`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.kinds.progress import Progress
    from recipelang.kinds.restriction import Restriction

#: what a rounder may take as one piece
UNITS = LAYER, BLOCK, NETWORK = "layer", "block", "network"


class Piece(Protocol):
    """Weights that are rounded together, and what is known of what they compute.

    The network before this statement says what is wanted. What enters a piece is what the network gives whose earlier
    pieces are rounded already, so that a piece can make up for them. Everything is gathered when it is first asked
    for, and what is kept is bounded in bytes, however many samples the data has.

    Attributes:
        name: of the weight, or path of the module.
        weights: parameter name → its value in full precision, float32.
        grids: parameter name → the restriction that its values shall meet.
        keep: parameter name → bool, True where a mask lets it be nonzero; only of weights with a mask.
        batches: the number of batches that are kept: rows that enter a layer, or what enters a block with some images.
        seed: of everything that is drawn; the same for the same piece of the same step.
        brief: whether a few steps are enough (`--smoke`).
    """

    name: str
    weights: Mapping[str, Tensor]
    grids: Mapping[str, Restriction]
    keep: Mapping[str, Tensor]
    seed: int
    brief: bool

    @property
    def batches(self) -> int: ...

    def computed(self, values: Mapping[str, Tensor], batch: int) -> Tensor:
        """What the piece makes of a batch with these values of its weights, with gradients: N×O rows, or as the module
        returns it."""

    def wanted(self, batch: int) -> Tensor:
        """What the network before this statement made there of the same batch."""

    def sensitivity(self, batch: int) -> Tensor:
        """The squared gradient of the task's loss of each sample by what the network before made there, of the shape
        of `wanted`; relative to its mean. Ones where the loss does not depend on it, and for the rows of a layer."""

    def moments(self, name: str) -> Tensor | None:
        """2/rows · XᵀX of all rows X that enter a weight in G groups, G×K×K, K in the order kernel…, I; None where
        what enters is not observed."""

    def expected(self, name: str) -> Tensor | None:
        """The mean of what enters a weight as BatchNorm tells without data, G×K, K in the order kernel…, I; None where
        it does not."""

    def means(self, name: str) -> tuple[Tensor, Tensor] | None:
        """The means of all rows that enter a weight, in the network before and in that whose earlier pieces are
        rounded: G×K each, float64; None where what enters is not observed."""


@dataclass(frozen=True)
class Rounded:
    """What a rounder answers.

    Attributes:
        values: parameter name → new value, ON its grid: rounding it to nearest gives the same codes, so that the
            weight and its grid are all that has to be kept. Zeros of masks are zeros.
        shifts: parameter name → what is added to each of its outputs.
        grids: parameter name → another grid than the one that was given.
        left: parameter name → why it is rounded to nearest alone.
    """

    values: Mapping[str, Tensor]
    shifts: Mapping[str, Tensor] = field(default_factory=dict)
    grids: Mapping[str, Restriction] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)


class Rounder(Protocol):
    """`quantize weights … with NAME(…)`: which number of its grid every weight becomes.

    A rounder keeps no state: what stays of it are weights and grids. Pieces come in order of execution, and a run that
    is killed begins again with the piece at which it was.

    Attributes:
        looks_at_data: whether the statement needs `on`.
        uniform: whether it goes from one number of a uniform grid to the next; `quantize` then refuses codebooks.
        unit: what a piece is: `layer` (one weight), `block` (the weights between two places through which everything
            passes) or `network`.
    """

    @property
    def looks_at_data(self) -> bool: ...

    @property
    def uniform(self) -> bool: ...

    @property
    def unit(self) -> str: ...

    def round(self, piece: Piece, progress: Progress) -> Rounded:
        """New values of the weights of a piece.

        Args:
            piece: its tensors are read-only.
            progress: shows how far it is.

        Raises:
            Refusal: its weights cannot be rounded so.
        """


def as_matrices(weight: Tensor, groups: int = 1) -> Tensor:
    """O×I×kernel… → G×O/G×K, K in the order kernel…, I: as `Piece.moments` has it."""
    return weight.movedim(1, -1).flatten(1).unflatten(0, (groups, -1))


def as_weight(matrices: Tensor, like: Tensor) -> Tensor:
    """The inverse of `as_matrices`, of the shape of a weight."""
    return matrices.reshape(like.movedim(1, -1).shape).movedim(-1, 1).contiguous()


def masked(piece: Piece, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The values with zeros where masks have them."""
    return {name: value * piece.keep[name] if name in piece.keep else value for name, value in values.items()}


def nearest(piece: Piece) -> dict[str, Tensor]:
    """The nearest numbers of the grids: where every rounder starts, and what it answers of weights left alone."""
    grids: Mapping[str, Any] = piece.grids
    return masked(piece, {name: grids[name].apply(weight) for name, weight in piece.weights.items()})
