"""`ablate`, `ablate(by=score)`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import Refusal
from recipelang.kinds import Ablation, Evidence
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@method("criterion", "ablate")
@dataclass(frozen=True)
class Ablate:
    """How much worse the network is without the part, tried for each part alone.

    Formula: loss of the network without the part minus that of the whole network, or with `by=score` what the task
        shows of a training, accuracy or PSNR: that of the whole network minus that without the part.
    Parts: a layer leaves its skip connection; a channel's parameters are zero, in all layers that hold it, as when it
        is removed. No training follows.
    Shapes: one score for each layer, or N for a group of N channels.
    Needs: one pass over the training images for every part, and one for the whole network: 28 for the blocks of
        ResNet-56, 1,009 for the filters of its groups; so write `on train(samples=512)`. It scores no single weights.
    When it misleads: it judges one removal without training. Parts that replace each other all look dispensable, and
        leave together; what training would recover from counts as much as what it would not.
    Source: Elkerdawy et al., "To filter prune, or to layer prune, that is the question", ACCV 2020 (thesis 4.2);
        channels: the oracle of Molchanov et al., "Pruning convolutional neural networks for resource efficient
        inference", ICLR 2017.
    """

    unit: ClassVar[str] = "part"
    needs: ClassVar[tuple[str, ...]] = ("network", "labels")
    adds: ClassVar[bool] = True  # a loss is a loss, whatever is missing

    by: str = setting(
        "loss", type="word", choices=("loss", "score"), help="What gets worse: the loss, or the score of the task."
    )

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Layer → how much worse; group of channels → N of them.

        Raises:
            Refusal: RCP1008: no training images; RCP1061: the task has no score.
        """
        sizes = {name: shape[0] if shape else 1 for name, shape in evidence.shapes.items()}
        whole = next(evidence.ablated([{}]))
        self._worth(whole)  # refuses before the work
        cases = [{name: (part,)} for name, size in sizes.items() for part in range(size)]
        losses = iter([self._worth(whole) - self._worth(found) for found in evidence.ablated(cases)])
        return {
            name: torch.tensor([next(losses) for _ in range(size)], dtype=torch.float64).reshape(evidence.shapes[name])
            for name, size in sizes.items()
        }

    def _worth(self, found: Ablation) -> float:
        """The higher, the better the network."""
        if self.by == "loss":
            return -found.loss
        if found.score is None:
            raise Refusal(
                "RCP1061",
                "`ablate(by=score)` needs a score of the task, and the task of this recipe has none",
                "write `ablate(by=loss)`",
            )
        return found.score
