"""Losses that differentiate by the inputs, choose their teachers or add a token: in whole recipes, planned and run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from recipelang.errors import RecipeError
from recipelang.nets.digits_resnet import digits_resnet

HEAD = """model {}
data digits
train for 2 steps
keep as early
train for 2 steps
prune 1 layer by magnitude
"""
TRANSFORMER = """
import torch, torchvision

def build():
    torch.manual_seed(0)
    module = torchvision.models.VisionTransformer(8, 4, 2, 2, 12, 16, num_classes=10)
    module.conv_proj = torch.nn.Conv2d(1, 12, 4, stride=4)
    torch.nn.init.normal_(module.heads[0].weight, std=0.3)
    return module
"""


@pytest.fixture
def transformer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(TRANSFORMER, encoding="utf-8")
    return HEAD.format('python("net.py:build")')


def test_losses_of_one_teacher_and_of_several_leave_nothing_behind(lab: Any) -> None:
    text = HEAD.format("digits_resnet") + "distill from early, healthy for 2 steps with rco + meal + 0.1 * svd + heo\n"
    told = "\n".join(lab.plan(text).rows[-1].details)
    for words in (
        "`meal` compares layer1 (16×8×8) with layer1 (16×8×8) of `early` and layer1 (16×8×8) of `healthy`",
        "`svd` compares layer2 (32×4×4)",
        "`heo` compares layer1 before its ReLU (16×8×8) with layer1 before its ReLU (16×8×8) of `early`",
    ):
        assert words in told
    done = lab.run(text)
    assert done.code == 0 and "`heo` compares layer1, layer2" in done.steps(verb="distill")[0]["note"]
    assert set(load_file(done.folder / "main" / "model.safetensors")) <= set(digits_resnet().state_dict())


def test_a_token_stays_in_the_network_and_in_the_store(apart: Any, transformer: str) -> None:
    text = transformer + "distill from healthy for 2 steps with deit\ndistill from healthy for 2 steps with jacobian\n"
    rows = {row.text.partition(" with ")[2].partition(",")[0]: row.details for row in apart.plan(text, trust=True).rows}
    assert rows["deit"] == (
        "adding a distillation token and its head",
        "`deit` looks at heads (10)",
        "`deit` looks at head_dist (10)",
    )
    done = apart.run(text, trust=True)
    assert done.code == 0 and done.steps(verb="distill")[0]["edits"] == ["adding a distillation token and its head"]
    assert {"dist_token", "head_dist.head.weight"} < set(load_file(done.folder / "main" / "model.safetensors"))
    again = apart.run(text, trust=True)
    assert again.code == 0 and again.made == 0


def test_attention_and_tokens_of_a_network_without_any_are_refused_by_plan(apart: Any) -> None:
    for loss, code in (("minilm", "RCP1511"), ("deit", "RCP1512")):
        with pytest.raises(RecipeError) as refused:
            apart.plan(HEAD.format("digits_resnet") + f"distill from healthy for 2 steps with {loss}\n")
        assert [found.code for found in refused.value.diagnostics] == [code]


def test_the_attention_of_a_network_with_another_token_is_refused_by_plan(apart: Any, transformer: str) -> None:
    plain = transformer + "distill from healthy for 2 steps with minilm\n"
    assert any("the attention of encoder" in told for told in apart.plan(plain, trust=True).rows[-1].details)
    with pytest.raises(RecipeError) as refused:
        apart.plan(transformer + "distill from healthy for 2 steps with minilm + deit\n", trust=True)
    assert "they have 6 and 5 tokens" in refused.value.diagnostics[0].message
