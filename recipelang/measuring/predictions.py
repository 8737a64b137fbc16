"""What class scores are worth: correct predictions and losses, sample by sample, one batch after another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy
import torch
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.kinds import Measurement, PredictionMetric, Task
from recipelang.measuring.intervals import normal_mean, wilson


def correct(outputs: Tensor, labels: Tensor, k: int) -> Tensor:
    """Whether the label is among the k highest outputs; ties go to the lower class.

    The one definition of accuracy: of metrics, of training's history and of imprinted classifiers.

    Args:
        outputs: N×C. labels: N.

    Returns:
        bool N.
    """
    if k == 1:
        return outputs.argmax(1) == labels  # the first of equal outputs, as below
    own = outputs.gather(1, labels[:, None])
    lower = torch.arange(outputs.shape[1], device=outputs.device) < labels[:, None]
    ahead = (outputs > own) | ((outputs == own) & lower)
    return ahead.sum(1) < k


#: compare(answer, targets) → why the two cannot be compared; None where they can
Compare = Callable[[Tensor, Tensor], Refusal | None]


@dataclass
class SampleValues:
    """One number per sample, and what is wrong with the batches so far; a mistake is reported once, at the end.

    Attributes:
        what: what the answer consists of, for messages.
        values: the numbers of each batch, float32 B.
        samples, broken: how many samples there were, and how many have an answer that is NaN or infinite.
        wrong: why answers and targets cannot be compared; None where they can.
    """

    what: str = "scores"
    values: list[numpy.ndarray] = field(default_factory=list)
    samples: int = 0
    broken: int = 0
    wrong: Refusal | None = None

    def add(
        self, answer: Tensor, targets: Tensor, value: Callable[[Tensor, Tensor], Tensor], compare: Compare | None = None
    ) -> SampleValues:
        """This and one more batch.

        Args:
            answer, targets: B×… each.
            value: (answer, targets) → one number per sample, B.
            compare: whether the two can be compared; default: scores with labels.
        """
        self.wrong = self.wrong or (compare or incomparable_scores)(answer, targets)
        if not self.wrong:
            self.samples += len(answer)
            self.broken += int((~torch.isfinite(answer)).flatten(1).any(1).sum())
            self.values.append(value(answer, targets).float().cpu().numpy())
        return self

    def numbers(self) -> numpy.ndarray:
        """One number per sample, float32 N.

        Raises:
            Refusal: RCP1003: an answer is NaN or infinite. RCP1004: no samples, or the targets do not fit.
        """
        if self.wrong:
            raise self.wrong
        if not self.samples:
            raise Refusal("RCP1004", "there are no samples to measure on", "the split must not be empty")
        if self.broken:
            raise Refusal(
                "RCP1003",
                f"the network gives NaN or infinite {self.what} for {self.broken} of {self.samples} samples",
                "its training has diverged: lower the learning rate, or start from different weights",
            )
        return numpy.concatenate(self.values)


def incomparable_scores(outputs: Tensor, labels: Tensor) -> Refusal | None:
    """Why outputs (B×C) are not scores for these labels (B); None where they are."""
    if outputs.ndim != 2 or labels.ndim != 1 or len(outputs) != len(labels) or not len(labels):
        return Refusal(
            "RCP1004",
            f"outputs of shape {tuple(outputs.shape)} cannot be compared with {len(labels)} labels",
            "a classifier gives one row of class scores for each sample, and the split must not be empty",
        )
    if int(labels.max()) >= outputs.shape[1] or int(labels.min()) < 0:
        return Refusal(
            "RCP1004",
            f"the data has labels up to {int(labels.max())}, and the network distinguishes {outputs.shape[1]} classes",
            "set the number of classes in the `model` statement, or use the data that the network was made for",
        )
    return None


def share(hits: numpy.ndarray) -> Measurement:
    """The share of hits (0 or 1 per sample, N), with the Wilson interval."""
    n, successes = len(hits), int(hits.sum())
    low, high = wilson(successes, n)
    return Measurement(successes / n, low, high, n, "Wilson", per_sample=hits)


def mean_of(values: numpy.ndarray, least: float = 0.0) -> Measurement:
    """The mean of one number per sample (float32 N) with the normal interval, cut at `least`."""
    low, high = normal_mean(values)
    mean = float(values.mean(dtype="float64"))
    return Measurement(mean, max(least, low), high, len(values), "normal", per_sample=values)


def measured(metric: PredictionMetric, answer: Any, targets: Any, task: Task) -> Measurement:
    """A metric of a single batch.

    Raises:
        Refusal: as of the metric.
    """
    return metric.result(metric.add(metric.start(task), answer, targets))
