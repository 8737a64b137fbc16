"""`ecc`, `amc` and `morphnet` in whole recipes: budgets, what the record says, what is out of reach."""

from __future__ import annotations

from typing import Any

import pytest

HEAD = "model digits_vgg\ndata digits\nmeasure params, flops\n"
WITH = {"amc": "amc(3, hidden=8)", "ecc": "ecc(2)", "morphnet": "morphnet(2)"}


@pytest.mark.parametrize("name", WITH)
def test_after_a_statement_its_until_holds_and_the_record_draws_the_search(lab: Any, name: str) -> None:
    done = lab.run(HEAD + f"prune filters by magnitude until flops < 0.6 with {WITH[name]}\n")
    assert done.metric("flops") < 0.6 * done.metric("flops", "healthy")
    step = done.steps(verb="prune")[0]
    gone = sum(row["gone"] for row in step["ranking"])
    assert step["reached"][0] == {"what": "removed", "value": gone, "noun": "filter", "of": 224}
    curve, kept = step["plots"]
    assert curve["lines"] and all(len(line["x"]) == len(line["y"]) > 0 for line in curve["lines"])
    shares = [100 * (1 - row["gone"] / row["of"]) for row in step["ranking"]]
    assert kept["lines"][0]["y"] == pytest.approx(shares)
    told = {figure["what"] for figure in step["reached"]}
    assert told & {"best reward", "error of the cost model", "width multiplier"}


@pytest.mark.parametrize("name", WITH)
def test_a_budget_that_no_signature_meets_is_out_of_reach_and_says_how_far_one_gets(lab: Any, name: str) -> None:
    done = lab.run(HEAD + f"prune filters by magnitude until flops < 0.001 with {WITH[name]}\n")
    assert done.code == 3
    (error,) = done.result.diagnostics
    assert error.code == "RCP0904"
    assert f"with what `{name}` found (196 filters), it is at flops 0.017" in error.message
