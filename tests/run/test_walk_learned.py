"""Recipes whose training removes parts: two spellings, `healthy` before it, the control, the plan, a kill."""

from __future__ import annotations

from typing import Any

import pytest

from recipelang.errors import StepFailed
from recipelang.kinds import Progress
from recipelang.report.context import build
from recipelang.report.plots import charts
from recipelang.run import engine

HEAD = "model digits_resnet\ndata digits(batch=32)\nmeasure params\n"
JOINT = "prune filters by joint(lr=3) for 2 steps with sgd(lr=0.05)"
AS_TRAINING = "finetune for 2 steps with sgd(lr=0.05), joint(lr=3)"
PARAMS = "expect params < 100%"


def test_prune_by_a_companion_is_a_training_with_it(lab: Any) -> None:
    done = lab.run(f"{HEAD}{JOINT}\n{PARAMS}\n", control=True, smoke=False)
    assert done.code == 0 and done.verdicts == [("main", True)]
    (step,) = done.steps(verb="prune")
    assert step["reached"][0]["what"] == "removed" and step["reached"][0]["noun"] == "filter"
    gone = {row["layer"]: (row["gone"], row["of"]) for row in step["ranking"]}
    assert sum(gone for gone, _ in gone.values()) == step["reached"][0]["value"] > 0
    assert len(step["edits"]) == sum(lost > 0 for lost, _ in gone.values()) > 0
    assert "stays whole: `linear`" in step["note"]

    alike = lab.run(f"{HEAD}{AS_TRAINING}\n{PARAMS}\n", control=True, smoke=False)
    assert alike.weights() == done.weights() and alike.weights("control") == done.weights("control")
    (trained,) = alike.steps(verb="finetune")
    assert (trained["edits"], trained["ranking"]) == (step["edits"], step["ranking"])

    assert done.metric("params", "healthy") == done.metric("params", "control") > done.metric("params")
    assert [s["verb"] for s in done.steps("control") if s["implied"]] == ["finetune"]
    plain = lab.run(f"{HEAD}variant a {{ finetune for 2 steps with sgd(lr=0.05) }}\n", control=True, smoke=False)
    assert plain.weights("control") == done.weights("control"), "the control trains as if there were no gates"

    drawn = charts(build(done.result.report)).in_group("importance")
    assert [(chart.title, chart.statement) for chart in drawn] == [("Removed of each group", step["text"])]
    assert "removed (pale), by group of coupled channels" in drawn[0].caption
    assert all(f"{layer} {lost}/{of}" in drawn[0].svg for layer, (lost, of) in gone.items())


def test_a_training_that_compresses_comes_after_healthy(lab: Any) -> None:
    """`train` before it belongs to healthy; with a companion that removes parts it does not."""
    done = lab.run(f"{HEAD}train for 2 steps\ntrain for 2 steps with joint(lr=3)\n{PARAMS}\n")
    assert done.code == 0
    assert [step["verb"] for step in done.steps("healthy")] == ["model", "data", "measure", "train"]
    assert [step["verb"] for step in done.steps()][:1] == ["train"]


def test_the_plan_says_what_may_go(apart: Any, find_row: Any) -> None:
    row = find_row(apart.plan(f"{HEAD}{JOINT}\n"), "prune")
    assert row.details[:2] == (
        "joint may remove 224 of 256 filters, in 11 groups",
        "stays whole: `linear` (they are the network's output)",
    )
    some = JOINT.replace("joint(lr=3)", 'joint(lr=3) in "layer2"')
    row = find_row(apart.plan(f"{HEAD}{some}\n"), "prune")
    assert row.details[0] == "joint may remove 140 of 160 filters, in 5 groups" and "and 6 more" in row.details[1]


def test_the_plan_says_where_a_training_is_too_short_for_any_gate_to_close(lab: Any, find_row: Any) -> None:
    short = find_row(lab.plan(f"{HEAD}prune filters by joint for 40 steps\n", smoke=False), "prune")
    assert "a gate of `joint` moves by about 0.4 in 40 steps and closes after 1," in short.details[-1]
    long = find_row(lab.plan(f"{HEAD}prune filters by joint(lr=0.1) for 40 steps\n", smoke=False), "prune")
    assert not any("too short" in line for line in long.details)


@pytest.mark.parametrize(
    "statement", [JOINT.replace("filters", "heads"), "finetune for 1 steps with joint(unit=neurons)"]
)
def test_a_network_without_the_unit_is_refused_by_plan_and_run(statement: str, apart: Any) -> None:
    for refuses in (apart.plan, apart.run):
        with pytest.raises(StepFailed) as failed:
            refuses(f"{HEAD}{statement}\n")
        assert [d.code for d in failed.value.diagnostics] == ["RCP0910"]
        assert "filters can be removed here: write `prune filters …`" in str(failed.value.diagnostics[0].help)


class Killed(Exception):
    """Simulates a process that dies."""


class Deadly:
    """A progress that dies at one of the steps of a training."""

    def __init__(self, at: int) -> None:
        self.at, self.done = at, 0

    def start(self, what: str, total: int | None = None) -> None: ...

    def advance(self, parts: int = 1, note: str = "") -> None:
        self.done += note.startswith("loss")
        if self.done == self.at:
            raise Killed

    def stop(self) -> None: ...

    def say(self, line: str) -> None: ...


@pytest.mark.parametrize("companion", ["joint(lr=3)", "l0(lr=9)"])
def test_killed_in_the_middle_and_the_same_bytes(
    companion: str, apart: Any, lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recipelang.training import loop

    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    text = HEAD.replace("resnet", "lenet") + f"prune neurons by {companion} for 4 steps with sgd(lr=0.05)\n"
    whole = lab.run(text, smoke=False)
    deadly: Progress = Deadly(3)
    with pytest.raises(Killed):
        engine.execute(apart.checked(text), apart.options(smoke=False), deadly)
    again = apart.run(text, smoke=False)
    assert again.weights() == whole.weights()
    assert again.steps(verb="prune")[0]["ranking"] == whole.steps(verb="prune")[0]["ranking"]
    assert again.steps(verb="prune")[0]["reached"] == whole.steps(verb="prune")[0]["reached"]
    assert again.steps(verb="prune")[0]["reached"][0]["value"] > 0
