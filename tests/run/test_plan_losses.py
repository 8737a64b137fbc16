"""What a plan says of losses that look at features, and what it refuses before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recipelang.errors import RecipeError, line_of

NET = """
import torch
from torch import nn

class Pooled(nn.Module):
    def __init__(self, wide):
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 9, 3, padding=1, stride=2)
        self.head = nn.Linear(9, 10)

    def forward(self, x):
        return self.head(self.two(self.one(x).relu()).relu().mean((2, 3)))

def build(wide=1):
    torch.manual_seed(0)
    return Pooled(wide)
"""
RECIPE = """model digits_resnet
data digits
model python("net.py:build") as pooled
train for 2 steps
keep as early
prune 2 layers by magnitude
distill from {} for 2 steps with {}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.py").write_text(NET, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def details(report: Any) -> tuple[str, ...]:
    found: tuple[str, ...] = report.rows[-1].details
    return found


def test_the_positions_that_are_compared_are_shown_before_and_after_a_run(lab: Any, here: Path) -> None:
    text = RECIPE.format("healthy, pooled, early", "at + 10 * fitnet")
    one, two, both = "layer1 (16×8×8)", "layer2 (32×4×4)", " of `healthy` and {} of `pooled` and {} of `early`"
    wanted = (
        f"`at` compares {one} with {one}{both.format('one (6×8×8)', one)}",
        f"`at` compares {two} with {two}{both.format('two (9×4×4)', two)}",
        f"`fitnet` compares {one} with {one}{both.format('two (9×4×4)', one)}",
    )
    assert details(lab.plan(text, trust=True)) == wanted
    done = lab.run(text, trust=True)
    assert done.code == 0
    assert done.steps(verb="distill")[0]["note"] == (
        "`at` compares layer1, layer2 with layer1, layer2 of `healthy` and one, two of `pooled` and layer1, layer2 of "
        "`early`; `fitnet` compares layer1 with layer1 of `healthy` and two of `pooled` and layer1 of `early`"
    )
    again = lab.plan(text + "distill from healthy for 2 steps with at\n", trust=True)
    assert details(again) == tuple(f"`at` compares {p} with {p} of `healthy`" for p in (one, two))


@pytest.mark.parametrize(
    ("loss", "code", "words"),
    [
        ('at(student="layer2, layer7")', "RCP0822", "`layer7` is not a position of the network"),
        ('fitnet(student="layer1")', "RCP0822", "`layer1` is not a position of the teacher `pooled`"),
        ('at(student="layer1", teacher="head")', "RCP0823", "`head` has no map"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_trained(
    lab: Any, here: Path, loss: str, code: str, words: str
) -> None:
    for ask in (lab.plan, lab.run):
        with pytest.raises(RecipeError) as refused:
            ask(RECIPE.format("pooled", loss), trust=True, store=here / "store")
        assert refused.value.diagnostics[0].code == code and words in refused.value.diagnostics[0].message
        assert line_of(refused.value.diagnostics[0].span) == 7


def test_a_loss_without_matching_positions_says_which_there_are(lab: Any, here: Path) -> None:
    flat = NET.replace("stride=2", "stride=4").replace("self.two(self.one(x).relu())", "self.two(self.one(x[..., :6]))")
    (here / "net.py").write_text(flat, encoding="utf-8")
    with pytest.raises(RecipeError) as refused:
        lab.plan(RECIPE.format("pooled", "at"), trust=True, store=here / "store")
    assert refused.value.diagnostics[0].code == "RCP0821"
    assert refused.value.diagnostics[0].message == (
        "`at` finds no positions to compare: the network has `layer1` (16×8×8), `layer2` (32×4×4); "
        "the teacher `pooled` has `one` (6×8×6), `two` (9×2×2)"
    )
