"""`sparsify … with ALLOCATION` in whole recipes: the share of zeros over all weights, each with its own mask."""

from __future__ import annotations

from typing import Any

import pytest

from recipelang.errors import RecipeError

HEAD = "model digits_resnet\ndata digits\nmeasure sparsity\n"


def weights_of(step: dict[str, Any]) -> dict[str, str]:
    """Weight → what the record says of it."""
    return {edit.split("`")[1]: edit.split(" is ")[1] for edit in step["edits"]}


@pytest.mark.parametrize(
    ("name", "rest"),
    [
        ("global", ""),
        ("erk", ""),
        ("sensitivity", ' in "layer1.0.*"'),
        ("global", " over agp(every=1 steps) for 4 steps"),
        ("erk", " over agp(every=1 steps) for 4 steps"),
        ("erk", " over rigl(every=1 steps) from scratch for 4 steps"),
        ("global", " over set(every=1 steps) for 4 steps"),
    ],
)
def test_all_weights_together_reach_the_target_and_each_has_its_share(lab: Any, name: str, rest: str) -> None:
    by = "" if "set" in rest or "rigl" in rest else " by magnitude"
    text = HEAD + f"sparsify weights to 80%{by} with {name}{rest}\n"
    done = lab.run(text)
    step = done.steps(verb="sparsify")[0]
    told = weights_of(step)
    same = lab.run(HEAD + f"sparsify weights to 80%{by}{rest}\n")
    assert len(set(told.values())) > (1 if len(told) > 1 else 0), "shares differ"
    assert len(told) == 1 or done.weights() != same.weights()
    assert done.metric("sparsity") == pytest.approx(same.metric("sparsity"), abs=0.003)
    assert bool(step["plots"]) == (name == "sensitivity")
    again = lab.run(text)
    assert again.made == 0 and again.weights() == done.weights()


def test_uniform_is_what_is_meant_without_it(lab: Any) -> None:
    text = HEAD + "sparsify weights to 70% by magnitude{}\n"
    done = lab.run(text.format(""))
    again = lab.run(text.format(" with uniform"))
    assert again.made == 0 and again.weights() == done.weights()


def test_a_ramp_that_was_killed_ends_with_the_same_bytes(lab: Any, apart: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from recipelang.scoring.following import Following

    text = HEAD + "sparsify weights to 80% by magnitude with global over agp(every=1 steps) for 4 steps\n"
    before, calls = Following.before_step, list[int]()

    def ended(self: Following, network: Any, state: Any, moment: Any) -> None:
        calls.append(moment.step)
        if len(calls) == 2:
            raise KeyboardInterrupt
        before(self, network, state, moment)

    with monkeypatch.context() as patched:
        patched.setattr(Following, "before_step", ended)
        with pytest.raises(KeyboardInterrupt):
            apart.run(text)
    assert apart.run(text).weights() == lab.run(text).weights()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("sparsify nm 2:4 with global", "`nm` determines how many zeros each weight has"),
        ("sparsify weights to 80% with knapsack", "`knapsack` divides what `prune` removes"),
        ("sparsify weights to 80% over agp for 4 epochs from scratch with sensitivity", "starts from random weights"),
        ("prune filters by magnitude with erk until flops < 0.5", "`erk` divides the zeros of `sparsify`"),
    ],
)
def test_an_allocation_without_a_meaning_is_refused_by_check(lab: Any, statement: str, words: str) -> None:
    with pytest.raises(RecipeError) as refused:
        lab.checked(HEAD + statement + "\n")
    assert [problem.code for problem in refused.value.diagnostics] == ["RCP0475"]
    assert words in refused.value.diagnostics[0].message
