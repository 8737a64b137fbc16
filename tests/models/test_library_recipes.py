"""Networks of libraries through whole recipes: checked, planned, run, exported, and loaded again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import recipelang
from recipelang.cli import main
from recipelang.surgery.pretrained import quietly

RECIPE = """\
model {model}
data  folder("photos", size=32, batch=8, split=[60%, 20%, 20%], augment=none)
train for 1 epoch with adamw(lr=1e-3)
{removal}
sparsify nm 2:4
export pt2, safetensors to "deploy"
quantize weights, activations to 8 bits by minmax on train(samples=8)
measure size
export safetensors to "integers"
"""


def photos(folder: Path) -> None:
    """Two classes of ten images each: one is red, the other green."""
    rng = np.random.default_rng(0)
    for channel, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(0, 120, (32, 32, 3), dtype=np.uint8)
            pixels[..., channel] += 100
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def command(*words: str) -> int:
    try:
        main(list(words))
    except SystemExit as left:
        return int(left.code or 0)
    return 0


@pytest.mark.parametrize(
    ("library", "model", "removal"),
    [
        ("timm", "timm.test_resnet", "prune 1 layer by imprint"),
        ("transformers", 'huggingface("tiny")', "prune filters by magnitude until params < 0.9"),
    ],
)
def test_a_network_of_a_library_through_a_recipe(
    library: str, model: str, removal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = pytest.importorskip(library, reason=f"{library} is not installed")
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "photos")
    if library == "transformers":
        names = {0: "cat", 1: "dog"}
        config = there.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 2], id2label=names)
        with quietly():
            there.AutoModelForImageClassification.from_config(config).save_pretrained("tiny")
    Path("net.rcp").write_text(RECIPE.format(model=model, removal=removal), encoding="utf-8")
    for verb in ("check", "plan", "run"):
        assert command(verb, "net.rcp") == 0
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        rounded = recipelang.load("runs/net-1/main")(images)
        assert rounded.shape == (2, 2)
        assert torch.equal(recipelang.load("runs/net-1/integers")(images), rounded)
        program = torch.export.load("runs/net-1/deploy/model.pt2").module()(images)
        torch.testing.assert_close(program, recipelang.load("runs/net-1/deploy")(images))
