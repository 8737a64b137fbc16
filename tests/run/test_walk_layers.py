"""`measure profile` in whole recipes, and what a record says of every layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from recipelang.measuring import layer_clock

TEXT = """
data digits
model digits_lenet
prune 20% neurons by magnitude
sparsify weights to 50% by magnitude
measure params, profile(batch=4), sparsity
"""


@pytest.fixture(scope="module")
def done(lab: Any) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layer_clock, "MOST_ROUNDS", 5)
        yield lab.run(TEXT)


def test_a_profile_has_the_layers_of_both_networks_and_adds_up(done: Any) -> None:
    (profile,) = done.variant()["profiles"]
    assert (profile["name"], profile["on"]) == ("profile(batch=4)", "torch, cpu, float32, batch 4")
    own = [row["own"]["seconds"] for row in profile["layers"] if row["own"]]
    assert sum(own) == pytest.approx(profile["watched"]) == pytest.approx(done.metric("profile(batch=4)"))
    assert all(row["healthy"] and row["own"] for row in profile["layers"])  # narrower, and none is gone
    (alone,) = done.variant("healthy")["profiles"]
    assert {row["layer"] for row in alone["layers"]} == {row["layer"] for row in profile["layers"]}
    assert all(row["healthy"] is None for row in alone["layers"])


def test_the_forms_of_layers_add_up_to_the_metrics(done: Any) -> None:
    pairs = done.variant()["forms"]
    own, before = ([pair[side] for pair in pairs] for side in ("own", "healthy"))
    assert sum(form["width"] for form in own) < sum(form["width"] for form in before)
    zeros = sum(form["parameters"] - form["nonzero"] for form in own)
    assert zeros / sum(form["parameters"] for form in own) == pytest.approx(done.metric("sparsity"))
    assert done.variant("healthy")["forms"] == [{**pair, "own": pair["healthy"]} for pair in pairs]


def test_a_rerun_reads_both(lab: Any, done: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from recipelang.run import layers

    def again(network: Any) -> Any:
        raise AssertionError("they are in the store")

    monkeypatch.setattr(layers, "forms_of", again)
    rerun = lab.run(TEXT).variant()
    assert (rerun["forms"], rerun["profiles"]) == (done.variant()["forms"], done.variant()["profiles"])
