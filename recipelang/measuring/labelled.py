"""How well scores of several labels find those that hold: average precision and F1, with what each sample adds.

Both are functions of the whole split. Their intervals are from the infinitesimal jackknife (Jaeckel 1972; Efron 1982,
"The jackknife, the bootstrap and other resampling plans", chapter 6): with a weight w_n for each sample, D_n is the
derivative of the value in w_n at w = 1, the variance is Σ D_n², and value + N·D_n stands for sample n, so that two
networks are compared sample by sample.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.kinds import Measurement
from recipelang.measuring.intervals import normal_mean
from recipelang.measuring.predictions import SampleValues


class Influenced(NamedTuple):
    """A value, and its derivatives in the weights of the samples, N."""

    value: float
    derivatives: np.ndarray


@dataclass
class LabelScores:
    """The scores of each label and whether it holds, of all samples."""

    scores: SampleValues = field(default_factory=SampleValues)
    holds: SampleValues = field(default_factory=SampleValues)

    def add(self, answer: Tensor, targets: Tensor) -> LabelScores:
        """This and one more batch: scores B×C, labels B×C of 0 and 1."""
        self.scores.add(answer, targets, lambda outputs, _: outputs, incomparable_labels)
        self.holds.add(answer, targets, lambda _, labels: labels, incomparable_labels)
        return self

    def numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """Scores, float32 N×C, and which labels hold, bool N×C.

        Raises:
            Refusal: as of `SampleValues.numbers`.
        """
        return self.scores.numbers(), self.holds.numbers() > 0.5


def incomparable_labels(outputs: Tensor, labels: Tensor) -> Refusal | None:
    """Why outputs (B×C) are not scores of these labels (B×C of 0 and 1); None where they are."""
    if outputs.ndim == 2 and outputs.shape == labels.shape and len(labels):
        if bool(((labels == 0) | (labels == 1)).all()):
            return None
        return Refusal("RCP1004", "a label is neither 0 nor 1", "measure on samples that are not mixed")
    return Refusal(
        "RCP1004",
        f"outputs of shape {tuple(outputs.shape)} cannot be compared with labels of shape {tuple(labels.shape)}",
        "the network must give one score for each label of each sample, and the split must not be empty",
    )


def mean_average_precision(scores: np.ndarray, holds: np.ndarray) -> Measurement:
    """The mean over labels of their average precision; labels that no sample has are left out.

    Args:
        scores: N×C. holds: bool N×C.

    Raises:
        Refusal: RCP1004: no label holds for any sample.
    """
    there = np.flatnonzero(holds.any(0))
    return _mean([average_precision(scores[:, k], holds[:, k]) for k in there], holds, "no sample has one")


def average_precision(scores: np.ndarray, holds: np.ndarray) -> Influenced:
    """Σ over samples whose label holds of the precision among those with at least their score, over their number.

    Samples of equal scores are found together. With weights: Σ_n w_n y_n T_n / S_n / Σ_n w_n y_n, T_n and S_n the
    weights of those with at least the score of n whose label holds, and of all.

    Args:
        scores: N. holds: bool N, at least one true.
    """
    order = np.argsort(-scores, kind="stable")
    falling, y = -scores[order], holds[order].astype(np.float64)
    first = np.searchsorted(falling, falling, side="left")
    last = np.searchsorted(falling, falling, side="right") - 1
    found, seen = np.cumsum(y)[last], last + 1.0
    value = float((y * found / seen).sum() / y.sum())
    # From here on: what a sample adds to T and S of those that it stands before, or among.
    more = np.cumsum((y / seen)[::-1])[::-1][first]
    less = np.cumsum((y * found / seen**2)[::-1])[::-1][first]
    derivatives = np.empty(len(y))
    derivatives[order] = (y * (found / seen - value) + y * more - less) / y.sum()
    return Influenced(value, derivatives)


def f1(found: np.ndarray, holds: np.ndarray, average: str) -> Measurement:
    """2·|found and true| / (|found| + |true|).

    Args:
        found, holds: bool N×C.
        average: `micro`: of all labels of all samples together; `macro`: the mean over labels, without those that are
            neither found nor true anywhere.

    Raises:
        Refusal: RCP1004: no label is found or true.
    """
    if average == "micro":
        both, each = (found & holds).sum(1)[:, None], (found.astype(int) + holds).sum(1)[:, None]
    else:
        both, each = found & holds, found.astype(int) + holds
    there = np.flatnonzero(each.any(0))
    shares = [_share(2.0 * both[:, k], each[:, k].astype(np.float64)) for k in there]
    return _mean(shares, each, "none is found, and no sample has one")


def _share(parts: np.ndarray, wholes: np.ndarray) -> Influenced:
    """Σ parts / Σ wholes over samples."""
    value = float(parts.sum() / wholes.sum())
    return Influenced(value, (parts - value * wholes) / wholes.sum())


def _mean(each: list[Influenced], of: np.ndarray, why: str) -> Measurement:
    """The mean over labels, with one number per sample; `of` has a column for every label."""
    if not each:
        raise Refusal("RCP1004", f"there is nothing to measure labels by: {why}", "use a split with labels")
    value = float(np.mean([one.value for one in each]))
    derivatives = np.mean([one.derivatives for one in each], axis=0)
    samples = value + len(derivatives) * derivatives
    low, high = normal_mean(samples)
    left = of.shape[1] - len(each)
    note = f"of {len(each)} of {of.shape[1]} labels; of the other{'s' * (left > 1)}, {why}" if left else ""
    return Measurement(
        value,
        max(0.0, min(low, value)),
        min(1.0, max(high, value)),
        len(samples),
        "infinitesimal jackknife",
        per_sample=samples.astype(np.float32),
        note=note,
    )
