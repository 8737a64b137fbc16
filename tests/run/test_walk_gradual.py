"""`prune … over agp` in whole recipes: budgets on the way, several units, the control, the plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recipelang.errors import StepFailed
from recipelang.report.context import build
from recipelang.report.render import write
from recipelang.stages import _pace, _turn

REST = "data digits(batch=32)\nmeasure params, flops\n"
HEAD = f"model digits_resnet\n{REST}"
CHAIN = f"model digits_vgg\n{REST}"  # for filters alone
OVER = "over agp(begin=1 steps, every=2 steps) for 6 steps with sgd(lr=1e-2)"


def test_a_budget_is_approached_and_holds_at_the_end(apart: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bounds: list[float | None] = []
    smallest = _turn.smallest

    def searched(removed: Any, most: int, until: Any, *more: Any) -> Any:
        bounds.append(until and until.bound)
        return smallest(removed, most, until, *more)

    monkeypatch.setattr(_turn, "smallest", searched)
    text = CHAIN + f"prune filters by magnitude until flops < 0.9 {OVER}\n"
    done = apart.run(text, control=True, smoke=False)
    assert done.code == 0 and done.metric("flops") < 0.9 * done.metric("flops", "healthy")
    assert bounds == [None, pytest.approx(1 - 0.1 * (1 - 0.5**3)), 0.9]  # the first update removes nothing
    step = done.steps(verb="prune")[0]
    (flops,) = [figure for figure in step["reached"] if figure["what"] == "flops"]
    assert flops["bound"] == 0.9 and flops["value"] < 0.9
    assert [row["epoch"] for row in step["history"]] == [1]
    assert done.steps("control")[-1]["text"] == "finetune for 6 steps with sgd(lr=1e-2)"
    assert apart.run(text, smoke=False).made == 0


def test_several_units_share_the_way_to_a_budget(lab: Any) -> None:
    done = lab.run(HEAD + f"prune layers, filters by magnitude until params < 0.8 {OVER}\n")
    assert done.code == 0 and done.metric("params") < 0.8 * done.metric("params", "healthy")
    assert {row["unit"] for row in done.steps(verb="prune")[0]["ranking"]} == {"layers", "filters"}


def test_the_control_sees_the_same_batches_as_a_finetune(lab: Any) -> None:
    over = lab.run(HEAD + f"prune 1 layers by magnitude {OVER}\n", control=True, smoke=False)
    tuned = lab.run(HEAD + "variant a { finetune for 6 steps with sgd(lr=1e-2) }\n", control=True, smoke=False)
    assert over.weights("control") == tuned.weights("control")


def test_what_the_schedule_is_enters_the_key(apart: Any) -> None:
    text = HEAD + f"prune 1 layers by magnitude {OVER}\n"
    apart.run(text)
    assert apart.run(text).made == 0
    assert apart.run(text.replace("every=2", "every=3")).made == 1


def test_a_plan_shows_the_way(lab: Any, find_row: Any) -> None:
    row = find_row(lab.plan(CHAIN + f"prune 50% filters by magnitude {OVER}\n", smoke=False), "prune")
    told = "agp sets the target 3 times: 0.00 % at epoch 0.0303, 43.75 % at epoch 0.0909, 50.00 % at epoch 0.152"
    assert told in row.details


@pytest.mark.parametrize("over", ["agp(begin=1 epochs, every=2 steps)", "agp(every=1 epochs)"])
def test_a_schedule_that_does_not_fit_the_data_is_refused_by_the_plan(lab: Any, over: str) -> None:
    with pytest.raises(StepFailed) as failed:
        lab.plan(CHAIN + f"prune 8 filters by magnitude over {over} for 6 steps\n", smoke=False)
    assert [d.code for d in failed.value.diagnostics] == ["RCP0312"]


def test_one_shot_and_iterative_ranking_are_compared_in_record_and_report(lab: Any) -> None:
    done = lab.run(HEAD + "prune 4 layers by random over 4 rounds for 4 steps\n")
    *_, figure = done.steps(verb="prune")[0]["reached"]
    assert figure["what"] == "rank correlation of one-shot and iterative ranking" and -1 <= figure["value"] <= 1
    write(build(done.result.report), ("markdown", "html"), done.folder)
    for report in ("report.md", "report.html"):
        assert "rank correlation of one-shot and iterative ranking" in (done.folder / report).read_text()
    once = lab.run(HEAD + "prune 4 layers by random\n")
    assert all("correlation" not in figure.get("what", "") for figure in once.steps(verb="prune")[0]["reached"])


NARROW = """from torch import nn

def build(classes=10):
    sizes = nn.Linear(64, 32), nn.Linear(32, 24), nn.Linear(24, classes)
    return nn.Sequential(nn.Flatten(), sizes[0], nn.ReLU(), sizes[1], nn.ReLU(), sizes[2])
"""


@pytest.mark.parametrize("over", ["over agp(every=4 steps) for 16 steps", "over 3 rounds for 3 steps"])
def test_later_turns_find_finer_widths_and_plan_and_run_agree_how_far_they_get(
    lab: Any, tmp_path: Path, over: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "narrow.py").write_text(NARROW)
    head = f'model python("{tmp_path}/narrow.py:build")\ndata digits\nmeasure params\n'
    text, how = head + f"prune neurons by magnitude until params < 0.0001 {over}\n", {"trust": True, "smoke": False}
    (planned,) = lab.plan(text, **how).problems
    with monkeypatch.context() as patch:
        patch.setattr(_pace, "fit", None)  # what no removal can meet is refused before anything is trained for it
        (told,) = lab.run(text, **how).result.diagnostics
    assert planned.code == told.code == "RCP0904"
    assert "params can reach 0.028×" in planned.message
    assert "with every removable neuron removed, it is at params 0.028×" in told.message
    met = lab.run(text.replace("0.0001", "0.09"), **how)
    assert met.code == 0 and met.metric("params") < 0.09 * met.metric("params", "healthy")
