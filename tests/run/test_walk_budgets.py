"""Budgets, guards and rounds of a statement, and what is left where a budget is out of reach."""

from __future__ import annotations

import json
from typing import Any

import pytest

import recipelang

HEAD = "model digits_resnet\ndata digits\nmeasure params\n"


def test_after_a_statement_its_until_holds_with_the_fewest_layers(lab: Any) -> None:
    done = lab.run(HEAD + "prune layers by random until params < 0.6\n")
    healthy = done.metric("params", "healthy")
    assert done.metric("params") < 0.6 * healthy
    fewer = lab.run(HEAD + f"prune {done.removed() - 1} layers by random\n")
    assert fewer.metric("params") >= 0.6 * healthy
    step = done.steps(verb="prune")[0]
    assert step["asked"] == [{"what": "params", "unit": "x", "operator": "<", "bound": 0.6}]
    removed, params = step["reached"]
    assert removed == {"what": "removed", "value": done.removed(), "noun": "layer"}
    assert (params["what"], params["unit"], params["bound"]) == ("params", "x", 0.6)
    assert params["value"] == pytest.approx(done.metric("params") / healthy)


def test_a_guard_ends_a_statement_with_the_last_model_that_keeps_it(lab: Any) -> None:
    done = lab.run(HEAD + "prune layers by magnitude while params > 0.8\nfinetune for 1 steps\n")
    assert done.code == 0
    healthy = done.metric("params", "healthy")
    assert done.metric("params") > 0.8 * healthy
    assert "guard" in done.steps(verb="prune")[0]["note"]
    further = lab.run(HEAD + f"prune {done.removed() + 1} layers by magnitude\n")
    assert further.metric("params") <= 0.8 * healthy


def test_a_guard_that_breaks_before_the_budget_is_met_is_a_failure(lab: Any) -> None:
    done = lab.run(HEAD + "prune layers by random until params < 0.5 while flops > 0.9\nfinetune for 1 steps\n")
    assert done.code == 3
    error = done.result.diagnostics[0]
    assert "before the guard is violated" in error.message
    assert "loosen the guard" in error.help, "a guard depends on the criterion; how far a cost can go does not"
    assert "no criterion changes" not in error.help and "train between rounds" in error.help
    text = "prune layers by random until params < 0.5 while flops > 0.9 over 2 rounds for 2 steps\n"
    assert "train longer between more rounds" in lab.run(HEAD + text).result.diagnostics[0].help


def test_numbers_are_totals_over_rounds(lab: Any) -> None:
    done = lab.run(HEAD + "prune 4 layers by random over 2 rounds for 4 steps\n")
    assert done.removed() == 4
    share = lab.run(HEAD + "prune 50% layers by random\n")
    assert share.removed() == 4  # of nine


def test_out_of_reach_fails_the_step_keeps_the_best_and_runs_nothing_after_it(apart: Any) -> None:
    text = HEAD + "train for 1 steps\nprune layers by random until params < 0.001\nfinetune for 1 steps\n"
    for made in (2, 0):
        done = apart.run(text, out=apart.folder / "out")
        assert (done.code, done.made) == (3, made)
        error = done.variant()["error"]
        assert (error["code"], error["line"]) == ("RCP0904", 5)
        assert done.steps() == []
        assert any("will fail" in line for line in done.said[:2])
        best = recipelang.load(done.folder / "partial" / "main")
        assert sum(p.numel() for p in best.parameters()) < 0.15 * done.metric("params", "healthy")
    mended = apart.run(text.replace("0.001", "0.5"), out=apart.folder / "out")
    assert mended.code == 0
    assert not (mended.folder / "partial").exists()


def test_the_plan_of_a_budget_out_of_reach_says_how_far_it_can_go(lab: Any, find_row: Any) -> None:
    plan = lab.plan(HEAD + "prune layers by random until params < 0.001\n")
    assert [problem.code for problem in plan.problems] == ["RCP0904"]
    assert find_row(plan, "prune").state == "fails"
    assert "can reach 0.129×" in find_row(plan, "prune").reason


def test_the_range_of_a_plan_is_a_ratio_to_healthy_and_not_to_what_is_left(lab: Any) -> None:
    text = HEAD + "prune 6 layers by random\nprune layers by random until params < 0.2\n"
    assert lab.run(HEAD + "prune 6 layers by random\n").code == 0
    assert not lab.plan(text).problems
    assert lab.run(text).code == 0


def test_until_may_compare_with_a_kept_state(lab: Any) -> None:
    done = lab.run(
        HEAD + "prune 2 layers by random\nkeep as half\nstart from healthy\n"
        "prune layers by magnitude until params < half.params\n"
    )
    assert done.metric("params") < lab.run(HEAD + "prune 2 layers by random\n").metric("params")


def test_export_writes_the_state_of_its_line(lab: Any) -> None:
    done = lab.run(
        HEAD + 'prune 1 layers by random\nexport safetensors to "early"\nprune 2 layers by random\nexport safetensors\n'
    )
    early = sum(p.stat().st_size for p in (done.folder / "early").rglob("*.safetensors"))
    late = sum(p.stat().st_size for p in (done.folder / "main" / "export").rglob("*.safetensors"))
    assert 0 < late < early


def test_exports_of_several_variants_lie_apart(lab: Any) -> None:
    text = "variant a {\n prune 1 layers by random\n}\nvariant b {\n prune 2 layers by random\n}\n"
    both = lab.run(HEAD + text + 'export safetensors to "deploy"\n')
    assert sorted(p.name for p in (both.folder / "deploy").iterdir()) == ["a", "b"]
    chosen = lab.run(HEAD + text + 'choose by params\nexport safetensors to "deploy"\n')
    assert [p.suffix for p in (chosen.folder / "deploy").iterdir() if p.is_file()]


def test_acceleration_on_a_processor_is_masked_only(lab: Any) -> None:
    done = lab.run(HEAD + "sparsify nm 2:4\naccelerate\nfinetune for 1 steps\n")
    assert done.steps(verb="accelerate")[0]["reached"][0]["what"] == "masked only"
    layers = done.variant()["layers"]
    assert {row["executes"] for row in layers} <= {"dense", "masked only"}
    assert sum(row["executes"] == "masked only" for row in layers) > 0
    assert all(row["why"] for row in layers if row["executes"] == "masked only")
    assert json.loads((done.folder / "main" / "surgery.json").read_text())["restrictions"]


def test_without_measure_the_report_has_a_column_for_each_budget_and_guard(lab: Any) -> None:
    done = lab.run("model digits_lenet\ndata digits\nprune neurons by random until params < 0.8 while loss rise < 9\n")
    assert done.code == 0
    columns = [column["name"] for column in done.result.report["metrics"]]
    assert columns[:2] == ["top1", "latency"] and columns.count("params") == 1
    assert columns[-1] == "loss"
