"""What a network took: counted while its steps are done, stored with them, and added up for the record."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipelang.images.counted import Read
from recipelang.run import costs
from recipelang.run.costs import Spent, mean, together

TEXT = """
data digits
model digits_lenet
train for 1 epochs
prune 10% neurons by taylor on train(samples=50)
finetune for 6 steps
measure top1, params
"""


class Ticking:
    """A counter of energy that counts 3 J at each look, and stands for one that wraps."""

    block_s = 0.1

    def __init__(self) -> None:
        self.looks = 0

    def read(self) -> Mapping[str, int]:
        self.looks += 1
        return {"a": 3 * self.looks}

    def joules(self, before: Mapping[str, int], after: Mapping[str, int]) -> float:
        return float(after["a"] - before["a"])


@pytest.fixture(scope="module")
def twice(lab: Any) -> Any:
    return lab.run(TEXT, smoke=False), lab.run(TEXT, smoke=False)


def test_epochs_and_passes_are_those_of_the_recipe(twice: Any) -> None:
    done, _ = twice
    (trained,), (pruned,), (tuned,) = (
        [step["cost"] for step in done.steps(name, verb)]
        for name, verb in (("healthy", "train"), ("main", "prune"), ("main", "finetune"))
    )
    assert trained["epochs"] == pytest.approx(1.0, abs=0.01) and 0.9 < trained["passes"]["train"] <= 1
    assert 0 < trained["passes"]["val"] <= 1  # it validated
    assert (pruned["samples"], pruned["epochs"]) == (50, 0.0) and set(pruned["passes"]) == {"train"}
    assert 0.3 < tuned["epochs"] < 0.6 and trained["seconds"] > 0
    assert not trained["at_least"] and next(iter(done.steps("main", "measure")))["cost"] is None


def test_a_network_took_what_its_steps_took_and_healthy_what_was_before(twice: Any) -> None:
    done, _ = twice
    for name in ("healthy", "main"):
        (run,) = done.variant(name)["runs"]
        whole, steps = run["cost"], [step["cost"] for step in run["steps"] if step["cost"]]
        assert whole == done.variant(name)["cost"] and whole["seconds"] == pytest.approx(
            sum(s["seconds"] for s in steps)
        )
        assert whole["samples"] == sum(step["samples"] for step in steps)
    assert done.variant()["cost"]["epochs"] < 1 < done.variant("healthy")["cost"]["epochs"] + 0.1


def test_what_comes_from_the_store_counts_as_it_did_when_it_was_done(twice: Any) -> None:
    done, again = twice
    assert again.made == 0
    for name in ("healthy", "main"):
        assert again.variant(name)["cost"] == done.variant(name)["cost"]
        assert all(step["seconds"] is None for step in again.steps(name) if step["cached"])


def test_an_entry_of_before_says_that_it_is_not_known(lab: Any) -> None:
    lab.run("data digits\nmodel digits_lenet\nprune 4 neurons by magnitude\n", smoke=True)
    for file in (lab.folder / "store").rglob("*.json"):
        told = json.loads(file.read_text())
        assert "cost" not in told.get("ingredients", {})  # never part of a key
    assert together([costs.UNKNOWN, {"seconds": 2.0, "epochs": 1.0, "passes": {"train": 1.0}, "samples": 5}]) == {
        "seconds": 2.0,
        "epochs": 1.0,
        "passes": {"train": 1.0},
        "samples": 5,
        "joules": None,
        "at_least": True,
        "note": costs.BEFORE,
    }


def test_energy_is_counted_to_the_end_and_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "LOOK_EVERY_S", 0.001)
    meter, waiting = Ticking(), threading.Event()
    monkeypatch.setattr(costs, "meter_of", lambda device: meter)
    with Spent("cpu", Read()).noting(False) as told:
        while meter.looks < 5:
            waiting.wait(0.002)
    assert told["joules"] == 3.0 * (meter.looks - 1) and "processor" in told["note"]


def test_a_counter_that_fails_does_not_stop_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(Ticking):
        def read(self) -> Mapping[str, int]:
            raise OSError("the counter is gone")

    monkeypatch.setattr(costs, "meter_of", lambda device: Gone())
    with Spent("cpu", Read()).noting(False) as told:
        pass
    assert told["joules"] is None and told["note"] == ""


def test_a_step_that_was_interrupted_took_at_least_this() -> None:
    with Spent("cpu", Read()).noting(True) as told:
        pass
    assert told["at_least"] and "interrupted" in told["note"]


def test_a_killed_step_is_told(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from recipelang.run import worker

    text = "data digits\nmodel digits_lenet\nprune 8 neurons by magnitude\n"

    def dies(operation: Any, context: Any) -> Any:
        (Path(context.folder) / "half").write_text("x")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(worker.stages, "run", dies)
        lab.run(text)
    (cost,) = [step["cost"] for step in lab.run(text).steps("main", "prune")]
    assert cost["at_least"]


COSTS = st.lists(
    st.none()
    | st.fixed_dictionaries(
        {
            "seconds": st.none() | st.floats(0, 1e6),
            "epochs": st.floats(0, 100),
            "passes": st.dictionaries(st.sampled_from(["train", "val"]), st.floats(0, 100)),
            "samples": st.integers(0, 10**6),
            "joules": st.none() | st.floats(0, 1e6),
            "at_least": st.booleans(),
            "note": st.sampled_from(["", "a", "b"]),
        }
    ),
    max_size=5,
)


@given(COSTS)
def test_sums_and_means(given_costs: list[Any]) -> None:
    known = [cost for cost in given_costs if cost is not None]
    whole, half = together(given_costs), mean([*given_costs, *given_costs])
    assert (whole is None) == (half is None) == (not known)
    if whole is None or half is None:
        return
    assert whole["samples"] == sum(cost["samples"] for cost in known)
    assert whole["at_least"] == any(cost["at_least"] for cost in known)
    if any(cost["joules"] is None for cost in known):
        assert whole["joules"] is None  # energy that is known of some steps only is not that of the network
    n = len(known)
    assert half["epochs"] * n == pytest.approx(whole["epochs"], abs=1e-3 * n)
    assert (half["seconds"] is None) == (whole["seconds"] is None)
