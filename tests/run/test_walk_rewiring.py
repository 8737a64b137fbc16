"""Recipes whose schedules decide by their own law which weights are zero: run, plan, control, report."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load

HEAD = "model digits_resnet\ndata digits(batch=32)\nmeasure sparsity\n"
OVER = {
    "rigl": "rigl(every=2 steps)",
    "set": "set(every=2 steps)",
    "deepr": "deepr",
    "sparse_momentum": "sparse_momentum(every=2 steps)",
    "dynamic_sparse": "dynamic_sparse(every=2 steps, threshold=0.1)",
    "surgery": "surgery(end=4 steps)",
}


@pytest.mark.parametrize("name", OVER)
def test_masks_hold_through_what_follows(lab: Any, name: str) -> None:
    done = lab.run(
        f"{HEAD}sparsify weights to 80% over {OVER[name]} for 6 steps except first\nfinetune for 2 steps\n"
        "expect sparsity >= 79%\n",
        smoke=False,
    )
    assert done.code == 0 and done.verdicts == [("main", True)]
    step = done.steps(verb="sparsify")[0]
    together = " together" if name in ("sparse_momentum", "dynamic_sparse") else ""
    assert step["reached"][0] == {"what": f"are 80% sparse{together}", "value": 21, "noun": "weight", "of": 21}
    assert ("zeros: from" in step["note"]) == bool(together)
    assert step["reached"][1]["what"] == ("spliced" if name == "surgery" else "moved")
    assert {"value": 6, "noun": "step"} in step["reached"]
    if name != "rigl":
        return  # how they decided does not matter afterwards
    again = lab.run(f'model artifact("{done.folder / "main"}")\ndata digits(batch=32)\nfinetune for 2 steps\n')
    before, after = load(done.weights()), load(again.weights())
    assert all(
        not after[key][tensor == 0].any() for key, tensor in before.items() if tensor.ndim == 4 and "layer" in key
    )


def test_a_control_of_a_training_from_scratch_starts_from_scratch(lab: Any) -> None:
    over = f"{OVER['deepr']} for 3 steps from scratch with sgd(lr=1e-2)"
    done = lab.run(f"{HEAD}sparsify weights to 80% over {over}\n", control=True, smoke=False)
    implied = [step["text"] for step in done.steps("control") if step["implied"]]
    assert implied == ["finetune from scratch for 3 steps with sgd(lr=1e-2)"]
    plain = lab.run(f"{HEAD}train from scratch for 3 steps with sgd(lr=1e-2)\n", smoke=False)
    control, scratch = load(done.weights("control")), load(plain.weights())
    assert all(torch.equal(control[name], tensor) for name, tensor in scratch.items())


def test_a_plan_says_how_often_masks_move(apart: Any, find_row: Any) -> None:
    for name, told in {
        "rigl": "rigl moves masks 2 times at 80.00 % zeros, the last time at epoch 0.121",
        "deepr": "deepr moves masks at 80.00 % zeros after every step",
        "surgery": "surgery sets masks near 80.00 % zeros before every step until epoch 0.0909",
    }.items():
        text = f"{HEAD}sparsify weights to 80% over {OVER[name]} for 8 steps"
        assert find_row(apart.plan(text, smoke=False), "sparsify").details[-1] == told


def test_masks_of_before_are_not_held_beneath_those_that_move(lab: Any) -> None:
    done = lab.run(
        f"{HEAD}sparsify weights to 50% by random\nsparsify weights to 60% over set(every=1 steps) for 4 steps\n"
        "expect sparsity >= 59%\n",
        smoke=False,
    )
    assert done.code == 0 and done.verdicts == [("main", True)]
    assert "replaces the mask of `conv1.weight`" in done.steps(verb="sparsify")[1]["note"]
