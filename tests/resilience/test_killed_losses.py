"""Every distillation loss and companion that keeps something, killed by SIGKILL inside its training: the command that
goes on ends with the bytes of one that was not killed."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from recipelang import catalogue
from tests.resilience.test_killed import OFTEN, written

pytestmark = pytest.mark.slow

STEPS = 3
CNN = """\
model digits_resnet
data digits(batch=32, augment=none)
train for 1 steps
keep as early
train for 1 steps
prune 6 layers by magnitude
"""
TRANSFORMER = """\
import torch, torchvision

def build():
    module = torchvision.models.VisionTransformer(8, 4, 2, 2, 12, 16, num_classes=10)
    module.conv_proj = torch.nn.Conv2d(1, 12, 4, stride=4)
    torch.nn.init.normal_(module.heads[0].weight, std=0.3)
    return module
"""
VIT = """\
model python("transformer.py:build")
data digits(batch=32)
train for 2 steps
prune 1 layer by magnitude
"""
FROM = "distill from healthy for {steps} steps with "
FEATURES = (
    ("ab", "at", "fitnet", "fsp", "ft", "heo", "irg", "kp", "lit", "nst", "relational", "rkd", "sp", "svd", "vid")
    + ("crd(negatives=64)",)
)  # fmt: skip
#: group → head, and what variants train. What one of several losses of a sum has lost changes the bytes as well
GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "features": (CNN, (FROM + " + ".join(f"0.1 * {name}" for name in FEATURES) + " + kd",)),
    "outputs": (
        CNN,
        (
            FROM + "kd + 0.1 * jacobian",
            "distill from early, healthy for {steps} steps with rco + meal",
            "sparsify nm 2:4\ndistill from healthy, recovered for {steps} steps with mis",
        ),
    ),
    "learners": (
        CNN,
        (
            FROM + "apprentice",
            FROM + "query_efficient",
            "distill from early for {steps} steps with mutual",
            "distill from self for {steps} steps with self(classifiers=2)",
        ),
    ),
    "transformers": (VIT, (FROM + "deit", FROM + "minilm")),
    "companions": (
        CNN,
        (
            FROM + "kd, ema(0.9), mixup, accumulate(2), clip(1)",
            FROM + "kd, best, patience(9), cutmix",
        ),
    ),
    "answers": (CNN, (FROM + "kd, cached",)),
    "assistants": (
        CNN,
        (
            FROM + "kd\nkeep as tutor\nprune 1 layer by magnitude\ndistill from tutor for {steps} steps with kd",
            FROM.replace("for", "on deepinversion(32, steps=2) for") + "kd",
        ),
    ),
}


def recipe_of(group: str) -> str:
    """A variant for each training."""
    head, variants = GROUPS[group]
    blocks = []
    for number, statements in enumerate(variants):
        inside = statements.format(steps=STEPS).replace("\n", "\n  ")
        blocks.append(f"variant v{number} {{\n  {inside}\n}}\n")
    return f"{head}{''.join(blocks)}no recovery\nmeasure params\nreport csv\n"


def test_every_loss_is_among_them() -> None:
    told = str(GROUPS)
    assert [name for name in catalogue.names("loss") if not re.search(rf"\b{name}\b", told) and name != "task"] == []


@pytest.mark.parametrize("group", GROUPS)
def test_killed_inside_every_training(recipe, tmp_path: Path, group: str) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "transformer.py").write_text(TRANSFORMER)
    (tmp_path / "a.rcp").write_text(recipe_of(group))
    run = ("run", "a.rcp", "--trust", "--out")
    assert (whole := recipe(*run, "whole", "--store", "another")).code == 0, whole.err
    killed: set[str] = set()
    # each step opens and moves a checkpoint: four times before variants, then inside the third step of the first;
    # answers that are kept come before, and are files beside the checkpoint
    at = 14 if group == "answers" else 9
    while True:
        ended = recipe(*run, "out", every=OFTEN, blow={"at": at, "how": "SIGKILL", "only": "checkpoint"})
        if ended.code != -signal.SIGKILL:
            break
        killed |= {place.parent.name for place in tmp_path.glob(".recipe/work/*/checkpoint")}
        at = 7  # the third step that was not taken, and into the third of the next training
    assert ended.code == 0, ended.err
    assert networks(tmp_path / "out") == networks(tmp_path / "whole")
    made = {file.parent.name: json.loads(file.read_text()) for file in tmp_path.glob(".recipe/store/*/*/manifest.json")}
    trained = {key for key, told in made.items() if told["ingredients"].get("verb") == "distill"}
    assert trained and trained <= killed, "each training was killed after some of its steps"


def networks(folder: Path) -> dict[str, str]:
    """SHA-256 of the weights of every network."""
    return {name: digest for name, digest in written(folder).items() if name.endswith(".safetensors")}
