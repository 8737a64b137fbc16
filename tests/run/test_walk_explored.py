"""Allocations that try, in whole recipes: budgets, records, plans, kills, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recipelang.budgets.bench import Workbench
from recipelang.errors import RecipeError
from recipelang.plan import steps_of
from recipelang.report.context import build
from recipelang.report.render import write

HEAD = "model digits_vgg\ndata digits\nmeasure params, flops\n"
#: how each is asked, small
ASKED = {
    "sensitivity": "sensitivity until flops < 0.7",
    "autoslim": "autoslim(steps=3, stages=1) until flops < 0.7",
    "dmcp": "dmcp(steps=3, warmup=1, widths=sampled, draws=8) until flops < 0.7",
    "metapruning": "metapruning(steps=2, population=5) until flops < 0.7",
    "netadapt": "netadapt(reduction=0.03, steps=1) until flops < 0.92",
    "eagleeye": "eagleeye(3) until flops < 0.7",
}


@pytest.mark.parametrize("name", ASKED)
def test_the_budget_holds_and_the_record_has_what_was_tried(lab: Any, name: str) -> None:
    done = lab.run(HEAD + f"prune filters(round=8) by magnitude with {ASKED[name]}\n")
    bound = float(ASKED[name].rpartition(" ")[2])
    assert done.metric("flops") < bound * done.metric("flops", "healthy")
    step = done.steps(verb="prune")[0]
    assert step["plots"] and all(line["x"] for plot in step["plots"] for line in plot["lines"])
    again = lab.run(HEAD + f"prune filters(round=8) by magnitude with {ASKED[name]}\n")
    assert again.made == 0 and again.weights() == done.weights()


@pytest.mark.parametrize("name", ASKED)
def test_a_search_that_was_killed_goes_on_and_ends_with_the_same_bytes(
    lab: Any, apart: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    text = HEAD + f"prune filters(round=8) by magnitude with {ASKED[name]}\n"
    scored, calls = Workbench.score, list[str]()

    def ended(self: Workbench, given: Any, **how: Any) -> Any:
        calls.append("x")
        if len(calls) == 2:
            raise KeyboardInterrupt
        return scored(self, given, **how)

    monkeypatch.setattr(Workbench, "score", ended)
    with pytest.raises(KeyboardInterrupt):
        apart.run(text)
    assert len(calls) == 2
    assert apart.run(text).weights() == lab.run(text).weights()


@pytest.mark.parametrize(
    ("over", "word"), [("over 2 rounds", "round"), ("over agp(begin=0 steps, every=1 steps) for 2 steps", "update")]
)
def test_what_several_searches_of_a_statement_say_is_told_apart(lab: Any, over: str, word: str) -> None:
    done = lab.run(HEAD + f"prune filters(round=8) by magnitude with eagleeye(2) until flops < 0.7 {over}\n")
    step = done.steps(verb="prune")[0]
    titles = [plot["title"] for plot in step["plots"]]
    assert len(set(titles)) == len(titles) >= 1 and all(f"({word} " in title for title in titles)
    told = [figure["what"] for figure in step["reached"] if figure.get("noun") == "signature"]
    assert len(set(told)) == len(told) >= 1 and told[-1] == f"within the budget ({word} 2)"
    assert f"{word} 2: eagleeye: loss" in step["note"]


def test_the_report_draws_the_curves(lab: Any, tmp_path: Path) -> None:
    done = lab.run(HEAD + "prune filters(round=8) by magnitude with sensitivity until flops < 0.7\n")
    write(build(done.result.report), ("markdown", "html"), tmp_path)
    assert "% of the group removed" in (tmp_path / "figures" / "search-0.svg").read_text()
    assert "## Search" in (tmp_path / "report.md").read_text()
    assert '<h2 id="search">' in (tmp_path / "report.html").read_text()


def test_a_budget_that_no_signature_meets_is_out_of_reach_and_says_how_far_it_got(apart: Any) -> None:
    done = apart.run(HEAD + 'prune filters(round=8) by magnitude with eagleeye(2) in "10" until params < 0.01\n')
    error = done.variant()["error"]
    assert (done.code, error["code"]) == (3, "RCP0904")
    assert "with what `eagleeye` found" in error["message"] and "params 0." in error["message"]
    assert "let `eagleeye` try more" in error["help"]


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (
            "prune 30% filters by magnitude with netadapt",
            "`netadapt` looks for what meets a budget",
        ),
        ("prune filters by magnitude with eagleeye while top1 drop < 5%", "`eagleeye` looks for what meets a budget"),
        (
            "prune filters by lasso with netadapt until flops < 0.5",
            "`netadapt` trains what stays, and `lasso` corrects",
        ),
    ],
)
def test_what_has_no_meaning_is_refused_by_check(lab: Any, statement: str, words: str) -> None:
    with pytest.raises(RecipeError) as refused:
        lab.checked(HEAD + statement + "\n")
    assert [problem.code for problem in refused.value.diagnostics] == ["RCP0475"]
    assert words in refused.value.diagnostics[0].message


def test_an_optimizer_tunes_the_proposals_and_needs_no_for(lab: Any) -> None:
    text = HEAD + "prune filters by magnitude with netadapt, sgd(lr=1e-3) until flops < 0.5\n"
    (step,) = [step for step in steps_of(lab.checked(text).nodes) if step.operation.verb == "prune"]
    assert step.operation.tuner.lr == 1e-3 and step.operation.training is None
    with pytest.raises(RecipeError) as refused:
        lab.checked(text.replace("netadapt", "eagleeye"))
    assert refused.value.diagnostics[0].code == "RCP0414"
