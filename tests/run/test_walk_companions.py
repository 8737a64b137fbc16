"""Recipes with companions and schedules: masks that stay, the control, the plan, what a network must have for them."""

from __future__ import annotations

from typing import Any

import pytest

from recipelang.errors import StepFailed
from recipelang.run import planning
from recipelang.run.timing import Times

HEAD = "model digits_resnet\ndata digits(batch=32)\nmeasure params\n"
OVER = "sparsify weights to 80% by magnitude over agp(start=10%, every=1 steps) for 4 steps with sgd(lr=1e-2)"


def test_masks_move_during_the_training_and_are_kept_after_it(lab: Any) -> None:
    done = lab.run(
        f"{HEAD}{OVER} except first\nfinetune for 2 steps\nexpect sparsity >= 79%\n", control=True, smoke=False
    )
    assert done.code == 0 and done.verdicts == [("main", True)]
    step = done.steps(verb="sparsify")[0]
    assert step["reached"][0] == {"what": "are 80% sparse", "value": 21, "noun": "weight", "of": 21}
    assert {"value": 4, "noun": "step"} in step["reached"] and len(step["edits"]) == 21
    control = done.steps("control")
    assert [s["verb"] for s in control if s["implied"]] == ["finetune", "finetune"]
    assert "for 4 steps with sgd(lr=1e-2)" in control[-2]["text"]
    assert done.metric("params", "control") == done.metric("params")


def test_the_control_of_a_schedule_trains_as_if_there_were_none(lab: Any) -> None:
    over = lab.run(f"{HEAD}{OVER}\n", control=True, smoke=False)
    alone = lab.run(f"{HEAD}variant a {{ finetune for 4 steps with sgd(lr=1e-2) }}\n", control=True, smoke=False)
    assert over.weights("control") == alone.weights("control")


def test_at_once_is_once_and_the_target_is_part_of_the_key(apart: Any) -> None:
    half = apart.run(f"{HEAD}sparsify weights to 50%\nexpect sparsity >= 50%\n")
    assert half.code == 0
    assert apart.run(f"{HEAD}sparsify weights to 0.5 by magnitude\n").made == 0
    more = apart.run(f"{HEAD}sparsify weights to 60%\nexpect sparsity >= 60%\n")
    assert more.code == 0 and more.made == 1
    assert more.steps(verb="sparsify")[0]["reached"] == [
        {"what": "are 60% sparse", "value": 22, "noun": "weight", "of": 22}
    ]


def test_a_criterion_with_data_is_asked_at_every_update(lab: Any) -> None:
    text = OVER.replace("magnitude", "taylor").replace(" with sgd", " on train(samples=64) with sgd")
    assert lab.run(f"{HEAD}{text}\nexpect sparsity >= 79%\n", smoke=False).code == 0


def test_a_plan_counts_the_scores_of_every_update(apart: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Times, "seconds_per_image", lambda self, network: 1.0)
    monkeypatch.setattr(Times, "_step", lambda self, *_: 0.0)
    seconds = []
    for every in (1, 2):
        text = OVER.replace("magnitude", "taylor on train(samples=64)").replace("every=1", f"every={every}")
        report = planning.make(apart.checked(f"{HEAD}{text}\n"), apart.options(smoke=False), timed=True)
        seconds.append(next(row.seconds for row in report.rows if row.text.startswith("sparsify")))
    assert seconds == [(1 + 4) * 3 * 64, (1 + 2) * 3 * 64]  # before the training and at each update; 3 passes each


def test_a_plan_shows_how_the_target_is_reached(apart: Any, find_row: Any) -> None:
    row = find_row(apart.plan(f"{HEAD}{OVER}\n", smoke=False), "sparsify")
    assert row.details == (
        "22 weights can be 80% sparse, 0 stay dense",
        "agp sets the target 4 times: 10.00 % at epoch 0, 59.26 % at epoch 0.0303, 77.41 % at epoch 0.0606, "
        "80.00 % at epoch 0.0909",
    )


def test_a_schedule_that_does_not_fit_the_data_is_refused_by_the_plan(apart: Any) -> None:
    late = OVER.replace("every=1 steps", "begin=1 epochs, every=1 steps")
    for smoke in (False, True):  # a smoke run takes two steps, and compares what is written
        with pytest.raises(StepFailed) as failed:
            apart.plan(f"{HEAD}{late}\n", smoke=smoke)
        assert [d.code for d in failed.value.diagnostics] == ["RCP0312"]


def test_slimming_is_part_of_a_training_and_of_its_key(apart: Any) -> None:
    slim = apart.run(f"{HEAD}train for 2 steps with slimming(1e-1)\n", smoke=False)
    plain = apart.run(f"{HEAD}train for 2 steps\n", smoke=False)
    assert plain.made == 1 and slim.weights() != plain.weights()


def test_slimming_then_filters_by_bn(lab: Any) -> None:
    done = lab.run(f"{HEAD}train for 2 steps with slimming(1e-3)\nprune 8 filters by bn\nfinetune for 1 steps\n")
    assert done.code == 0 and done.metric("params") < done.metric("params", "healthy")


def test_without_batchnorm_the_plan_and_the_run_refuse_slimming(apart: Any, tmp_path: Any) -> None:
    file = tmp_path / "bare.py"
    file.write_text(
        "from torch import nn\n\n"
        "def build():\n"
        "    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))\n"
    )
    text = f'model python("{file}:build")\ndata digits\ntrain for 2 steps with slimming\n'
    for refuses in (apart.plan, apart.run):
        with pytest.raises(StepFailed) as failed:
            refuses(text, trust=True)
        assert [d.code for d in failed.value.diagnostics] == ["RCP0833"]
