"""`prune filters` in whole recipes: budgets, shares, rounds, a pattern after it, the artifact, the plan."""

from __future__ import annotations

from typing import Any

import pytest

import recipelang
from recipelang.errors import RecipeError, StepFailed
from recipelang.methods.units.filters import Filters

HEAD = "model digits_resnet\ndata digits\nmeasure params, flops\n"


@pytest.mark.parametrize("criterion", ["magnitude", "taylor", "fpgm", "bn"])
def test_after_a_statement_its_until_holds(lab: Any, criterion: str) -> None:
    done = lab.run(HEAD + f"prune filters by {criterion} until flops < 0.6\n")
    assert 0.3 * done.metric("flops", "healthy") < done.metric("flops") < 0.6 * done.metric("flops", "healthy")
    step = done.steps(verb="prune")[0]
    rows = step["ranking"]
    gone, whole = (sum(row[name] for row in rows) for name in ("gone", "of"))
    removed, flops = step["reached"]
    assert removed == {"what": "removed", "value": gone, "noun": "filter", "of": whole} and whole == 256
    assert (flops["what"], flops["unit"], flops["bound"]) == ("flops", "x", 0.6) and flops["value"] < 0.6
    told = {f"removed {row['gone']} of {row['of']} filters of `{row['layer']}`" for row in rows if row["removed"]}
    assert set(step["edits"]) == told
    assert "`linear` (they are the network's output)" in step["note"]


def test_the_network_of_the_artifact_is_smaller_and_computes_what_the_report_says(lab: Any) -> None:
    text = HEAD + "prune filters by magnitude until params < 0.7\nsparsify nm 2:4\nfinetune for 2 steps\nmeasure top1\n"
    done = lab.run(text + "control\n")
    assert done.code == 0, done.said
    loaded = recipelang.load(done.folder / "main")
    assert sum(p.numel() for p in loaded.parameters()) < 0.7 * done.metric("params", "healthy")
    weights = dict(loaded.named_parameters())
    for row in done.steps(verb="prune")[0]["ranking"]:
        assert len(weights[f"deployed.{row['layer']}.weight"]) == row["of"] - row["gone"] >= 1
    assert "remove_channels" in (done.folder / "main" / "surgery.json").read_text()
    sparse = done.steps(verb="sparsify")[0]["reached"]
    able = int(sparse[0]["value"])
    assert able >= 8, "widths that stay are multiples of 2 and 4"
    again = lab.run(text + "control\n")
    assert again.made == 0 and again.weights() == done.weights()


def test_a_share_and_a_number_are_totals_over_rounds_and_never_exceeded(lab: Any) -> None:
    def removed(what: str) -> int:
        done = lab.run(HEAD + f"prune {what} by magnitude\n")
        return sum(row["gone"] for row in done.steps(verb="prune")[0]["ranking"])

    assert removed("64 filters(round=1)") == 64 == removed("25% filters(round=1)")
    assert 56 < removed("64 filters") <= 64
    done = lab.run(HEAD + "prune 64 filters(round=1) by magnitude over 3 rounds for 3 steps\n")
    step = done.steps(verb="prune")[0]
    assert sum(row["gone"] for row in step["ranking"]) == 64
    assert len(step["history"]) >= 3


def test_widths_are_a_multiple_of_what_is_asked_for(lab: Any) -> None:
    done = lab.run(HEAD + "prune filters(round=8) by random until flops < 0.7\n")
    rows = done.steps(verb="prune")[0]["ranking"]
    assert all(row["gone"] == 0 or (row["of"] - row["gone"]) % 8 == 0 for row in rows)


def test_a_number_is_removed_though_the_least_important_group_leaves_in_larger_steps(lab: Any) -> None:
    done = lab.run(HEAD + "prune 2 filters by magnitude\n")
    assert done.steps(verb="prune")[0]["reached"][0]["value"] == 2
    assert done.metric("params") < done.metric("params", "healthy")


def test_a_guard_ends_it_with_the_last_network_that_keeps_it(lab: Any) -> None:
    done = lab.run(HEAD + "prune filters by magnitude while params > 0.8\n")
    assert done.metric("params") > 0.8 * done.metric("params", "healthy")
    step = done.steps(verb="prune")[0]
    assert "removing one more filter would violate the guard" in step["note"]


def test_selected_groups_only(lab: Any) -> None:
    done = lab.run(HEAD + 'prune filters by fpgm until params < 0.95 in "layer2.*" except "layer2.0.conv1"\n')
    rows = done.steps(verb="prune")[0]["ranking"]
    assert {row["layer"].split(".")[0] for row in rows} == {"layer2"}
    assert "layer2.0.conv1" not in {row["layer"] for row in rows}


def test_a_plan_says_what_can_go_how_far_and_what_stays(lab: Any) -> None:
    (row,) = [row for row in lab.plan(HEAD + "prune filters by bn until flops < 0.5\n").rows if "prune" in row.text]
    assert row.details[0].startswith("224 of 256 filters can be removed, in 11 groups: `conv1`")
    assert "multiple of 2 or 4" in row.details[1]
    assert row.details[2] == "stays whole: `linear` (they are the network's output)"
    assert row.details[3].startswith("flops can reach 0.0")


@pytest.mark.parametrize(
    ("statement", "code", "words"),
    [
        ("prune filters by bn until flops < 0.001", "RCP0904", "flops can reach 0.0"),
        ("prune 250 filters by bn", "RCP0911", "250 filters are to be removed, and 224 of 256 can be"),
        ("prune 1 filter by bn", "RCP0911", "rounded widths let 2 or more go"),
        ("prune neurons by magnitude until flops < 0.9", "RCP0910", "`linear`: they are the network's output"),
        ("prune filters(round=64) by bn until flops < 0.9", "RCP0910", "a multiple of 64 has to stay"),
    ],
)
def test_what_cannot_be_is_refused_before_the_run(lab: Any, statement: str, code: str, words: str) -> None:
    try:
        problems = lab.plan(HEAD + statement + "\n").problems
    except (RecipeError, StepFailed) as error:
        problems = tuple(error.diagnostics)
    assert [problem.code for problem in problems] == [code]
    assert words in problems[0].message


def test_a_group_that_has_to_stay_after_all_is_replaced_by_others(apart: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    remove = Filters.remove

    def stubborn(self: Filters, network: Any, offer: Any, gone: Any) -> Any:
        why = {"layer1.0.conv1": "it is only tried"}
        return (network, why) if why.keys() & gone.keys() else remove(self, network, offer, gone)

    monkeypatch.setattr(Filters, "remove", stubborn)
    done = apart.run(HEAD + "prune 40% filters by magnitude\n")
    step = done.steps(verb="prune")[0]
    gone = {row["layer"]: row["gone"] for row in step["ranking"]}
    assert gone["layer1.0.conv1"] == 0 and 96 <= sum(gone.values()) <= 102
    assert "`layer1.0.conv1` (it is only tried)" in step["note"]
