"""The task `multilabel`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.lazy import torch
from recipelang.methods.tasks._scores import scores

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.kinds import Labels


@method("task", "multilabel")
@dataclass(frozen=True)
class MultiLabel:
    """Several labels per image, each of which holds or does not: none, one or all of them may.

    What: each output is the score (logit) of one label, whose probability is its sigmoid, whatever the others are.
    Formula: loss = −1/C · Σ_c (w · y_c · log σ(s_c) + (1 − y_c) · log(1 − σ(s_c))), y_c 0 or 1, w `positive`; the mean
        over labels and over the batch.
    Divergence: KL of the two Bernoulli distributions of each label, Σ over holds and does not: p·log(p/q), p the
        teacher's probability, q the student's; the mean over labels and over the batch.
    Without labels, a student's target is what its teacher finds more likely than not: σ > 0.5.
    History: `sample_f1`, 2·|found ∩ true| / (|found| + |true|) of each sample, 1 where both are empty; found: σ > 0.5.
    Shapes: outputs B×C, targets B×C of 0 and 1 (or shares of them, where images are mixed) → scalar.
    When it misleads: a label that is rare is nearly always 0, so a low loss may mean that none is ever found; read
        `map` and `f1`. A network that ends with a sigmoid of its own is not for this loss, which applies one.
    Source: binary relevance, Tsoumakas and Katakis 2007, "Multi-label classification: an overview"; cross-entropy of
        Bernoulli variables: Bishop 2006, 4.3.2; `positive` as `pos_weight` of torch.nn.BCEWithLogitsLoss.
    """

    metrics: ClassVar[tuple[str, ...]] = ("map", "f1", "loss")
    target: ClassVar[str] = "labels"
    labelled: ClassVar[bool] = True
    softens: ClassVar[bool] = True
    gives: ClassVar[str] = "one score per label"
    form: ClassVar[str] = "B×C"
    stand_in: ClassVar[tuple[str, str]] = ("several_digits", "digits_resnet")

    positive: float = setting(
        1.0,
        type="number",
        low=0,
        high=10_000,
        open_low=True,
        help="Weight w of labels that hold, in training: above 1 finds more of them, and more that are not there.",
    )

    def answer(self, raw: Any, targets: Any = None, labels: Labels | None = None) -> Tensor:
        """Scores B×C in float32.

        Raises:
            Refusal: RCP0812: it is not one score per label, or the data has another number of labels.
        """
        return scores(raw, targets, labels, "label", "labels", "multi-label")

    def loss(self, answer: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of every label: outputs B×C, targets B×C of 0…1 → scalar, mean over labels and the batch."""
        weight = answer.new_tensor(self.positive) if self.positive != 1 else None
        cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits
        return cross_entropy(answer, targets.to(answer.dtype), pos_weight=weight)

    def divergence(self, student: Tensor, teacher: Tensor) -> Tensor:
        """KL of the Bernoulli distributions, teacher ‖ student: outputs B×C of both → scalar."""
        log = torch.nn.functional.logsigmoid
        holds = teacher.sigmoid()
        apart = holds * (log(teacher) - log(student)) + (1 - holds) * (log(-teacher) - log(-student))
        return apart.mean()

    def labels(self, answer: Tensor) -> Tensor:
        """Outputs B×C → 1 where a label is more likely than not, float32 B×C."""
        return (answer > 0).float()

    def score(self, answer: Tensor, targets: Tensor) -> tuple[str, Tensor]:
        """F1 of each sample's labels: the sum over the batch; shares above 1/2 count as labels that hold."""
        found, true = answer > 0, targets > 0.5
        both, each = (found & true).sum(1), found.sum(1) + true.sum(1)
        return "sample_f1", torch.where(each > 0, 2 * both / each.clamp_min(1), 1.0).sum()
