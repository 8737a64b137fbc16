"""What a report tells of each network's way: its steps, how its layers execute, its training curves."""

from __future__ import annotations

from typing import Any

from recipelang.report.context import build


def test_steps_that_all_share_are_told_once(main_record: dict[str, Any]) -> None:
    first, main, control = build(main_record).journeys
    assert first.shared and [d.step.verb for d in first.steps] == ["model", "data"]
    assert [d.step.verb for d in main.steps] == ["prune", "finetune", "sparsify", "distill"]
    assert [d.step.verb for d in control.steps] == ["finetune", "finetune"]
    assert main.steps[0].edits[0].startswith("remove_layer ")


def test_steps_that_made_healthy_need_not_be_told_again(main_record: dict[str, Any]) -> None:
    told = build(main_record).journeys
    for variant in main_record["variants"][1:]:
        del variant["runs"][0]["steps"][:2]
    assert build(main_record).journeys == told


def test_removed_layers_stand_together(main_record: dict[str, Any]) -> None:
    gone = [{"layer": f"l{i}", "shape": [], "executes": "removed", "why": f"removed `l{i}`"} for i in range(3)]
    main_record["variants"][1]["layers"] = gone
    ((_, groups),) = build(main_record).layers
    assert [g.sentence for g in groups] == ["3 layers removed"]


def test_seeds_that_took_other_steps_are_told_apart(study_record: dict[str, Any]) -> None:
    del study_record["variants"][1]["runs"][2]["steps"][1]
    told = [j for j in build(study_record).journeys if j.name == "criterion=imprint, budget=0.8"]
    assert [j.seeds for j in told] == ["seeds 0 and 1", "seed 2"]


def test_layers_that_execute_alike_stand_together(main_record: dict[str, Any]) -> None:
    ((_, groups),) = build(main_record).layers
    assert [g.sentence for g in groups] == [
        "39 layers masked only: no sparse kernel on this CPU; no speed-up expected on this backend",
        "1 layer dense: 3 input channels do not divide by 4",
    ]


def test_rounds_of_a_repeat_make_one_curve(main_record: dict[str, Any]) -> None:
    steps = main_record["variants"][1]["runs"][0]["steps"]
    steps.append({**steps[3], "history": [{"epoch": 1, "loss": 0.5, "lr": 0.1}]})
    curve = next(t for t in build(main_record).trainings if t.step.verb == "finetune").curves[0]
    epochs = [p.epoch for p in curve.points]
    assert epochs == sorted(epochs) and epochs[-1] == epochs[-2] + 1


def test_statements_of_one_line_have_curves_of_their_own(main_record: dict[str, Any]) -> None:
    for variant in main_record["variants"]:
        for step in variant["runs"][0]["steps"]:
            step["line"] = 0 if variant["kind"] == "control" else 1
            step["text"] = "finetune for 3 epochs" if variant["kind"] == "control" and step["history"] else step["text"]
    found = build(main_record).trainings
    assert [t.step.verb for t in found] == ["finetune", "distill"]
    assert [[c.name for c in t.curves] for t in found] == [["main", "control"]] * 2
    assert [len(c.points) for t in found for c in t.curves] == [8, 8, 12, 12]
