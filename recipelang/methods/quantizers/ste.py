"""`ste`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Moment, Observed, Scheme
from recipelang.methods.quantizers._learning import least_squares
from recipelang.methods.quantizers._uniform import Uniform

if TYPE_CHECKING:
    from torch import Tensor


@method("quantizer", "ste")
@dataclass(frozen=True)
class Ste(Uniform):
    """The plain straight-through estimator: in training, rounding has the gradient of the identity everywhere.

    What: the baseline of quantization-aware training. Grids stay as they are; only weights learn.
    Formula: v̂ = the nearest number of the grid; ∂v̂/∂v = 1, also outside the range of the grid, where every other
        quantizer here has 0.
    Shapes: those of the grids.
    Needs: training after it. The grids are those of least squared error.
    When it misleads: a value far outside keeps moving although nothing changes with it; `minmax` with training after it
        stops there, and `lsq` moves the range instead.
    Source: Bengio, Léonard and Courville 2013, "Estimating or Propagating Gradients Through Stochastic Neurons",
        section 4; for grids: Krishnamoorthi 2018, arXiv:1806.08342, section 2.3.
    """

    needs: ClassVar[str] = "samples"
    learns: ClassVar[bool] = True

    def range(self, observed: Observed, scheme: Scheme) -> tuple[Tensor, Tensor]:
        """That of least squared error."""
        return least_squares(observed, scheme)

    def computed(self, value: Tensor, one: Any, state: Any, moment: Moment) -> Tensor:
        """v̂, with the gradient of v."""
        from recipelang.surgery.snapping import passed

        return passed(value, one.apply(value.detach()))
