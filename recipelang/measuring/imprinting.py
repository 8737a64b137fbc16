"""Imprinted classifiers at every candidate: one pass collects class means, another counts correct predictions.

Sources: Elkerdawy et al., "To filter prune, or to layer prune, that is the question", ACCV 2020 (Eq 4.1–4.3 of the
thesis); Qi, Brown, Lowe, "Low-shot learning with imprinted weights", CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from recipelang.kinds import Evidence
from recipelang.measuring.predictions import correct

#: A place in the network: a candidate and its side, `input` or `output`.
Point = tuple[str, str]


def layer_gains(evidence: Evidence, length: int, similarity: str, against: str = "input") -> dict[str, Tensor]:
    """Candidate → accuracy at its output minus accuracy before it, of classifiers imprinted at both.

    Args:
        length: approximate number of values that describe an image at every point (N of Eq 4.1).
        similarity: `cosine`, `distance` or `inner`; see `methods/criteria/imprint.py`.
        against: the accuracy before it is that at its `input`, or that at the output of the preceding `candidate`; the
            first has none and is compared with its input.
    """
    return gains(list(evidence.layers), imprinted_accuracies(evidence, length, similarity), against)


def gains(names: Sequence[str], accuracy: Mapping[Point, float], against: str) -> dict[str, Tensor]:
    """Candidate → accuracy at its output minus accuracy before it; `against` as in `layer_gains`."""
    before = {name: (name, "input") for name in names}
    if against == "candidate":
        before |= {name: (preceding, "output") for preceding, name in pairwise(names)}
    return {
        name: torch.tensor(accuracy[name, "output"] - accuracy[before[name]], dtype=torch.float64) for name in names
    }


class Watched(Protocol):
    """Of evidence what imprinting needs."""

    @property
    def classes(self) -> int:
        """Number of classes."""

    def watch(self, split: str, observe: Callable[[str, str, Tensor, Tensor], None]) -> None:
        """As `kinds.Evidence.watch`."""


def imprinted_accuracies(evidence: Watched, length: int, similarity: str) -> dict[Point, float]:
    """Point → share of the validation images that a classifier imprinted there classifies correctly.

    Args:
        length, similarity: as of `layer_gains`.
    """
    unit_length = similarity == "cosine"
    sums: dict[Point, Tensor] = {}
    counts: dict[Point, Tensor] = {}

    def add(point: Point, embedded: Tensor, labels: Tensor) -> None:
        # Sums of a batch in float32, their total in float64: the order of batches does not matter.
        members = functional.one_hot(labels, evidence.classes).to(embedded.dtype)
        sums[point] = (members.T @ embedded).double() + sums.get(point, 0)
        counts[point] = members.sum(0).double() + counts.get(point, 0)

    def imprinted(point: Point) -> tuple[Tensor, Tensor]:
        return _imprint(sums[point], counts[point], similarity)

    return accuracies(evidence, length, unit_length, add, imprinted)


def accuracies(
    evidence: Watched,
    length: int,
    unit_length: bool,
    add: Callable[[Point, Tensor, Tensor], None],
    classifier: Callable[[Point], tuple[Tensor, Tensor]],
) -> dict[Point, float]:
    """Point → share of the validation images that a linear classifier there classifies correctly.

    Args:
        length: as in `layer_gains`.
        unit_length: whether embeddings have length 1.
        add: is called with embeddings B×E of the training images at every point, and their labels.
        classifier: then, of a point: its weights C×E and biases C.
    """
    points: dict[Point, None] = {}

    def noting(point: Point, embedded: Tensor, labels: Tensor) -> None:
        points[point] = None
        add(point, embedded, labels)

    evidence.watch("train", _Embedder(length, unit_length, noting))
    classifiers = {point: classifier(point) for point in points}

    right: dict[Point, int] = {}
    seen: dict[Point, int] = {}
    same: dict[Point, Point] = {}

    def count(point: Point, embedded: Tensor, labels: Tensor) -> None:
        weight, bias = classifiers[point]
        right[point] = right.get(point, 0) + int(correct(functional.linear(embedded, weight, bias), labels, 1).sum())
        seen[point] = seen.get(point, 0) + len(labels)

    evidence.watch("val", _Embedder(length, unit_length, count, same))
    found = {point: right[point] / seen[point] for point in right}
    return found | {point: found[other] for point, other in same.items()}


class _Embedder:
    """An observer for `Evidence.watch`: embeds every activation and passes it on, one that was just seen only once.

    For consecutive candidates, the input of one is the output of the one before. It is recognised by its
    memory; the last activation is kept alive, so that its memory is not reused meanwhile, and its version
    shows whether an in-place operation has changed it.
    """

    def __init__(
        self,
        length: int,
        unit_length: bool,
        take: Callable[[Point, Tensor, Tensor], None],
        same: dict[Point, Point] | None = None,
    ) -> None:
        self.length, self.unit_length, self.take = length, unit_length, take
        self.same = {} if same is None else same
        self.last: tuple[Point, Tensor, int] | None = None

    def __call__(self, candidate: str, side: str, activation: Tensor, labels: Tensor) -> None:
        point = (candidate, side)
        if side == "input" and self.last and _unchanged(activation, *self.last[1:]):
            self.same[point] = self.last[0]
            return
        self.take(point, embed(activation, self.length, self.unit_length), labels)
        self.last = (point, activation, activation._version) if side == "output" else None


def _unchanged(activation: Tensor, last: Tensor, version: int) -> bool:
    """Whether the activation is the last one, and nothing has been written to it."""
    return (
        activation.data_ptr() == last.data_ptr()
        and activation.shape == last.shape
        and activation.stride() == last.stride()
        and activation._version == version
    )


def embed(activation: Tensor, length: int, unit_length: bool) -> Tensor:
    """Activation B×F×H×W, B×F×T or B×F → embedding B×E with E about `length` (Eq 4.1), float32.

    d = round(√(length/F)), at least 1 and at most the size of the map: pooling to more cells than that
    would repeat them. Tokens are pooled to d² cells.
    """
    activation = activation.float()
    side = max(1, round((length / activation.shape[1]) ** 0.5))
    if activation.ndim == 4:
        cells = (min(side, activation.shape[2]), min(side, activation.shape[3]))
        activation = activation.mean((2, 3)) if cells == (1, 1) else functional.adaptive_avg_pool2d(activation, cells)
    elif activation.ndim == 3:
        activation = functional.adaptive_avg_pool1d(activation, min(side * side, activation.shape[2]))
    embedded = activation.flatten(1)
    return functional.normalize(embedded) if unit_length else embedded


def _imprint(sums: Tensor, counts: Tensor, similarity: str) -> tuple[Tensor, Tensor]:
    """Weights C×E and biases C of the classifier whose weights are class means (Eq 4.2).

    The nearest mean is linear too: argmin ‖E − μ‖² = argmax E·μ − ‖μ‖²/2. A class without samples never wins.
    """
    means = sums / counts.clamp(min=1)[:, None]
    if similarity == "cosine":
        means = functional.normalize(means)
    bias = -means.square().sum(1) / 2 if similarity == "distance" else torch.zeros_like(counts)
    bias = bias.masked_fill(counts == 0, float("-inf"))
    return means.float(), bias.float()
