"""How well the confidence of a classifier tells how often it is right."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy
from torch import Tensor

from recipelang.kinds import Measurement
from recipelang.measuring.predictions import SampleValues, correct

#: samples are drawn again this many times for an interval
DRAWS = 1000


@dataclass
class Confidences:
    """The confidence of each prediction, and whether it is right."""

    confidence: SampleValues = field(default_factory=SampleValues)
    right: SampleValues = field(default_factory=SampleValues)

    def add(self, answer: Tensor, targets: Tensor) -> Confidences:
        """This and one more batch: scores B×C, labels B."""
        self.confidence.add(answer, targets, lambda outputs, labels: outputs.float().softmax(1).amax(1))
        self.right.add(answer, targets, lambda outputs, labels: correct(outputs, labels, 1))
        return self

    def numbers(self) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Confidences and hits (0 or 1), float32 N each.

        Raises:
            Refusal: as of `SampleValues.numbers`.
        """
        return self.confidence.numbers(), self.right.numbers()


def expected_error(confidence: numpy.ndarray, right: numpy.ndarray, bins: int) -> Measurement:
    """Guo et al. 2017, equation 3, with a bootstrap interval over samples.

    Σ_b N_b/N · |accuracy_b − confidence_b| = Σ_b |Σ_{n in b} (right_n − confidence_n)| / N, so a sample counts by the
    interval that it is in and by its difference; drawing samples again is drawing how often each counts.

    Args:
        confidence: N, from 0 to 1. right: N, 0 or 1.
        bins: intervals of equal width, open below and closed above; 0 is in the first.
    """
    count = len(confidence)
    places = numpy.clip(numpy.ceil(confidence.astype("float64") * bins).astype(int) - 1, 0, bins - 1)
    differences = right.astype("float64") - confidence
    value = _error(places, differences, None, bins)
    draws = numpy.random.Generator(numpy.random.PCG64(0))
    again = []
    for _ in range(DRAWS):
        times = numpy.bincount(draws.integers(count, size=count), minlength=count)
        again.append(_error(places, differences, times, bins))
    low, high = numpy.quantile(again, (0.025, 0.975))
    return Measurement(value, min(float(low), value), max(float(high), value), count, f"bootstrap of {count:,} samples")


def _error(places: numpy.ndarray, differences: numpy.ndarray, times: numpy.ndarray | None, bins: int) -> float:
    weighted = differences if times is None else differences * times
    return float(numpy.abs(numpy.bincount(places, weighted, minlength=bins)).sum() / len(places))
