"""Recipes with patterns of pieces: masks through training, export, artifact and report."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load

from recipelang.errors import StepFailed

HEAD = "model digits_resnet\ndata digits(batch=32)\n"


def test_kernels_stay_zero_through_training_export_and_artifact(lab: Any) -> None:
    done = lab.run(
        f"{HEAD}sparsify kernels to 60% except first\nfinetune for 3 steps\nexport safetensors, onnx\n"
        "measure sparsity, sparsity(of=kernels), sparsity(of=filters)\nexpect sparsity(of=kernels) > 59%\n"
    )
    assert done.code == 0 and done.verdicts == [("main", True)]
    step = done.steps(verb="sparsify")[0]
    assert step["reached"] == [{"what": "are 60% sparse in kernels", "value": 20, "noun": "weight", "of": 21}]
    assert step["note"] == "stays dense: `linear.weight` (a linear weight has no kernels)"
    weight = load(done.weights())["layer1.0.conv1.weight"]
    zero = (weight == 0).flatten(2).all(2)
    assert int(zero.sum()) == 154, "⌈0.6 · 256⌉"
    assert abs(done.metric("sparsity(of=kernels)") - 0.6) < 0.01
    assert sorted(p.name for p in (done.folder / "main" / "export").rglob("*.onnx"))
    again = lab.run(
        f'model artifact("{done.folder / "main"}")\ndata digits(batch=32)\nfinetune for 3 steps\n'
        "measure sparsity(of=kernels)\n"
    )
    assert again.code == 0 and again.metric("sparsity(of=kernels)") == done.metric("sparsity(of=kernels)")
    tuned = load(again.weights())["layer1.0.conv1.weight"]
    assert not torch.equal(tuned, weight) and torch.equal((tuned == 0).flatten(2).all(2), zero)


def test_filters_by_a_criterion_of_filters_are_planned_and_then_removed(lab: Any, find_row: Any) -> None:
    text = f'{HEAD}sparsify filters to 50% by fpgm in "layer1.*"\n'
    text += 'prune 8 filters(round=1) by magnitude in "layer1.0.conv1"\n'
    row = find_row(lab.plan(text), "sparsify")
    assert row.details == ("10 weights can be 50% sparse in filters, 0 stay dense",)
    done = lab.run(text + "measure params, sparsity(of=filters)\n")
    assert done.code == 0 and done.steps(verb="prune")[0]["edits"] == ["removed 8 of 16 filters of `layer1.0.conv1`"]
    weights = load(done.weights())
    assert weights["layer1.0.conv1.weight"].shape[0] == 8 and weights["layer1.0.conv1.weight"].flatten(1).any(1).all()


def test_a_plan_refuses_a_criterion_of_filters_where_no_channels_can_be_removed(lab: Any) -> None:
    with pytest.raises(StepFailed) as failed:
        lab.plan(f'{HEAD}sparsify filters to 50% by fpgm in "layer2.0.conv2"\n')
    assert [problem.code for problem in failed.value.diagnostics] == ["RCP0910"]
