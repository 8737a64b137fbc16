"""What limits the numbers at a place of a network: masks, grids of quantization."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Restriction(Protocol):
    """What limits the numbers at a place of a network, kept beside its module: a mask, a grid of quantization.

    A frozen dataclass in one file under `surgery/restrictions/`, named by its kind. `json` and `tensors` together are
    everything that it is: digests, artifacts and the store ask for nothing else, and `read` makes it again from them.

    Attributes:
        kind: the file's name; at most one restriction of a kind is at a place.
        computes: whether `apply` is part of what the network computes. A restriction that is not holds its parameter
            after every step instead, so that nothing has to be applied.

    Optional:
        bits: how many bits a number takes under it; without it, as many as before.
    """

    kind: ClassVar[str]
    computes: ClassVar[bool]

    @property
    def name(self) -> str:
        """For reports: `2:4`, `8 bits`."""

    def why_not(self, value: Tensor) -> str:
        """Why it cannot be on this parameter or activation; "" where it can. Continues "the KIND of `PLACE` …"."""

    def apply(self, value: Tensor) -> Tensor:
        """What computes in place of a parameter or activation, of the same shape, with gradients for training."""

    def hold(self, parameter: Tensor, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Bring a parameter, and the optimizer's state of it, back to what is allowed, in place."""

    def gathered(self, gradient: Tensor) -> Tensor:
        """The gradient with which an optimizer moves the parameter, for that of the loss."""

    def holds(self, value: Tensor) -> bool:
        """Whether a parameter is as `hold` leaves it."""

    def carried(self, shape: torch.Size, change: Callable[[Tensor], Tensor]) -> Restriction:
        """The restriction after its parameter was reordered or cut.

        Args:
            shape: of the parameter before.
            change: reorders or cuts a tensor of that shape as it did the parameter.

        Raises:
            Refusal: it cannot be on what is left of the parameter.
        """

    def stored(self, value: Tensor | None) -> int | None:
        """Bytes that a file needs for this parameter (None: an activation), the restriction included; None where it
        needs no other number of bytes than without it."""

    def tensors(self) -> Mapping[str, Tensor]:
        """Its tensors, by names of its own."""

    def json(self) -> dict[str, Any]:
        """Everything else, as JSON; `kind` is added."""

    @classmethod
    def read(cls, told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Restriction:
        """The restriction that an untrusted file describes.

        Raises:
            Wrong: `recipelang.surgery.entries.Wrong`: it describes none.
        """
