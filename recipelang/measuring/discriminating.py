"""Which inputs a layer needs to compute what it did and to tell the classes apart: discrimination-aware selection.

Source: Zhuang, Tan, Zhuang, Liu, Guo, Wu, Huang, Zhu, "Discrimination-aware channel pruning for deep neural networks",
NeurIPS 2018 (Eq 2–8, Algorithms 1 and 2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from recipelang.kinds import Again, Batch, Evidence
from recipelang.measuring.columns import as_matrix, as_weight, gathered, spread
from recipelang.measuring.gates import in_order

#: bytes of inputs that are in memory together
TOGETHER = 2**29
#: of the classifiers at layers: steps of Adam, its rate, and the decay of their weights, since they see few images
CLASSIFIER_STEPS, CLASSIFIER_RATE, DECAY = 40, 0.1, 1e-3
#: how far the order alone separates channels that win nothing
TIE = 1e-6


class Settings(Protocol):
    """What a selection is told: see `methods/criteria/dcp.py`."""

    @property
    def rounds(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def lr(self) -> float: ...
    @property
    def balance(self) -> float: ...
    @property
    def samples(self) -> int: ...
    @property
    def batch(self) -> int: ...


@dataclass(frozen=True)
class Classifier:
    """BatchNorm with the statistics of the whole layer, ReLU, average pooling and a linear layer.

    Attributes:
        mean, deviation: of each output. weight, bias: of the linear layer.
    """

    mean: Tensor
    deviation: Tensor
    weight: Tensor
    bias: Tensor

    def loss(self, output: Tensor, labels: Tensor) -> Tensor:
        """The cross-entropy of a layer's output n×O×…."""
        pooled = pool(output, self.mean, self.deviation, len(labels))
        return functional.cross_entropy(functional.linear(pooled, self.weight, self.bias), labels)


@dataclass(frozen=True)
class ReadingLayer:
    """A weight that reads the parts of a group, with what enters it on some batches.

    Attributes:
        weight: as it is.
        columns: N×(G·c): what reads each of N parts, in the order group, kernel, I.
        again: for each batch, the output as a function of the weight.
        whole: for each batch, the output with the weight as it is.
        scale: the mean square of the output without its bias.
        classifier: None where the rows of the output do not belong to samples.
    """

    weight: Tensor
    columns: Tensor
    again: tuple[Again, ...]
    whole: tuple[Tensor, ...]
    scale: float
    classifier: Classifier | None

    def loss(self, weight: Tensor, number: int, labels: Tensor, balance: float) -> Tensor:
        """½ · relative squared error + balance · cross-entropy, on one batch (Eq 6)."""
        output = self.again[number](weight)
        error = (output - self.whole[number]).square().mean() / (2 * self.scale)
        return error if self.classifier is None else error + balance * self.classifier.loss(output, labels)


def chosen(evidence: Evidence, settings: Settings) -> dict[str, Tensor]:
    """Group → N: the part of the joint loss that was left when each part was chosen, about 1 … 0.

    Groups that something else than these weights reads are left out.

    Raises:
        Refusal: RCP1008: no training images.
    """
    batches = tuple(in_order(evidence.drawn(settings.samples), settings.batch))
    groups = [group for group, weights in evidence.readers.items() if weights and not evidence.hidden[group]]
    found: dict[str, Tensor] = {}
    if evidence.progress:
        evidence.progress.start("choosing channels", len(groups))
    try:
        for together in _together(evidence, groups, batches):
            names = {name for group in together for name in evidence.readers[group]}
            calls = [evidence.again(names, batch) for batch in batches]
            for group in together:
                if all(name in each for name in evidence.readers[group] for each in calls):
                    layers = [
                        reading_layer(evidence.weights[name], columns, [each[name] for each in calls], batches)
                        for name, columns in evidence.readers[group].items()
                    ]
                    found[group] = greedy(layers, [batch.targets for batch in batches], settings)
                if evidence.progress:
                    evidence.progress.advance()
    finally:
        if evidence.progress:
            evidence.progress.stop()
    return found


def greedy(layers: Sequence[ReadingLayer], labels: Sequence[Tensor], settings: Settings) -> Tensor:
    """N: how much of the joint loss was left when each part was chosen, relative to that without any part.

    In every round the parts whose columns have gradients of the largest norms are added with the values that they had
    (Algorithm 2), and the columns of all chosen parts are trained (Eq 8).
    """
    parts = len(layers[0].columns)
    each, order = -(-parts // settings.rounds), list[int]()
    whole = [as_matrix(layer.weight, layer.columns) for layer in layers]
    taken = whole[0].new_zeros(parts)
    masks = [spread(taken, layer.columns, matrix) for layer, matrix in zip(layers, whole, strict=True)]
    matrices = [matrix * mask for matrix, mask in zip(whole, masks, strict=True)]
    losses: list[float] = []
    while len(order) < parts:
        loss, norms = _examined(layers, matrices, labels, settings.balance)
        losses.append(loss)
        fresh = norms.masked_fill(taken.bool(), -1).sort(descending=True, stable=True).indices.tolist()
        order += fresh[: min(each, parts - len(order))]
        taken[order] = 1
        for k, layer in enumerate(layers):
            mask = spread(taken, layer.columns, whole[k])
            matrices[k] = matrices[k] + whole[k] * (mask - masks[k])
            masks[k] = mask
        _train(layers, matrices, masks, labels, settings)
    losses.append(_examined(layers, matrices, labels, settings.balance)[0])
    return _as_scores(order, each, losses, _examined(layers, whole, labels, settings.balance)[0]).to(taken)


def _as_scores(order: Sequence[int], each: int, losses: Sequence[float], least: float) -> Tensor:
    """N scores: what was left of the loss before the round of each part, falling within a round to what was left after.

    Args:
        order: the parts as they were chosen, `each` in a round.
        losses: before every round, and at the end. least: the loss of the whole layers.
    """
    most = max(losses[0] - least, 1e-12)
    left, low = [], 1.0
    for loss in losses:
        low = min(low, max(0.0, (loss - least) / most))  # training may add to the loss
        left.append(low)
    scores = torch.zeros(len(order))
    for place, part in enumerate(order):
        turn, inside = divmod(place, each)
        size = min(each, len(order) - turn * each)
        fallen = (left[turn] - left[turn + 1]) * inside / size
        scores[part] = left[turn] - fallen + TIE * (1 - place / len(order))
    return scores


def _examined(
    layers: Sequence[ReadingLayer], matrices: Sequence[Tensor], labels: Sequence[Tensor], balance: float
) -> tuple[float, Tensor]:
    """The joint loss over all batches, and the norm of its gradient by the columns of each part."""
    total = 0.0
    sums = [torch.zeros_like(matrix) for matrix in matrices]
    for number, own in enumerate(labels):
        trained = [matrix.clone().requires_grad_() for matrix in matrices]
        loss = _loss(layers, trained, number, own, balance) / len(labels)
        for gradient, found in zip(sums, torch.autograd.grad(loss, trained), strict=True):
            gradient += found
        total += float(loss.detach())
    squares = [gathered(gradient.square(), layer.columns) for gradient, layer in zip(sums, layers, strict=True)]
    return total, torch.stack(squares).sum(0).sqrt()


def _train(
    layers: Sequence[ReadingLayer], matrices: list[Tensor], masks: Sequence[Tensor], labels: Sequence[Tensor],
    settings: Settings,
) -> None:  # fmt: skip
    """Some steps of Adam on the columns of the chosen parts; the step size is relative to the weights'."""
    trained = [matrix.clone().requires_grad_() for matrix in matrices]
    rates = [settings.lr * float(layer.weight.square().mean().sqrt().clamp_min(1e-12)) for layer in layers]
    optimizer = torch.optim.Adam([{"params": [one], "lr": rate} for one, rate in zip(trained, rates, strict=True)])
    for step in range(settings.steps):
        number = step % len(labels)
        optimizer.zero_grad()
        _loss(layers, trained, number, labels[number], settings.balance).backward()
        for one, mask in zip(trained, masks, strict=True):
            assert one.grad is not None  # every layer is in the loss
            one.grad.mul_(mask)
        optimizer.step()
    matrices[:] = [one.detach() for one in trained]


def _loss(
    layers: Sequence[ReadingLayer], matrices: Sequence[Tensor], number: int, labels: Tensor, balance: float
) -> Tensor:
    """The joint loss of all layers that read the parts, on one batch."""
    losses = [
        layer.loss(as_weight(matrix, layer.weight), number, labels, balance)
        for layer, matrix in zip(layers, matrices, strict=True)
    ]
    return torch.stack(losses).sum()


def reading_layer(weight: Tensor, columns: Tensor, calls: Sequence[Again], batches: Sequence[Batch]) -> ReadingLayer:
    """A layer with its outputs as they are and, where they belong to samples, a classifier trained on them."""
    weight = weight.detach()
    with torch.no_grad():
        whole = tuple(call(weight) for call in calls)
        bare = [call(torch.zeros_like(weight)) for call in calls]
        squares = [(one - none).square().mean() for one, none in zip(whole, bare, strict=True)]
        scale = float(torch.stack(squares).mean().clamp_min(1e-12))
    return ReadingLayer(weight, columns.to(weight.device), tuple(calls), whole, scale, _classifier(whole, batches))


def _classifier(outputs: Sequence[Tensor], batches: Sequence[Batch]) -> Classifier | None:
    """Trained on the whole layer's outputs n×O×…, with all samples at once."""
    if any(len(output) % len(batch.targets) for output, batch in zip(outputs, batches, strict=True)):
        return None
    rows = torch.cat([output.movedim(1, 0).flatten(1) for output in outputs], 1)
    mean, deviation = rows.mean(1), (rows.var(1, correction=0) + 1e-5).sqrt()
    labels = torch.cat([batch.targets for batch in batches])
    pooled = torch.cat([pool(o, mean, deviation, len(b.targets)) for o, b in zip(outputs, batches, strict=True)])
    weight = torch.zeros(int(labels.max()) + 1, pooled.shape[1], device=pooled.device, requires_grad=True)
    bias = torch.zeros(len(weight), device=pooled.device, requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], lr=CLASSIFIER_RATE)
    for _ in range(CLASSIFIER_STEPS):
        optimizer.zero_grad()
        loss = functional.cross_entropy(functional.linear(pooled, weight, bias), labels)
        (loss + DECAY * weight.square().sum()).backward()
        optimizer.step()
    return Classifier(mean, deviation, weight.detach(), bias.detach())


def pool(output: Tensor, mean: Tensor, deviation: Tensor, samples: int) -> Tensor:
    """n×O×… → samples×O: standardised, without what is negative, the mean over positions and rows of a sample."""
    around = (1, -1, *[1] * (output.ndim - 2))
    normed = ((output - mean.reshape(around)) / deviation.reshape(around)).relu()
    each = normed.flatten(2).mean(2) if output.ndim > 2 else normed
    return each.unflatten(0, (samples, -1)).mean(1)


def _together(evidence: Evidence, groups: Sequence[str], batches: Sequence[Batch]) -> Iterator[list[str]]:
    """The groups in order, as many at once as memory allows for what enters the weights that read them."""
    names = {name for group in groups for name in evidence.readers[group]}
    sizes = {name: call.size * len(batches) for name, call in evidence.again(names, batches[0]).items()}
    together: list[str] = []
    total = 0
    for group in groups:
        size = sum(sizes.get(name, 0) for name in evidence.readers[group])
        if together and total + size > TOGETHER:
            yield together
            together, total = [], 0
        together.append(group)
        total += size
    if together:
        yield together
