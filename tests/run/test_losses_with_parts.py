"""Losses that train parts along, remember samples or run sections: in a whole recipe, planned and run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import recipelang
from recipelang.errors import RecipeError, StepFailed, line_of
from recipelang.images.dataset import ImageDataset
from recipelang.nets.digits_resnet import digits_resnet

RECIPE = """model digits_resnet
data digits
train for 2 steps
prune 4 layers by magnitude
distill from healthy for 2 steps with {}
"""
WIDE = """
import torch

def build():
    torch.manual_seed(0)
    steps = [torch.nn.Conv2d(1, 7, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(7, 9, 3, padding=1, stride=2)]
    return torch.nn.Sequential(*steps, torch.nn.Flatten(), torch.nn.Linear(144, 10))
"""
ONE, TWO = "layer1 (16×8×8)", "layer2 (32×4×4)"
POSITIONS = {"crd": [TWO], "ft": [TWO], "irg": [ONE, TWO], "kp": [ONE], "lit": [ONE, TWO], "relational": [TWO]}
POSITIONS["rkd"] = [ONE, TWO]


def test_all_at_once_are_planned_run_and_leave_nothing_behind(lab: Any) -> None:
    text = RECIPE.format(" + ".join(("0.1 * crd(negatives=64)", *list(POSITIONS)[1:])))
    wanted = tuple(f"`{name}` compares {p} with {p} of `healthy`" for name, places in POSITIONS.items() for p in places)
    assert lab.plan(text).rows[-1].details == wanted
    done = lab.run(text)
    assert done.code == 0
    step = done.steps(verb="distill")[0]
    for words in (
        "`lit` compares layer1, layer2 with layer1, layer2 of `healthy`",
        "the assistant of `rkd` explained ",
    ):
        assert words in step["note"]
    assert set(load_file(done.folder / "main" / "model.safetensors")) <= set(digits_resnet().state_dict())


def test_data_that_does_not_number_its_samples_is_refused_by_plan(apart: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ImageDataset, "drawn")
    apart.plan(RECIPE.format("relational"))
    with pytest.raises(StepFailed) as refused:
        apart.plan(RECIPE.format("crd"))
    (found,) = refused.value.diagnostics
    assert found.code == "RCP1500" and "the data `digits` does not say which samples" in found.message
    assert line_of(found.span) == 5


def test_sections_of_other_widths_are_refused_by_plan(
    apart: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wide.py").write_text(WIDE, encoding="utf-8")
    text = 'model python("wide.py:build") as wide\n' + RECIPE.replace("from healthy", "from wide").format("lit")
    with pytest.raises(RecipeError) as refused:
        apart.plan(text, trust=True)
    (found,) = refused.value.diagnostics
    assert found.code == "RCP0821" and "`lit` finds no two sections of the same shapes" in found.message


def test_mixed_images_have_no_class_to_draw_others_of(lab: Any) -> None:
    with pytest.raises(RecipeError) as refused:  # known before anything runs
        recipelang.check(RECIPE.format("crd, mixup"))
    (found,) = refused.value.diagnostics
    assert found.code == "RCP1501" and "`mixup` makes them shares of several" in found.message
    several = RECIPE.format("crd(among=others)").replace("data digits", "task multilabel\ndata several_digits")
    with pytest.raises(RecipeError) as refused:
        recipelang.check(several)
    (found,) = refused.value.diagnostics
    assert found.code == "RCP1501" and "the task multilabel has no such targets" in found.message
    assert lab.run(RECIPE.format("crd(among=all, negatives=64), mixup")).code == 0
