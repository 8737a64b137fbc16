"""`repeat`: how often the block is done, and what stands when it ends."""

from __future__ import annotations

from typing import Any

HEAD = "model digits_resnet\ndata digits\nmeasure params\n"


def test_so_many_times(lab: Any) -> None:
    done = lab.run(HEAD + "repeat 3 times {\n prune 1 layers by random\n finetune for 1 steps\n}\n")
    assert done.removed() == 3
    assert len(done.steps(verb="finetune")) == 3
    assert done.steps(verb="repeat")[0]["reached"] == [{"value": 3, "noun": "round"}]


def test_until_a_budget_holds(lab: Any) -> None:
    done = lab.run(HEAD + "repeat until params < 0.6 {\n prune 1 layers by random\n}\n")
    healthy = done.metric("params", "healthy")
    assert done.metric("params") < 0.6 * healthy
    one_less = lab.run(HEAD + f"repeat {done.removed() - 1} times {{\n prune 1 layers by random\n}}\n")
    assert one_less.metric("params") >= 0.6 * healthy


def test_a_budget_that_holds_already_needs_no_round(lab: Any) -> None:
    done = lab.run(HEAD + "prune 1 layers by random\nrepeat until params < 0.99 {\n prune 1 layers by random\n}\n")
    assert done.removed() == 1
    assert done.steps(verb="repeat")[0]["reached"] == [{"value": 0, "noun": "round"}]


def test_the_round_that_breaks_the_guard_leaves_no_trace(lab: Any) -> None:
    text = HEAD + "repeat while params > 0.7 {\n prune 1 layers by random\n keep as latest\n expect params > 0.7\n}\n"
    done = lab.run(text)
    assert done.code == 0
    healthy = done.metric("params", "healthy")
    assert done.metric("params") > 0.7 * healthy
    rounds = len(done.steps(verb="prune"))
    assert done.steps(verb="repeat")[0]["reached"] == [{"value": rounds, "noun": "round"}]
    assert "undone" in done.steps(verb="repeat")[0]["note"]
    assert done.verdicts == [("main", True)] * rounds
    counted = lab.run(HEAD + f"repeat {rounds} times {{\n prune 1 layers by random\n}}\n")
    assert done.weights() == counted.weights()
    further = lab.run(HEAD + f"repeat {rounds + 1} times {{\n prune 1 layers by random\n}}\n")
    assert further.metric("params") <= 0.7 * healthy


def test_a_guard_that_does_not_hold_at_first_lets_no_round_begin(lab: Any) -> None:
    done = lab.run(HEAD + "prune 2 layers by random\nrepeat while params > 0.99 {\n prune 1 layers by random\n}\n")
    assert (done.code, done.removed()) == (0, 2)
    assert "did not hold at the start" in done.steps(verb="repeat")[0]["note"]


def test_nothing_left_to_remove_ends_a_guard(lab: Any) -> None:
    done = lab.run(HEAD + "repeat while params > 0.0001 {\n prune 3 layers by random\n}\n")
    assert (done.code, done.removed()) == (0, 9)
    assert "nothing is left" in done.steps(verb="repeat")[0]["note"]


def test_a_budget_out_of_reach_fails_and_keeps_the_best(lab: Any) -> None:
    done = lab.run(HEAD + "repeat until params < 0.001 {\n prune 1 layers by random\n}\nfinetune for 1 steps\n")
    assert done.code == 3
    assert done.variant()["error"]["code"] == "RCP0904"
    assert done.result.diagnostics[0].span.line == 4
    assert done.removed() == 9
    assert done.steps(verb="finetune") == []
    assert (done.folder / "partial" / "main" / "model.safetensors").is_file()
    assert not (done.folder / "main").exists()


def test_too_few_layers_for_a_number_of_times_is_a_failure(lab: Any) -> None:
    text = HEAD + "repeat 4 times {\n prune 3 layers by random\n}\n"
    for _ in range(2):  # what the store knows of it changes nothing
        done = lab.run(text)
        assert (done.code, done.removed()) == (3, 9)
        assert done.variant()["error"]["code"] == "RCP0910"
    assert lab.plan(text).problems


def test_a_block_may_choose_among_variants_of_its_own(lab: Any) -> None:
    variants = "variant a {\n  prune 1 layers by random\n }\n variant b {\n  prune 2 layers by random\n }\n"
    done = lab.run(
        HEAD + f"repeat 2 times {{\n {variants} expect params < 0.99\n choose by params\n}}\nprune 1 layers by random\n"
    )
    assert done.names == ["healthy", "main"]
    assert done.removed() == 5
    assert done.verdicts == []  # the candidates of a round end with it
    undone = lab.run(HEAD + f"repeat while params > 0.7 {{\n {variants} choose by params\n}}\n")
    assert undone.metric("params") > 0.7 * undone.metric("params", "healthy")
    assert undone.names == ["healthy", "main"]


def test_a_repeat_inside_a_repeat(lab: Any) -> None:
    done = lab.run(HEAD + "repeat 2 times {\n repeat 2 times {\n  prune 1 layers by random\n }\n}\n")
    assert done.removed() == 4


def test_the_plan_of_a_finished_repeat_has_nothing_to_do(lab: Any, read_plan: Any) -> None:
    for head in (
        "repeat 2 times",
        "repeat until params < 0.8",
        "repeat while params > 0.8",
        "repeat while params > 0.0001",
    ):
        text = HEAD + f"{head} {{\n prune 1 layers by magnitude\n}}\nfinetune for 1 steps\n"
        assert lab.plan(text + "finetune for 3 steps\n").work_to_do
        assert lab.run(text).code == 0
        plan = lab.plan(text)
        assert not plan.work_to_do
        assert read_plan(plan)["prune 1 layers by magnitude"] == ["stored"]
        assert lab.run(text).made == 0


def test_the_plan_says_that_the_number_of_rounds_is_not_known(apart: Any, find_row: Any) -> None:
    plan = apart.plan(HEAD + "repeat while params > 0.8 {\n prune 1 layers by random\n}\nfinetune for 1 steps\n")
    assert find_row(plan, "repeat").state == "runs"
    assert "known by running" in find_row(plan, "repeat").reason
    assert find_row(plan, "prune").state == "runs"
    assert find_row(plan, "finetune").reason == "a step above must run"
