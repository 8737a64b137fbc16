"""`sparsify … over lottery(…)`: the plan, the record, what the control trains, and other architectures."""

from __future__ import annotations

from typing import Any

import pytest

from recipelang.errors import StepFailed

HEAD = "model digits_vgg\ndata digits(batch=128)\nmeasure sparsity\n"
KEPT = f"{HEAD}keep as early\ntrain for 2 steps\n"
OVER = "sparsify weights to 80% over lottery(rounds=2, rewind=early) for 5 steps with sgd(lr=1e-2)\n"


def test_rounds_are_planned_trained_and_told(lab: Any, find_row: Any) -> None:
    row = find_row(lab.plan(KEPT + OVER, smoke=False), "sparsify")
    assert row.details == (
        "7 weights can be 80% sparse, 0 stay dense",
        "lottery sets the target 2 times: 55.28 % at epoch 0, 80.00 % at epoch 0.25",
    )
    done = lab.run(KEPT + OVER, control=True, smoke=False)
    assert done.code == 0 and done.metric("sparsity") == pytest.approx(0.8, abs=0.002)
    step = done.steps(verb="sparsify")[0]
    assert step["reached"][0] == {"what": "are 80% sparse", "value": 7, "noun": "weight", "of": 7}
    assert {"value": 5, "noun": "step"} in step["reached"] and len(step["history"]) == 2
    assert step["note"].startswith("lottery: 55.") and step["note"].endswith(" zeros, each round from `early`")
    texts = [s["text"] for s in done.steps("control") if s["implied"]]
    assert texts == [f"finetune for {steps} steps with sgd(lr=1e-2)" for steps in (2, 3)]


def test_the_state_is_part_of_the_key(apart: Any) -> None:
    first = apart.run(KEPT + OVER)
    same = apart.run(KEPT.replace("early", "start") + OVER.replace("early", "start"))
    other = apart.run(f"{HEAD}train for 2 steps\nkeep as early\n{OVER}")
    assert other.made == 1 and other.weights() != first.weights()
    assert same.weights() == first.weights()


def test_a_state_of_another_architecture_is_refused_by_the_plan(apart: Any) -> None:
    """A budget may remove something or nothing: known once it ran."""
    text = f"{KEPT}prune filters by magnitude until params < 0.95\n"
    apart.run(text)
    problems = apart.plan(text + OVER).problems
    assert [problem.code for problem in problems] == ["RCP0791"]
    assert apart.run(text + OVER).variant()["error"]["code"] == "RCP0791"


def test_rounds_of_less_than_a_step_are_refused_by_the_plan(apart: Any) -> None:
    with pytest.raises(StepFailed) as failed:
        apart.plan(KEPT + OVER.replace("rounds=2", "rounds=40").replace("5 steps", "1 epoch"), smoke=False)
    assert [d.code for d in failed.value.diagnostics] == ["RCP0312"]
    assert "trains less than a step" in failed.value.diagnostics[0].message
