"""The task `superresolution`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import Refusal
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.kinds import Labels


@method("task", "superresolution")
@dataclass(frozen=True)
class SuperResolution:
    """An image becomes a larger one.

    What: the input is an image, the target the image that it was made from, `scale` times as high and as wide. Both are
    colour or grey values of 0…1.
    Formula: loss = mean over pixels and channels of |answer − target| (`distance=l1`) or of its square (`distance=l2`).
    Divergence: the same distance between the answers of student and teacher.
    Without labels, a student's target is the teacher's answer.
    Shapes: inputs B×C×H×W, answers and targets B×C×(scale·H)×(scale·W) → scalar.
    When it misleads: `l2` is what PSNR measures, and blurs; `l1` trains to a PSNR at least as high in practice (Lim et
    al. 2017), and is the default for that reason.
    Source: Ledig et al. 2017, Photo-realistic single image super-resolution (SRResNet, `l2`); Lim et al. 2017 (`l1`).
    """

    metrics: ClassVar[tuple[str, ...]] = ("psnr", "ssim")
    target: ClassVar[str] = "image"
    labelled: ClassVar[bool] = False
    gives: ClassVar[str] = "an image"
    form: ClassVar[str] = "B×C×H×W"
    stand_in: ClassVar[tuple[str, str]] = ("digit_sheets", "srresnet")
    tuning: ClassVar[str] = "adam(lr=cosine(3e-4, to=0))"
    from_scratch: ClassVar[str] = "adam(lr=cosine(2e-3, to=0))"

    scale: int = setting(2, type="integer", low=2, high=8, positional=True, help="How many times larger.")
    distance: str = setting("l1", type="word", choices=("l1", "l2"), help="Absolute or squared differences.")

    def refuses(self, data: Any) -> str:
        """Why data does not suit the settings of the task; "" where it does."""
        scale = getattr(data, "scale", self.scale)
        if scale == self.scale:
            return ""
        return f"the data makes images for scale {scale}, and the task is `superresolution(scale={self.scale})`"

    def answer(self, raw: Any, targets: Any = None, labels: Labels | None = None) -> Tensor:
        """Images B×C×H×W in float32.

        Raises:
            Refusal: RCP0840: it is not an image, or not of the size of the targets.
        """
        if not isinstance(raw, torch.Tensor) or raw.ndim != 4 or not raw.is_floating_point():
            raise _no_image(raw)
        if targets is not None and raw.shape != targets.shape:
            raise _another_size(raw, targets)
        image: Tensor = raw.float()
        return image

    def loss(self, answer: Tensor, targets: Tensor) -> Tensor:
        """Mean distance of images B×C×H×W → scalar."""
        measure = torch.nn.functional.l1_loss if self.distance == "l1" else torch.nn.functional.mse_loss
        return measure(answer, targets)

    def divergence(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Mean distance of two answers B×C×H×W → scalar."""
        return self.loss(student, teacher)

    def labels(self, answer: Tensor) -> Tensor:
        """The answer itself, without gradients."""
        return answer.detach()

    def score(self, answer: Tensor, targets: Tensor) -> tuple[str, Tensor]:
        """PSNR over all channels, in dB: the sum over the batch."""
        from recipelang.measuring.likeness import psnr

        return "psnr", psnr(answer, targets).sum()


def _no_image(raw: Any) -> Refusal:
    from recipelang.surgery.answers import describe

    return Refusal(
        "RCP0840",
        f"the network's answer is {describe(raw)}, not images",
        "use a superresolution network, whose output has shape B×C×H×W",
    )


def _another_size(raw: Tensor, targets: Tensor) -> Refusal:
    given, wanted = ("×".join(map(str, t.shape[1:])) for t in (raw, targets))
    return Refusal(
        "RCP0840",
        f"the network gives images of {given}, and the data's targets are {wanted}",
        "build the network for the scale and the channels of the data",
    )
