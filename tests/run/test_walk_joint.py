"""`prune layers, filters` and allocations in whole recipes: budgets, amounts, rounds, records, plans."""

from __future__ import annotations

from typing import Any

import pytest

import recipelang
from recipelang.budgets.joint import JointRemoval
from recipelang.errors import RecipeError, StepFailed
from recipelang.report.context import build

HEAD = "model digits_resnet\ndata digits\nmeasure params, flops\n"
BOTH = "prune layers, filters by magnitude until flops < 0.5 and params < 0.4\n"


def test_after_a_statement_its_until_holds_for_all_costs_and_the_record_has_rows_of_each_unit(lab: Any) -> None:
    done = lab.run(HEAD + BOTH)
    assert done.metric("flops") < 0.5 * done.metric("flops", "healthy")
    assert done.metric("params") < 0.4 * done.metric("params", "healthy")
    step = done.steps(verb="prune")[0]
    rows = {unit: [row for row in step["ranking"] if row["unit"] == unit] for unit in ("layers", "filters")}
    layers, filters, *costs = step["reached"]
    assert (layers["noun"], layers["value"]) == ("layer", sum(row["removed"] for row in rows["layers"]))
    assert (filters["noun"], filters["joins"]) == ("filter", "and")
    assert filters["value"] == sum(row["gone"] for row in rows["filters"])
    assert filters["of"] == sum(row["of"] for row in rows["filters"])
    assert [cost["what"] for cost in costs] == ["flops", "params"]
    weights = dict(recipelang.load(done.folder / "main").named_parameters())
    removed = {row["layer"] for row in rows["layers"] if row["removed"]}
    for row in rows["filters"]:
        assert not any(row["layer"].startswith(layer + ".") for layer in removed), "it vanished with the layer"
        assert len(weights[f"deployed.{row['layer']}.weight"]) == row["of"] - row["gone"]
    ranked = [{row.unit for row in ranking.ranked} for ranking in build(done.result.report).rankings]
    assert ranked == [{"layers"}, {"filters"}], "the report has a chart of each"
    again = lab.run(HEAD + BOTH)
    assert again.made == 0 and again.weights() == done.weights()


def test_amounts_of_several_units_are_removed_one_after_another(lab: Any) -> None:
    done = lab.run(HEAD + "prune 2 layers, 30% filters(round=1) by random\n")
    step = done.steps(verb="prune")[0]
    layers, filters = step["reached"]
    assert layers["value"] == 2 and filters["value"] == round(0.3 * filters["of"])
    assert filters["of"] < 256, "of what the removed layers left"
    assert step["asked"] == [
        {"value": 2, "noun": "layer"},
        {"what": "filters", "value": 0.3, "unit": "%", "joins": "and"},
    ]


def test_rounds_rank_again_and_end_within_the_budget(lab: Any) -> None:
    done = lab.run(HEAD + "prune layers, filters by taylor until params < 0.5 over 3 rounds for 3 steps\n")
    assert done.metric("params") < 0.5 * done.metric("params", "healthy")
    step = done.steps(verb="prune")[0]
    assert len(step["history"]) >= 3
    filters = next(figure for figure in step["reached"] if figure.get("noun") == "filter")
    assert filters["value"] <= filters["of"]


def test_a_run_that_ended_while_units_were_weighed_ends_with_the_same_bytes(
    lab: Any, apart: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = HEAD + "prune layers, filters by taylor until params < 0.6 and flops < 0.7\n"
    tried, calls = JointRemoval.tried, list[int]()

    def ended(self: JointRemoval, steps: Any) -> Any:
        calls.append(len(steps))
        if len(calls) == 5:
            raise KeyboardInterrupt
        return tried(self, steps)

    with monkeypatch.context() as patched:
        patched.setattr(JointRemoval, "tried", ended)
        with pytest.raises(KeyboardInterrupt):
            apart.run(text)
    assert apart.run(text).weights() == lab.run(text).weights()


def test_uniform_takes_the_same_share_of_every_group(lab: Any) -> None:
    done = lab.run(HEAD + "prune filters by magnitude with uniform until flops < 0.5\n")
    assert 0.4 * done.metric("flops", "healthy") < done.metric("flops") < 0.5 * done.metric("flops", "healthy")
    rows = done.steps(verb="prune")[0]["ranking"]
    shares = [row["gone"] / row["of"] for row in rows]
    assert max(shares) - min(shares) <= 1 / 8 + 1e-9, "no group is more than a step ahead: a step is an eighth"
    ranked = lab.run(HEAD + "prune filters by magnitude until flops < 0.5\n").steps(verb="prune")[0]["ranking"]
    assert ranked != rows, "one ranking of the whole network takes more of some groups"


def test_one_unit_may_be_weighed_against_a_budget_as_well(lab: Any) -> None:
    text = HEAD + "prune filters by magnitude{} until flops < 0.5\n"
    weighed, ranked = (lab.run(text.format(how)) for how in (" with knapsack", " with global"))
    assert weighed.metric("flops") < 0.5 * weighed.metric("flops", "healthy")
    assert weighed.weights() != ranked.weights()
    assert lab.run(text.format("")).made == 0, "`with global` is what is meant without it"


def test_a_plan_says_what_each_unit_offers_and_how_far_both_can_go(lab: Any) -> None:
    text = HEAD + BOTH.replace("0.5", "0.55")
    (row,) = [row for row in lab.plan(text).rows if "prune" in row.text]
    assert row.details[0].startswith("9 layers can be removed: ")
    assert row.details[1].startswith("224 of 256 filters can be removed, in 11 groups: `conv1`")
    reach = [line for line in row.details if "can reach" in line]
    assert len(reach) == 2 and all(" can reach 0.0" in line for line in reach)


@pytest.mark.parametrize(
    ("statement", "code", "words"),
    [
        ("prune layers, filters by magnitude until params < 0.001", "RCP0904", "params can reach 0.0"),
        (
            "prune filters by magnitude until flops < 0.5 and params < 0.001",
            "RCP0904",
            "is out of reach: params can reach 0.060× (now 1.000×); `flops < 0.5` can be met",
        ),
        ("prune 2 layers, 250 filters by magnitude", "RCP0911", "250 filters are to be removed, and 224 of 256 can be"),
        ("prune layers, neurons by magnitude until params < 0.5", "RCP0910", "no neuron of this network"),
    ],
)
def test_what_cannot_be_is_refused_before_the_run(lab: Any, statement: str, code: str, words: str) -> None:
    try:
        problems = lab.plan(HEAD + statement + "\n").problems
    except (RecipeError, StepFailed) as error:
        problems = tuple(error.diagnostics)
    assert [problem.code for problem in problems] == [code]
    assert words in problems[0].message
