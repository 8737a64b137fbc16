"""`sparsify nm N:M`: at most n of every m weights along the input channels are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import SettingError

if TYPE_CHECKING:
    from torch import Tensor


@method("pattern", "nm")
@dataclass(frozen=True)
class NM:
    """At most n of every m weights along the input channels are nonzero.

    Written `nm 2:4`. Groups of m are consecutive along the input channels of a weight O×I (linear) or O×I×kh×kw
    (convolution, for each position of the kernel); of each group the weights with the n highest scores are kept; of
    equal scores, the first.

    What: the only fine-grained pattern that hardware executes faster: 2:4 on NVIDIA GPUs since Ampere.
    Formula: keep = top-n of scores[o, m·g … m·g+m−1, y, x] for every o, g, y, x.
    Shapes: scores O×I or O×I×kh×kw → mask of the same shape, I a multiple of m.
    When it misleads: on a CPU, and on any machine for a pattern other than 2:4, masked weights run as dense: fewer
    nonzero numbers, the same time. Layers whose number of input channels is not a multiple of m, and grouped
    convolutions, stay dense; the report names them.
    Source: Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks"; thesis Fig. 2.4.
    """

    target: ClassVar[str] = ""
    across: ClassVar[bool] = True

    n: int = setting(2, type="integer", low=1, help="Weights kept in every group.")
    m: int = setting(4, type="integer", low=2, help="Length of a group of input channels.")

    def __post_init__(self) -> None:
        if not 0 < self.n < self.m:
            right = f"{self.m}:{self.n}" if self.n > self.m > 0 else "2:4"
            raise SettingError(
                "n",
                f"`nm {self.n}:{self.m}` keeps {self.n} of every {self.m} weights: that is not a sparsity pattern",
                f"n of m weights are kept, n less than m: `nm {right}`",
            )

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"

    @property
    def restriction(self) -> str:
        """The restriction that the pattern imposes on the network for the hardware."""
        return str(self)

    def refuses(self, weight: Tensor) -> str | None:
        """Why this weight (O×I or O×I×kh×kw) cannot take the pattern; None if it can."""
        from recipelang.kernels.nm.reference import why_not

        return why_not(weight, self.m)

    def mask(self, scores: Tensor) -> Tensor:
        """Scores O×I or O×I×kh×kw → bool of the same shape, True where the weight is kept.

        Raises:
            Refusal: RCP0704: a score is NaN.
        """
        from recipelang.kernels.nm.reference import nm_mask

        return nm_mask(scores, self.n, self.m)

    def holds(self, weight: Tensor) -> bool:
        """Whether the weight is in the pattern."""
        from recipelang.kernels.nm.reference import nm_holds

        return nm_holds(weight, self.n, self.m)
