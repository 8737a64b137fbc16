"""Distillation on nothing: plan and report say what its control trains on."""

from __future__ import annotations

from typing import Any

from recipelang.report.context import build
from recipelang.report.render import render

TEXT = """data digits
model digits_resnet
train for 2 steps
prune 6 layers by magnitude
distill from healthy on deepinversion(64, steps=2) for 2 steps with kd, sgd(lr=1e-2)
measure top1
control
"""
TOLD = "on 64 samples of `train` with their labels, in place of those that `deepinversion` makes"


def test_plan_and_report_say_what_the_control_trains_on(apart: Any) -> None:
    before = next(row for row in apart.plan(TEXT).rows if row.text == "control")
    assert before.state == "runs" and TOLD in before.reason
    done = apart.run(TEXT)
    assert done.code == 0, done.result.failures
    assert done.steps("control", "finetune")[0]["text"] == "finetune for 2 steps with sgd(lr=1e-2) on train(samples=64)"
    note = f"the control of main trains {TOLD}"
    assert note in done.result.report["warnings"]
    context = build(done.result.report, folder=done.folder)
    assert (
        note in render(context, "md")["report.md"]
        and "the control of main trains" in render(context, "html")["report.html"]
    )
    after = next(row for row in apart.plan(TEXT).rows if row.text == "control")
    assert after.state == "stored" and TOLD in after.reason


def test_a_control_of_samples_of_the_data_needs_no_note(apart: Any) -> None:
    text = TEXT.replace("deepinversion(64, steps=2)", "train(samples=64)")
    assert "in place of" not in next(row for row in apart.plan(text).rows if row.text == "control").reason
    done = apart.run(text)
    assert not [warning for warning in done.result.report["warnings"] if "in place of" in warning]
    assert done.steps("control", "finetune")[0]["text"].endswith(" on train(samples=64)")
