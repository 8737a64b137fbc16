"""Training what is left from new random weights: for as many epochs, or for as many FLOPs."""

from __future__ import annotations

from typing import Any

import pytest

HEAD = "model digits_vgg\ndata digits(batch=256)\nmeasure flops\n"
CUT = HEAD + "train for 1 steps\nprune 60% filters by magnitude\n"
SHORT = " for 2 steps with sgd(lr=multistep(0.05, at=[0.2]))\n"


def figure(step: dict[str, Any], noun: str) -> float:
    return float(next(f["value"] for f in step["reached"] if f.get("noun") == noun))


def test_equal_flops_is_as_many_steps_as_healthy_could_make_with_them(lab: Any, find_row: Any) -> None:
    text = CUT + "train from scratch(equal=flops)" + SHORT + "control\n"
    before = find_row(lab.plan(text, smoke=False), "train from")
    assert before.state == "runs"
    assert any("how long is known by running" in line for line in before.details)

    lab.run(CUT, smoke=False)
    row = find_row(lab.plan(text, smoke=False), "train from")
    done = lab.run(text, smoke=False)
    part = done.metric("flops") / done.metric("flops", "healthy")
    assert part < 0.7
    long = done.steps(verb="train")[-1]
    assert figure(long, "step") == round(2 / part)
    assert long["note"] == f"as many FLOPs as healthy in 2 steps, since an image takes {part:.3g} of healthy's"
    assert any(line.startswith(f"trains for {2 / part:.6g} steps, as many") for line in row.details)
    # the control makes the same updates
    assert figure(done.steps("control", "finetune")[-1], "step") == round(2 / part)


def test_equal_epochs_is_what_from_scratch_means(lab: Any) -> None:
    done = lab.run(CUT + "train from scratch(equal=epochs)" + SHORT, smoke=False)
    again = lab.run(CUT + "train from scratch" + SHORT, smoke=False)
    assert again.made == 0
    assert figure(done.steps(verb="train")[-1], "step") == 2


def test_masks_hold_and_their_zeros_cost_nothing(lab: Any) -> None:
    text = HEAD + "train for 1 steps\nsparsify weights to 75% by magnitude\n"
    done = lab.run(text + "train from scratch(equal=flops)" + SHORT + "measure sparsity\n", smoke=False)
    assert done.metric("flops") == done.metric("flops", "healthy")  # of dense execution
    assert figure(done.steps(verb="train")[-1], "step") == pytest.approx(8, abs=1)
    assert done.metric("sparsity") == pytest.approx(0.75, abs=0.01)
