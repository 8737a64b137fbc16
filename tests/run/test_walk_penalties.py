"""Recipes with penalties on structures: what is gone after the training, the control, the plan, bad input."""

from __future__ import annotations

from typing import Any

import pytest

from recipelang.errors import StepFailed

SGD = "sgd(lr=0.1, momentum=0, weight_decay=0)"
NET = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(8, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)

    def forward(self, x):
        return (x + self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))).relu()


def build():
    stem = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
    net = nn.Sequential(*stem, Block(), Block(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.constant_(part.weight, 0.5)
            part.weight.data[::2] = 0.05
        elif isinstance(part, nn.Conv2d):
            part.weight.data[::2] *= 0.1
    return net
"""


@pytest.fixture
def head(tmp_path: Any) -> str:
    """A small residual network whose even filters are small."""
    file = tmp_path / "net.py"
    file.write_text(NET)
    return f'model python("{file}:build")\ndata digits(batch=32)\nmeasure params, flops\n'


def test_a_training_with_ssl_removes_filters_and_its_control_does_not(lab: Any, head: str) -> None:
    lasso = f"finetune for 4 steps with ssl(2, unit=filters(round=1)), {SGD}"
    done = lab.run(f"{head}train for 4 steps\n{lasso}\nfinetune for 1 steps\n", control=True, smoke=False, trust=True)
    assert done.code == 0
    step = done.steps(verb="finetune")[0]
    gone = next(figure for figure in step["reached"] if figure.get("what") == "removed")
    assert gone["noun"] == "filter" and 0 < gone["value"] < gone["of"]
    assert step["ranking"] and done.metric("params") < done.metric("params", "healthy")
    assert done.metric("params", "control") == done.metric("params", "healthy")
    assert [s["verb"] for s in done.steps("control") if s["implied"]] == ["finetune", "finetune"]
    assert "ssl" not in next(s for s in done.steps("control") if s["implied"])["text"]


def test_layers_whose_factor_is_zero_are_gone(lab: Any, head: str) -> None:
    done = lab.run(
        f"{head}prune layers by sss(50) for 2 steps with {SGD}\nfinetune for 1 steps\n", smoke=False, trust=True
    )
    assert done.code == 0
    step = done.steps(verb="prune")[0]
    assert step["reached"][0]["what"] == "removed" and step["reached"][0]["value"] == 2
    assert done.metric("flops") < 0.5 * done.metric("flops", "healthy")


def test_a_collapsed_layer_is_named_and_keeps_one_filter(lab: Any, head: str) -> None:
    done = lab.run(
        f"{head}prune filters(round=1) by ssl(500) for 2 steps with {SGD}\nfinetune for 1 steps\n",
        smoke=False,
        trust=True,
    )
    assert done.code == 0
    step = done.steps(verb="prune")[0]
    assert "collapsed" in step["note"] and "`3.conv1`" in step["note"]
    assert all(row["of"] - row["gone"] == 1 for row in step["ranking"] if "of" in row)


def test_columns_of_zeros_are_masks_that_later_trainings_keep(lab: Any, head: str) -> None:
    lasso = f"finetune for 2 steps with ssl(shapes=3), {SGD}"
    done = lab.run(
        f"{head}train for 2 steps\n{lasso}\nfinetune for 2 steps\nexpect sparsity > 5%\n", smoke=False, trust=True
    )
    assert done.code == 0 and done.verdicts == [("main", True)]
    assert done.steps(verb="finetune")[0]["edits"]


def test_slimming_and_then_a_budget(lab: Any, head: str) -> None:
    text = f"{head}train for 4 steps with slimming(1e-2)\nprune filters by bn until flops < 0.5\nfinetune for 1 steps\n"
    done = lab.run(text, smoke=False, trust=True)
    assert done.code == 0 and done.metric("flops") < 0.5 * done.metric("flops", "healthy")


def test_the_plan_says_what_may_go(apart: Any, find_row: Any, head: str) -> None:
    text = f"{head}train for 2 steps\nfinetune for 2 steps with ssl(1e-3, shapes=1e-3, depth=1e-2)\n"
    details = find_row(apart.plan(text, trust=True), "finetune").details
    assert [line for line in details if "may become zero" in line] == [
        "269 columns of 6 weights may become zero",
        "20 filters may become zero and be removed",
        "2 layers may become zero and be removed",
    ]
    assert any(
        "2 of 2 layers" in line
        for line in find_row(apart.plan(f"{head}prune layers by sss for 2 steps\n", trust=True), "prune").details
    )


@pytest.mark.parametrize(
    ("companion", "code"), [("ssl", "RCP0910"), ("ssl(1e-3, unit=layers)", "RCP0910"), ("sss", "RCP0910")]
)
def test_a_network_that_has_nothing_for_it_is_refused_by_the_plan_and_by_the_run(
    apart: Any, tmp_path: Any, companion: str, code: str
) -> None:
    file = tmp_path / "bare.py"
    file.write_text("from torch import nn\n\ndef build():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n")
    text = f'model python("{file}:build")\ndata digits\ntrain for 2 steps\nfinetune for 2 steps with {companion}\n'
    for refuses in (apart.plan, apart.run):
        with pytest.raises(StepFailed) as failed:
            refuses(text, trust=True)
        assert [d.code for d in failed.value.diagnostics] == [code]
