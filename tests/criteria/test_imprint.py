"""Imprinting against the formulas written naively, and on networks whose answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from recipelang.measuring.imprinting import embed, layer_gains
from recipelang.methods.criteria.imprint import Imprint
from recipelang.scoring.ranking import spearman

SIMILARITIES = ("cosine", "distance", "inner")


class Recorded:
    """Evidence whose activations the test writes down: batches of {candidate: (input, output)} and labels."""

    seed, unit, embedding_length = 0, "layer", 8

    def __init__(self, batches: dict[str, list[tuple[dict[str, tuple[Tensor, Tensor]], Tensor]]], classes: int) -> None:
        self.batches, self.classes = batches, classes
        self.layers = dict.fromkeys(batches["val"][0][0], ())
        self.shown = 0

    def watch(self, split: str, observe: Any) -> None:
        for activations, labels in self.batches[split]:
            for candidate, (before, after) in activations.items():
                observe(candidate, "input", before, labels)
                observe(candidate, "output", after, labels)


def naive_accuracy(
    train: np.ndarray, labels: np.ndarray, val: np.ndarray, truth: np.ndarray, classes: int, similarity: str
) -> float:
    """Eq 4.2 and 4.3 sample by sample, float64; embeddings N×E."""
    if similarity == "cosine":
        train, val = (e / np.linalg.norm(e, axis=1, keepdims=True) for e in (train, val))
    means = np.stack([train[labels == c].mean(0) for c in range(classes)])
    if similarity == "cosine":
        means /= np.linalg.norm(means, axis=1, keepdims=True)
    right = 0
    for embedding, label in zip(val, truth, strict=True):
        if similarity == "distance":
            answer = np.argmin([np.sum((embedding - mean) ** 2) for mean in means])
        else:
            answer = np.argmax([mean @ embedding for mean in means])
        right += answer == label
    return right / len(truth)


def pooled(activations: Tensor, d: int) -> np.ndarray:
    """Eq 4.1 by loops: B×F×H×W with H and W multiples of d → B×(F·d·d)."""
    maps = activations.double().numpy()
    step_h, step_w = maps.shape[2] // d, maps.shape[3] // d
    cells = [
        maps[:, :, i * step_h : (i + 1) * step_h, j * step_w : (j + 1) * step_w].mean((2, 3))
        for i in range(d)
        for j in range(d)
    ]
    return np.stack(cells, axis=2).reshape(len(maps), -1)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_gains_are_those_of_the_naive_formulas(similarity: str) -> None:
    generator = torch.Generator().manual_seed(3)
    classes, length, filters = 5, 24, 6  # d = round(√(24 / 6)) = 2

    def batch(n: int) -> tuple[dict[str, tuple[Tensor, Tensor]], Tensor]:
        labels = torch.arange(n) % classes
        signal = torch.randn(classes, filters, 1, 1, generator=torch.Generator().manual_seed(0))[labels]
        x = [torch.randn(n, filters, 4, 8, generator=generator) + s * signal for s in (0.1, 0.5, 0.4)]
        return {"a": (x[0], x[1]), "b": (x[1], x[2])}, labels

    train, val = [batch(40), batch(35)], [batch(50), batch(21)]
    gains = layer_gains(Recorded({"train": train, "val": val}, classes), length, similarity)

    def accuracy(candidate: str, side: int) -> float:
        return naive_accuracy(
            np.concatenate([pooled(a[candidate][side], 2) for a, _ in train]),
            np.concatenate([labels for _, labels in train]),
            np.concatenate([pooled(a[candidate][side], 2) for a, _ in val]),
            np.concatenate([labels for _, labels in val]),
            classes,
            similarity,
        )

    for candidate in "ab":
        assert float(gains[candidate]) == pytest.approx(accuracy(candidate, 1) - accuracy(candidate, 0))
    assert float(gains["a"]) != 0


def test_a_stage_boundary_by_hand() -> None:
    """Two candidates, and between them a block that is not one and distinguishes the classes itself.

    Right at the input of a 2 of 4, at its output 3; at the input of b, after the boundary, 4, at its output 3.
    """
    labels = torch.tensor([0, 0, 1, 1])

    def embedded(*right: bool) -> Tensor:  # at +1 class 0 wins, at −1 class 1
        sign = torch.where((labels == 0) == torch.tensor(right), 1.0, -1.0)
        return torch.stack([sign, torch.zeros(4)], 1)

    good, two = embedded(True, True, True, True), embedded(True, False, True, False)
    three, other = embedded(True, True, True, False), embedded(False, True, True, True)
    train = [({name: (good.clone(), good.clone()) for name in "ab"}, labels)]
    evidence = Recorded({"train": train, "val": [({"a": (two, three), "b": (good.clone(), other)}, labels)]}, 2)
    gains = layer_gains(evidence, 2, "cosine")
    assert {name: float(gain) for name, gain in gains.items()} == {"a": 0.25, "b": -0.25}
    gains = layer_gains(evidence, 2, "cosine", "candidate")
    assert {name: float(gain) for name, gain in gains.items()} == {"a": 0.25, "b": 0.0}


@given(st.integers(1, 64), st.integers(1, 24), st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_embeddings_have_the_shape_of_the_formula(
    length: int, filters: int, height: int, width: int, unit: bool
) -> None:
    embedded = embed(torch.ones(2, filters, height, width), length, unit)
    d = max(1, round((length / filters) ** 0.5))
    assert embedded.shape == (2, filters * min(d, height) * min(d, width))
    if unit:
        torch.testing.assert_close(embedded.norm(dim=1), torch.ones(2))


def test_layouts_embed_alike() -> None:
    """Channels-last images, tokens and vectors describe an image as its filters-first map does."""
    maps = torch.randn(3, 8, 4, 4)
    expected = embed(maps, 32, True)
    torch.testing.assert_close(embed(maps.contiguous(memory_format=torch.channels_last), 32, True), expected)
    torch.testing.assert_close(embed(maps.permute(0, 2, 3, 1).contiguous().movedim(3, 1), 32, True), expected)
    tokens = maps.flatten(2).transpose(1, 2).contiguous()  # B×T×F
    torch.testing.assert_close(embed(tokens.movedim(2, 1), 8, False), embed(maps, 8, False))
    torch.testing.assert_close(embed(maps.mean((2, 3)), 8, False), embed(maps, 8, False))


@given(st.randoms(use_true_random=False), st.sampled_from(SIMILARITIES))
@settings(max_examples=40)
def test_the_order_of_batches_and_of_samples_does_not_matter(lab: Any, random: Any, similarity: str) -> None:
    def score(data: Any) -> dict[str, float]:
        scores = Imprint(similarity=similarity).score(lab.gathered(lab.small(2), data))
        return {name: float(value) for name, value in scores.items()}

    data = lab.images()
    shuffled = lab.images()
    for split, (images, labels) in shuffled.splits.items():
        order = list(range(len(labels)))
        random.shuffle(order)
        shuffled.splits[split] = images[order], labels[order]
    shuffled.batch = random.choice([7, 16, 48])
    assert score(shuffled) == score(data)


def test_a_layer_that_does_nothing_gains_nothing(lab: Any) -> None:
    module = lab.small(blocks=3)
    with torch.no_grad():
        module[2].conv.weight.zero_()
        module[2].conv.bias.zero_()
    evidence = lab.gathered(module, lab.images())
    assert float(Imprint().score(evidence)["2"]) == 0
    assert any(float(gain) != 0 for gain in Imprint().score(evidence).values())


def test_a_layer_that_tells_the_classes_apart_gains_most(lab: Any) -> None:
    """Classes differ by what a difference of pixels shows and a mean does not; the last block takes that difference."""
    torch.manual_seed(0)
    labels = torch.arange(64) % 2
    stripes = torch.ones(8).index_fill(0, torch.arange(1, 8, 2), -1.0)
    images = torch.randn(64, 1, 8, 8) * 0.1 + torch.where(labels == 0, 1.0, -1.0)[:, None, None, None] * stripes
    data = lab.Images({"train": (images, labels), "val": (images, labels)}, 2)

    class Stripes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 1, bias=False)
            nn.init.ones_(self.conv.weight)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.conv(x * stripes).relu()

    idle = lab.Block(1)
    nn.init.zeros_(idle.conv.weight)
    module = nn.Sequential(idle, Stripes(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2))
    gains = Imprint(similarity="distance").score(lab.gathered(module, data))
    assert float(gains["0"]) == 0 and float(gains["1"]) > 0.3


def test_a_class_without_training_images_never_wins() -> None:
    before, after = -torch.ones(6, 4), -torch.rand(6, 4) - 1
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    evidence = Recorded({"train": [({"a": (before, after)}, labels)], "val": [({"a": (before, after)}, labels)]}, 3)
    for similarity in ("inner", "distance"):
        assert float(layer_gains(evidence, 4, similarity)["a"]) >= -0.5 + 1 / 6


def test_what_was_written_into_after_a_layer_is_looked_at_again() -> None:
    """An activation in place between two candidates changes what the second sees, in the same memory."""
    labels = torch.arange(8) % 2
    sign = torch.where(labels == 0, 1.0, -1.0)[:, None]

    class InPlace(Recorded):
        def watch(self, split: str, observe: Any) -> None:
            x = torch.cat([sign, torch.full((8, 1), 0.5)], 1)
            observe("a", "input", torch.full((8, 2), 0.5), labels)
            observe("a", "output", x, labels)
            x.fill_(0.5)
            observe("b", "input", x, labels)
            observe("b", "output", torch.cat([sign, sign], 1), labels)

    evidence = InPlace({"val": [({"a": (sign, sign), "b": (sign, sign)}, labels)], "train": []}, 2)
    assert {name: float(gain) for name, gain in layer_gains(evidence, 2, "cosine").items()} == {"a": 0.5, "b": 0.5}


def test_spearman_by_hand_and_with_ties() -> None:
    from scipy.stats import spearmanr

    one = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}
    assert spearman(one, one) == pytest.approx(1)
    assert spearman(one, {name: -value for name, value in one.items()}) == pytest.approx(-1)
    tied = {"d": 0.0, "c": 0.0, "b": 5.0, "a": 1.0}
    assert spearman(one, tied) == pytest.approx(spearmanr([1, 2, 3, 4], [1, 5, 0, 0]).statistic)
    for other in ({"a": 1.0}, dict.fromkeys("abcd", 1.0)):
        with pytest.raises(ValueError, match="rank correlation"):
            spearman(one, other)
