"""Mixtures of images and labels, against their formulas."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recipelang.check import check
from recipelang.errors import RecipeError, Refusal
from recipelang.kinds import Batch, Labels, Moment
from recipelang.methods.companions.cutmix import CutMix
from recipelang.methods.companions.mixup import Mixup
from recipelang.methods.tasks.classification import Classification
from recipelang.syntax.parse import parse

CLASSES = Labels(("a", "b", "c"))
NOW = Moment(0, 10, 5)


def batch(seed: int, height: int = 6, width: int = 9) -> Batch:
    random = torch.Generator().manual_seed(seed)
    return Batch(
        torch.randn(5, 2, height, width, generator=random), torch.randint(3, (5,), generator=random, dtype=torch.int64)
    )


def drawn(companion: Any, given: Batch, seed: int) -> tuple[Batch, float, Tensor]:
    """A mixture, the λ that was drawn for it, and the permutation."""
    torch.manual_seed(seed)
    mixed = companion.batch(None, given, CLASSES, None, NOW)
    torch.manual_seed(seed)
    share = float(torch.distributions.Beta(companion.alpha, companion.alpha).sample())
    return mixed, share, torch.randperm(5)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from([0.2, 1.0, 5.0]))
def test_mixup_is_the_formula_and_its_loss_that_of_both_labels(seed: int, alpha: float) -> None:
    given = batch(seed)
    before = given.inputs.clone()
    mixed, share, order = drawn(Mixup(alpha), given, seed)
    torch.testing.assert_close(mixed.inputs, share * given.inputs + (1 - share) * given.inputs[order])
    outputs, task = torch.randn(5, 3), Classification(0.1)
    both = share * task.loss(outputs, given.targets) + (1 - share) * task.loss(outputs, given.targets[order])
    torch.testing.assert_close(task.loss(outputs, mixed.targets), both)
    assert torch.equal(given.inputs, before)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.sampled_from([0.5, 1.0]))
def test_cutmix_pastes_one_rectangle_and_counts_its_area(seed: int, alpha: float) -> None:
    given = batch(seed)
    mixed, share, order = drawn(CutMix(alpha), given, seed)
    pasted = (mixed.inputs != given.inputs).any(1)  # B×H×W
    moved = order != torch.arange(5)
    if moved.any():
        rows, columns = (pasted[moved][0].any(1 - axis) for axis in (0, 1))
        one = rows[:, None] & columns[None]
        assert torch.equal(pasted, one.expand_as(pasted) & moved[:, None, None])
        for side in (rows, columns):
            places = side.nonzero().flatten().tolist()
            assert places == list(range(places[0], places[-1] + 1)) if places else True
            assert len(places) <= len(side) * (1 - share) ** 0.5 + 1e-6
        area = 1 - float(one.float().mean())
        classes = torch.nn.functional.one_hot(given.targets, 3).float()
        torch.testing.assert_close(mixed.targets, area * classes + (1 - area) * classes[order])
        others = given.inputs[order]
        torch.testing.assert_close(mixed.inputs, torch.where(one, others, given.inputs))
    torch.testing.assert_close(mixed.targets.sum(1), torch.ones(5))


def test_a_mixture_is_mixed_again() -> None:
    torch.manual_seed(1)
    once = Mixup().batch(None, batch(0), CLASSES, None, NOW)
    twice = CutMix().batch(None, once, CLASSES, None, NOW)
    torch.testing.assert_close(twice.targets.sum(1), torch.ones(5))
    name, hits = Classification().score(twice.targets, twice.targets)
    assert (name, int(hits)) == ("accuracy", 5)


@pytest.mark.parametrize("companion", [Mixup(), CutMix()])
def test_only_images_are_mixed(companion: Any) -> None:
    with pytest.raises(Refusal) as refused:
        companion.batch(None, Batch(torch.randn(5, 7), torch.zeros(5, dtype=torch.int64)), CLASSES, None, NOW)
    assert refused.value.code == "RCP0826" and companion.name in refused.value.message


def test_other_tasks_have_no_labels_to_mix() -> None:
    with pytest.raises(RecipeError) as refused:
        check(parse("task superresolution\nfinetune for 1 epochs with mixup"))
    assert [one.code for one in refused.value.diagnostics] == ["RCP0437"]
