"""What mixups share: images of a batch mixed with others of it, and their labels as shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.errors import Refusal
from recipelang.kinds import Batch, Companion, Labels, Moment
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor, nn


class Mixing(Companion):
    """A companion that mixes every image of a batch with another one; a subclass says how.

    Random numbers are those of the training, so that one that is killed and continued mixes alike.
    """

    ordinary: ClassVar[bool] = True
    mixes: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("classification", "multilabel")

    name: ClassVar[str]
    alpha: float

    def mix(self, images: Tensor, others: Tensor, share: float) -> tuple[Tensor, float]:
        """The mixture of images B×… with others, and the share of the first ones that is really in it."""
        raise NotImplementedError

    def batch(
        self, network: Any, batch: Batch, labels: Labels | None, state: nn.Module | None, moment: Moment
    ) -> Batch:
        """Mixed images, and as targets shares of classes, or of each label, B×C.

        Raises:
            Refusal: RCP0826: inputs are not images.
        """
        images, targets = batch
        if labels is None or not isinstance(images, torch.Tensor) or images.ndim != 4:
            message = f"`{self.name}` mixes images, and these inputs are none"
            raise Refusal("RCP0826", message, f"leave `{self.name}` out")
        share = float(torch.distributions.Beta(self.alpha, self.alpha).sample())
        order = torch.randperm(len(images)).to(images.device)
        mixed, share = self.mix(images, images[order], share)
        classes = shares_of(targets, len(labels.names))
        return Batch(mixed, share * classes + (1 - share) * classes[order])


def shares_of(targets: Tensor, classes: int) -> Tensor:
    """Classes B, labels B×C, or shares B×C of an earlier mixture → shares B×C, float32."""
    return targets if targets.ndim == 2 else torch.nn.functional.one_hot(targets, classes).float()
