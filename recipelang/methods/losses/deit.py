"""The loss `deit`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import Refusal, SettingError
from recipelang.kinds import Edit, Loss, Moment, Pairing, Points, Seen, Task

if TYPE_CHECKING:
    from torch import Tensor, nn

#: the head of the class token, in either library, and that of the distillation token
HEADS, TOLD = ("head", "heads"), "head_dist"


@method("loss", "deit")
@dataclass(frozen=True)
class Deit(Loss):
    """DeiT: a vision transformer gets a token whose head learns from the teacher, while the other head learns labels.

    What: attention decides what the teacher's answer is read from. The token and its head stay in the network: it
    answers with the mean of both heads from the first step on, and is one token longer.
    Formula: (1 − α) · task(s, y) + α · task(d, argmax t), s and d the scores of the heads of class and distillation
    token, t those of the teacher; with `soft`, (1 − α) · task(s, y) + α · T² · KL(softmax(t/T) ‖ softmax(d/T)).
    Shapes: scores B×C of both heads and of the teacher, labels B → scalar.
    Networks: VisionTransformer of timm, with a class token or averaged, and of torchvision; timm's `…_distilled` have a
    token already. It begins as a copy of the class token, and its head as a copy of the head. A later `distill … with
    deit` goes on with the token that is there; other losses train the mean of both heads.
    When it misleads: both tokens begin alike, and a short training hardly tells them apart; an exact teacher of the
    same labels says what the labels say. The authors' teachers are convolutional networks.
    Source: Touvron et al. 2021, Training data-efficient image transformers & distillation through attention, Eq 2 and 3
    and section 4.
    """

    teachers: ClassVar[tuple[int, int]] = (1, 1)
    complete: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    compares: ClassVar[tuple[str, ...]] = ("outputs", "features")

    alpha: float = setting(0.5, type="number", low=0, high=1, help="Weight of the teacher against the labels.")
    soft: bool = setting(False, type="boolean", help="Whether the teacher's probabilities are matched, not its label.")
    T: float | None = setting(
        None, type="number", low=0, open_low=True, help="Temperature with `soft`: higher is softer; default 3."
    )

    def __post_init__(self) -> None:
        if self.T is not None and not self.soft:
            raise SettingError("T", "labels have no temperature", "write `deit(soft=true, T=3)`, or leave `T` out")

    def adds(self, network: Any) -> tuple[Edit, ...]:
        """The token and its head, where the network has none.

        Raises:
            Refusal: RCP1512: it cannot have a token.
        """
        from recipelang.surgery.edits.add_token import AddToken
        from recipelang.surgery.tokened import has_token, why_no_token

        if has_token(network.module):
            return ()
        if why := why_no_token(network.module):
            raise _no_token(why)
        return (AddToken(),)

    def points(self, student: Points, teachers: tuple[Points, ...]) -> tuple[Pairing, ...]:
        """Both heads of the network."""
        known = {point.path: point for point in student.every}
        own = next((known[name] for name in HEADS if name in known), None)
        if own is None or TOLD not in known:
            raise _no_token("it has no head of one")
        return Pairing(own), Pairing(known[TOLD])

    def __call__(
        self,
        student: Seen,
        teachers: tuple[Seen, ...],
        targets: Any,
        task: Task,
        parts: nn.Module | None,
        moment: Moment,
    ) -> Tensor:
        """Scores of both heads, and of the teacher → scalar."""
        if not student.features:  # of outputs alone: both heads are one
            own = told = student.outputs
        else:
            own, told = student.features
        labelled = (1 - self.alpha) * task.loss(own, targets)
        return labelled + self.alpha * self._taught(told, teachers[0].outputs, task)

    def _taught(self, told: Tensor, teacher: Tensor, task: Task) -> Tensor:
        if not self.soft:
            return task.loss(told, task.labels(teacher))
        temperature = 3.0 if self.T is None else self.T
        return temperature**2 * task.divergence(told / temperature, teacher / temperature)


def _no_token(why: str) -> Refusal:
    return Refusal(
        "RCP1512",
        f"the network cannot have a distillation token: {why}",
        "use a vision transformer, as `timm.vit_tiny_patch16_224`, or a loss for any network, as `kd`",
    )
