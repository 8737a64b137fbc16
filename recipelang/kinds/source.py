"""Where samples come from, where no split of the data is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from recipelang.kinds.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor


class Source(Protocol):
    """`quantize … on NAME(…)`: inputs that are made from the network alone.

    Attributes:
        samples: how many there are.
        together: how many are made at a time; what is done is stored after each time.
    """

    @property
    def samples(self) -> int: ...
    @property
    def together(self) -> int: ...

    def require_network(self, network: Any) -> None:
        """Refuse a `Network` of which no inputs can be made, as far as its modules tell.

        Raises:
            Refusal: with the reason.
        """

    def make(self, module: Any, start: Tensor, progress: Progress, brief: bool) -> tuple[Tensor, float, float]:
        """Inputs B×…, and how far the network is from what it should see, before and after.

        Args:
            module: in evaluation mode, on its device; it is not changed.
            start: B×…, standard normal numbers, on the same device.
            progress: what is told of each step; it has been started.
            brief: whether a few steps are enough.
        """
