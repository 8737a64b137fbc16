"""States, teachers and the control: which network a name means, and what a fair comparison is trained with."""

from __future__ import annotations

import json
from typing import Any

import pytest

from recipelang.errors import Refusal
from recipelang.training.loop import fit

HEAD = "model digits_resnet\ndata digits\nmeasure params\n"
SAVED = ("model.safetensors", "model.json", "surgery.json")


def same_network(one: Any, other: Any, name: str = "main", other_name: str = "main") -> bool:
    """Whether two runs ended with the same bytes."""
    return all(
        (one.folder / name / file).read_bytes() == (other.folder / other_name / file).read_bytes() for file in SAVED
    )


# states ---------------------------------------------------------------------------------------


def test_healthy_is_what_stands_before_the_first_compressing_step(lab: Any) -> None:
    text = "train for 1 steps\nprune 1 layers by random\nfinetune for 2 steps\n"
    back = lab.run(HEAD + text + "start from healthy\n")
    trained = lab.run(HEAD + "train for 1 steps\n")
    assert same_network(back, trained)
    assert back.metric("params") == back.metric("params", "healthy")


def test_training_inside_a_variant_does_not_move_healthy(lab: Any) -> None:
    done = lab.run(
        HEAD
        + "train for 1 steps\nvariant a {\n train for 2 steps\n start from healthy\n}\n"
        + "variant b {\n prune 1 layers by random\n}\n"
    )
    before = lab.run(HEAD + "train for 1 steps\n")
    assert same_network(done, before, "a")
    assert len(done.variant("healthy")["runs"]) == 1


def test_kept_states_are_started_from(lab: Any) -> None:
    done = lab.run(HEAD + "prune 1 layers by random\nkeep as small\nprune 2 layers by random\nstart from small\n")
    assert same_network(done, lab.run(HEAD + "prune 1 layers by random\n"))


def test_recovered_is_the_state_before_the_last_new_restriction(lab: Any) -> None:
    tuned = HEAD + "no recovery\nprune 1 layers by random\nfinetune for 2 steps\n"
    before = lab.run(tuned)
    once = lab.run(tuned + "sparsify nm 2:4\nfinetune for 1 steps\nstart from recovered\n")
    assert same_network(once, before)
    # the network is 2:4 already: the same restriction again does not move `recovered`
    again = lab.run(tuned + "sparsify nm 2:4\nfinetune for 1 steps\nsparsify nm 2:4\nstart from recovered\n")
    assert same_network(again, before)
    # another restriction does
    other = lab.run(tuned + "sparsify nm 2:4\nfinetune for 1 steps\nsparsify nm 1:4\nstart from recovered\n")
    assert same_network(other, lab.run(tuned + "sparsify nm 2:4\nfinetune for 1 steps\n"))


def test_going_back_leaves_the_restriction_behind(lab: Any) -> None:
    done = lab.run(
        HEAD
        + "no recovery\nsparsify nm 2:4\nstart from healthy\n"
        + "prune 1 layers by random\nsparsify nm 2:4\nstart from recovered\n"
    )
    assert same_network(done, lab.run(HEAD + "prune 1 layers by random\n"))


def test_implied_recovery_is_a_finetune_and_can_be_left_out(lab: Any, find_row: Any) -> None:
    text = HEAD + "prune 1 layers by random\nsparsify nm 2:4\ndistill from recovered for 1 steps\n"
    done = lab.run(text)
    implied = done.steps(verb="finetune")
    assert [step["implied"] for step in implied] == [True]
    assert implied[0]["text"].startswith("finetune for 3 epochs")
    row = find_row(lab.plan(text), "finetune")
    assert row.line == 0
    assert "`recovered` is named later" in row.reason
    assert lab.run(text.replace("prune", "no recovery\nprune")).steps(verb="finetune") == []


def test_teachers_decide_what_a_student_learns(lab: Any) -> None:
    prune = HEAD + "model resnet20 as teacher\nprune 1 layers by random\nkeep as pruned\nfinetune for 2 steps\n"
    runs = {name: lab.run(prune + f"distill from {name} for 2 steps\n") for name in ("healthy", "pruned", "teacher")}
    weights = [run.weights() for run in runs.values()]
    assert len(set(weights)) == 3
    both = lab.run(prune + "distill from healthy, teacher for 2 steps\n")
    assert both.weights() not in weights


def test_a_second_data_set_is_measured_on(lab: Any) -> None:
    done = lab.run(
        HEAD + "data digits(augment=none, batch=32) as plain\nprune 1 layers by random\nmeasure top1 on plain, val\n"
        "expect top1 > 1% on plain\n"
    )
    assert {"top1 on plain", "top1 on val", "params"} == set(done.variant()["metrics"])
    assert done.code in (0, 4)


# control --------------------------------------------------------------------------------------


def test_the_control_has_the_training_and_none_of_the_surgery(lab: Any) -> None:
    done = lab.run(
        HEAD
        + "prune 1 layers by random\nfinetune for 2 steps with sgd(lr=1e-3)\nsparsify nm 2:4\n"
        + "distill from healthy for 3 steps\nrecalibrate on train(samples=64)\ncontrol\n"
    )
    control = done.variant("control")
    assert control["kind"] == "control"
    assert control["control_of"] == ["main"]
    assert [s["verb"] for s in done.steps("control")] == ["finetune", "finetune", "recalibrate"]
    assert done.metric("params", "control") == done.metric("params", "healthy")
    surgery = json.loads((done.folder / "control" / "surgery.json").read_text())
    assert (surgery["edits"], surgery["restrictions"]) == ([], {})
    tuned = lab.run(
        HEAD
        + "keep as x\nstart from x\nfinetune for 2 steps with sgd(lr=1e-3)\n"
        + "finetune for 3 steps\nrecalibrate on train(samples=64)\n"
    )
    assert same_network(done, tuned, "control")


def test_a_control_sees_the_batches_that_its_variant_saw(apart: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def listening(*arguments: Any, seed: int, **named: Any) -> Any:
        seen.append(seed)
        return fit(*arguments, seed=seed, **named)

    monkeypatch.setattr("recipelang.stages.train.fit", listening)
    monkeypatch.setattr("recipelang.stages._pace.fit", listening)
    apart.run(
        HEAD
        + "prune 1 layers by random\nfinetune for 1 steps\nprune 2 layers by random over 2 rounds for 2 steps\n"
        + "recalibrate\nrepeat 2 times {\n finetune for 1 steps\n}\nfinetune for 1 steps\ncontrol\n"
    )
    of_variant, of_control = seen[:6], seen[6:]
    assert len(set(of_variant)) == 6
    assert of_control == of_variant


def test_a_control_that_cannot_be_trained_points_at_the_statement_that_it_repeats(
    apart: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def failing(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) > 1:
            raise Refusal("RCP0813", "the loss is not a number any more", "")
        return fit(*arguments, **named)

    monkeypatch.setattr("recipelang.stages.train.fit", failing)
    text = HEAD + "prune 1 layers by random\nfinetune for 1 steps\ncontrol\n"
    (told,) = apart.run(text).result.diagnostics
    assert told.code == "RCP0813" and told.span is not None
    assert text[told.span.start : told.span.end].startswith("finetune for 1 steps")


def test_controls_are_shared_where_the_training_is_equal(lab: Any) -> None:
    def variant(name: str, layers: int, tuning: str) -> str:
        return f"variant {name} {{\n prune {layers} layers by random\n {tuning}\n}}\n"

    done = lab.run(
        HEAD
        + variant("a", 1, "finetune for 2 steps")
        + variant("b", 2, "finetune for 2 steps")
        + variant("c", 1, "finetune for 5 steps")
        + variant("d", 1, "recalibrate on train(samples=64)")
        + "control\n"
    )
    assert done.names[5:] == ["control of a and b", "control of c", "control of d"]
    assert done.variant("control of a and b")["control_of"] == ["a", "b"]
    untrained = lab.run(
        HEAD + variant("a", 1, "finetune for 2 steps") + "variant e {\n prune 1 layers by random\n}\ncontrol\n"
    )
    assert untrained.names == ["healthy", "a", "e", "control"]
    assert any("its control is healthy itself" in w for w in untrained.result.report["warnings"])


def test_the_control_copies_the_rounds_that_were_run_and_not_those_undone(lab: Any) -> None:
    done = lab.run(HEAD + "repeat while params > 0.7 {\n prune 1 layers by random\n finetune for 1 steps\n}\ncontrol\n")
    assert len(done.steps("control")) == len(done.steps(verb="finetune")) > 0


def test_the_control_follows_the_path_to_the_network_and_not_what_was_left_behind(lab: Any) -> None:
    done = lab.run(
        HEAD
        + "prune 1 layers by random\nkeep as x\nfinetune for 5 steps\nstart from x\nfinetune for 2 steps\ncontrol\n"
    )
    assert [s["text"][:20] for s in done.steps("control")] == ["finetune for 2 steps"]


def test_rounds_of_a_statement_share_its_training_with_its_control(lab: Any) -> None:
    done = lab.run(HEAD + "prune 3 layers by random over 3 rounds for 7 steps\ncontrol\n", smoke=False)
    assert done.removed() == 3
    durations = [s["text"].split(" with")[0] for s in done.steps("control")]
    assert durations == ["finetune for 2 steps", "finetune for 2 steps", "finetune for 3 steps"]


def test_a_drop_may_be_counted_from_the_control(lab: Any) -> None:
    text = HEAD + "prune 1 layers by random\nfinetune for 2 steps\ncontrol\nmeasure top1\n"
    done = lab.run(text + "expect top1 drop(from=control) < 99%\n")
    assert (done.code, done.verdicts) == (0, [("main", True)])
    drop = 100 * (done.metric("top1", "control") - done.metric("top1"))
    (figure,) = done.result.report["expectations"][0]["figures"]
    assert (figure["what"], figure["unit"]) == ("top1 drop(from=control)", "points")
    assert 100 * figure["value"] == pytest.approx(drop)


def test_a_control_under_seeds_has_each_seed(lab: Any) -> None:
    head = HEAD.replace("params", "params, top1")
    done = lab.run(head + "seeds 0, 1\nprune 1 layers by random\nfinetune for 2 steps\ncontrol\n")
    assert [run["seed"] for run in done.variant("control")["runs"]] == [0, 1]
    assert done.variant("control")["metrics"]["params"]["n"] == 2
    top1 = done.variant()["metrics"]["top1"]
    assert top1["control"]["value"] == pytest.approx(done.metric("top1", "control"))
    assert top1["control"]["difference"] == pytest.approx(done.metric("top1") - done.metric("top1", "control"))
    low, high = top1["control"]["difference_low"], top1["control"]["difference_high"]
    assert -1 <= low <= top1["control"]["difference"] <= high <= 1 and low < high
    assert 0 <= top1["low"] <= top1["value"] <= top1["high"] <= 1 and top1["low"] < top1["high"]


def test_the_plan_shows_the_control_and_whether_it_must_be_trained(apart: Any, find_row: Any) -> None:
    text = HEAD + "prune 1 layers by random\nfinetune for 2 steps\n"
    assert find_row(apart.plan(text + "control\n"), "control").state == "runs"
    apart.run(text)
    asked = apart.plan(text, control=True)
    assert find_row(asked, "control").state == "runs"
    assert asked.work_to_do
    assert apart.run(text, control=True).made == 1
    assert not apart.plan(text + "control\n").work_to_do
