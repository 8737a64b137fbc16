"""Variants, sweeps, seeds, choices and verdicts: what a recipe says of them is what a run does."""

from __future__ import annotations

from typing import Any

HEAD = "model digits_resnet\ndata digits\nmeasure params\n"
TWO = "variant a {\n  prune 1 layers by random\n}\nvariant b {\n  prune 2 layers by random\n}\n"


def seeds_that_hold(held: int) -> dict[str, Any]:
    """What the record says of two seeds."""
    return {"what": "hold", "value": held, "noun": "seed", "of": 2}


def test_what_stands_before_variants_is_done_once(apart: Any) -> None:
    text = HEAD + "train for 1 steps\nprune 1 layers by random\n" + TWO
    first = apart.run(text)
    assert first.code == 0
    assert first.names == ["healthy", "a", "b"]
    assert first.made == 5  # model, train, prune, and one prune in each variant
    assert (first.removed("a"), first.removed("b")) == (2, 3)
    assert [s["verb"] for s in first.steps("healthy")] == ["model", "data", "measure", "train"]
    again = apart.run(text)
    assert again.made == 0
    assert all(step["cached"] for step in again.steps("b", "prune"))
    assert again.weights("b") == first.weights("b")


def test_nested_sweeps_are_products_with_names_and_parameters(lab: Any) -> None:
    done = lab.run(HEAD + "sweep n in 1, 2 {\n sweep how in random, magnitude {\n  prune $n layers by $how\n }\n}")
    assert done.names == ["healthy", *(f"n={n}, how={how}" for n in (1, 2) for how in ("random", "magnitude"))]
    assert done.variant("n=2, how=random")["parameters"] == {"n": "2", "how": "random"}
    assert done.variant("healthy")["parameters"] == {}
    assert done.removed("n=2, how=magnitude") == 2
    assert (done.folder / "n=2,how=random" / "model.safetensors").is_file()


def test_choose_takes_the_best_and_what_follows_starts_there(lab: Any) -> None:
    done = lab.run(HEAD + TWO + "choose by params\nprune 1 layers by random\n")
    assert done.names == ["healthy", "a", "b", "main"]
    assert [done.variant(name)["chosen"] for name in ("a", "b", "main")] == [False, True, False]
    assert done.removed() == 3
    assert done.metric("params") < done.metric("params", "b") < done.metric("params", "a")
    assert [done.variant(name)["goes_on"] for name in ("a", "b", "main")] == [False, False, True]
    assert done.variant()["origin"] == "b"


def test_a_choice_that_nothing_follows_is_the_candidate_itself(lab: Any) -> None:
    done = lab.run(HEAD + TWO + "choose by params\nmeasure flops\nexpect params < 0.99\n")
    assert done.names == ["healthy", "a", "b"]
    assert [done.variant(name)["goes_on"] for name in done.names] == [False, False, True]
    assert done.verdicts == [("b", True)]
    assert done.steps("b")[-1]["verb"] == "measure"


def test_a_choice_among_variants_that_chose_themselves_ends_with_one_network(lab: Any) -> None:
    """Whichever is chosen, and whether anything follows: one network goes on, and it is the best of the best."""
    inner = "variant {name} {{\n"
    inner += "  variant a {{ prune {n} layers by random }}\n  variant b {{ prune {m} layers by random }}\n"
    outer = inner.format(name="x", n=1, m=3) + "  choose by params\n}\n"
    outer += inner.format(name="y", n=2, m=1) + "  choose by params\n}\nchoose by params\n"
    alone, followed = lab.run(HEAD + outer), lab.run(HEAD + outer + "prune 1 layers by random\n")
    assert [v["name"] for v in alone.result.report["variants"] if v["goes_on"]] == ["x, b"]
    assert [v["name"] for v in followed.result.report["variants"] if v["goes_on"]] == ["main"]
    assert followed.removed() == 4


def test_variants_that_stand_open_all_go_on(lab: Any) -> None:
    done = lab.run(HEAD + TWO)
    assert [done.variant(name)["goes_on"] for name in ("healthy", "a", "b")] == [False, True, True]


def test_expect_before_choose_filters_and_after_it_is_a_verdict(lab: Any) -> None:
    filtered = lab.run(HEAD + TWO + "expect params > 0.9\nchoose by params\n")
    assert filtered.code == 0
    assert filtered.verdicts == [("a", True), ("b", False)]
    assert filtered.variant("a")["chosen"]
    verdict = lab.run(HEAD + TWO + "choose by params\nexpect params > 0.9\n")
    assert verdict.code == 4
    assert verdict.verdicts == [("b", False)]
    before = lab.run(
        HEAD + "expect params > 99%\nprune 2 layers by random\nexpect params > 99%\n" + TWO + "choose by params"
    )
    assert before.code == 4  # no variant stands open at either line: both are verdicts
    assert [holds for _, holds in before.verdicts] == [True, False]


def test_an_expect_inside_a_variant_filters_too(lab: Any) -> None:
    inside = (
        "variant a {\n prune 2 layers by random\n expect params > 0.9\n}\nvariant b {\n prune 1 layers by random\n}\n"
    )
    done = lab.run(HEAD + inside + "choose by params\n")
    assert (done.code, done.variant("b")["chosen"]) == (0, True)
    assert lab.run(HEAD + inside).code == 4


def test_choose_first_does_not_run_the_rest(apart: Any, read_plan: Any) -> None:
    text = (
        HEAD
        + TWO
        + "variant c {\n prune 3 layers by random\n}\nexpect params < 0.8\nchoose first\nprune 1 layers by random\n"
    )
    done = apart.run(text)
    assert done.names == ["healthy", "a", "b", "main"]
    assert done.made == 4  # the model, a, b, and what follows b
    assert done.verdicts == [("a", False), ("b", True)]
    assert done.removed() == 3
    known = apart.plan(text)
    assert not known.work_to_do
    assert read_plan(known)["prune 3 layers by random"] == ["notes"]
    assert read_plan(apart.plan(text.replace("0.8", "0.7")))["prune 3 layers by random"] == ["runs"]


def test_choose_first_walks_the_points_of_nested_sweeps_one_by_one(apart: Any) -> None:
    text = (
        HEAD
        + "sweep a in 1, 2 {\n sweep b in 1, 2 {\n  prune $a layers by random\n  prune $b layers by random\n }\n}\n"
    )
    done = apart.run(text + "expect params < 79%\nchoose first\n")
    assert done.names == ["healthy", "a=1, b=1", "a=1, b=2"]
    assert done.variant("a=1, b=2")["chosen"]


def test_where_nothing_can_be_chosen_the_step_fails(lab: Any) -> None:
    for choice in ("choose by params", "choose first"):
        done = lab.run(HEAD + TWO + f"expect params < 0.1\n{choice}\nfinetune for 1 steps\n")
        assert done.code == 3
        assert [d.code for d in done.result.diagnostics] == ["RCP0903"]
        assert done.result.diagnostics[0].span.line == 11
        assert done.variant()["error"]["code"] == "RCP0903"
        assert done.steps() == []
        assert not done.variant("a")["error"]


def test_a_candidate_that_fails_only_loses(lab: Any, find_row: Any) -> None:
    text = (
        HEAD
        + "variant a {\n prune layers by random until params < 0.001\n}\nvariant b {\n prune 1 layers by random\n}\n"
    )
    done = lab.run(text + "choose by params\n")
    assert done.code == 0
    assert done.variant("a")["error"]["code"] == "RCP0904"
    assert done.variant("b")["chosen"]
    plan = lab.plan(text + "choose by params\n")
    assert find_row(plan, "prune layers").state == "fails"
    assert not plan.problems


def test_a_failing_variant_does_not_stop_its_siblings(lab: Any) -> None:
    fails = "variant a {\n variant x {\n  prune layers by random until params < 0.001\n }\n choose by params\n}\n"
    done = lab.run(
        HEAD + fails + "variant b {\n prune 1 layers by random\n}\nexpect params < 0.99\nexpect b.params < a.params\n"
    )
    assert done.code == 3
    assert done.names == ["healthy", "a, x", "a", "b"]
    assert done.removed("b") == 1
    assert done.verdicts == [("b", True), ("", None)]  # what needs the failed one is undecided, and said once
    assert {d.code for d in done.result.diagnostics} == {"RCP0903", "RCP0904"}


def test_variants_are_compared_by_name(lab: Any) -> None:
    done = lab.run(HEAD + TWO + "expect b.params < a.params\nexpect params < 0.99\nexpect params < 0.9\n")
    assert done.verdicts == [("", True), ("a", True), ("b", True), ("a", False), ("b", True)]
    assert done.code == 4


def test_seeds_run_what_follows_once_each_and_what_stands_above_once(apart: Any) -> None:
    text = HEAD + "train for 1 steps\nseeds 0, 1\nprune 1 layers by random\nexpect params < 0.99\nexpect top1 < 100%\n"
    done = apart.run(text)
    assert done.made == 4  # model, train, two prunes
    main = done.variant()
    assert [run["seed"] for run in main["runs"]] == [0, 1]
    assert main["metrics"]["params"]["n"] == 2
    assert "std" in main["metrics"]["params"]
    assert [e["held"] for e in done.result.report["expectations"]] == [seeds_that_hold(2), seeds_that_hold(2)]
    assert len(done.variant("healthy")["runs"]) == 1
    assert (done.folder / "main" / "seed-1" / "model.safetensors").is_file()
    more = apart.run(text.replace("0, 1", "0, 1, 2"))
    assert more.made == 1


def test_an_expect_under_seeds_is_about_the_mean(lab: Any) -> None:
    one = [lab.run(HEAD + f"seeds {s}\nprune 2 layers by random\n").metric("params", "main") for s in range(4)]
    low, high = min(one), max(one)
    assert low < high, "these seeds remove different layers"
    chosen = (one.index(low), one.index(high))
    healthy = lab.run(HEAD + "prune 1 layers by random").metric("params", "healthy")
    bound = 100 * ((low + high) / 2 + 1) / healthy
    done = lab.run(HEAD + f"seeds {chosen[0]}, {chosen[1]}\nprune 2 layers by random\nexpect params < {bound:.4f}%\n")
    assert done.verdicts == [("main", True)]
    assert done.result.report["expectations"][0]["held"] == seeds_that_hold(1)


def test_choose_under_seeds_goes_on_with_every_seed_of_the_best(lab: Any) -> None:
    done = lab.run(HEAD + "seeds 0, 1\n" + TWO + "choose by params\nfinetune for 1 steps\n")
    assert [run["seed"] for run in done.variant()["runs"]] == [0, 1]
    assert done.removed("main", 0) == done.removed("main", 1) == 2


def test_measure_after_variants_measures_each(lab: Any) -> None:
    done = lab.run(HEAD + TWO + "measure flops\n")
    assert all(done.steps(name, "measure")[-1]["metrics"]["flops"]["value"] > 0 for name in ("a", "b"))
    assert done.metric("flops", "b") < done.metric("flops", "a")
