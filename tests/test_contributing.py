"""What CONTRIBUTING.md says about adding to recipelang is correct: its examples are installed as a plug-in and used."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from recipelang import catalogue
from recipelang.contracts import PROTOCOLS

GUIDE = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLE = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)[0]
NET = """
from torch import nn


def build():
    return nn.Sequential(
        *(*block(1, 8), *block(8, 8, stride=2), *block(8, 16, stride=2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 8)),
    )


def block(inputs, outputs, stride=1):
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
"""
RECIPE = """
task ordinal
data stripes
model python("net.py:build")
train for 2 epochs with average(0.5), sgd(lr=0.05)
keep as before
prune 1 norms by random
bound 0.05 in "0", "3"
distill from before for 4 steps with pooled, sgd(lr=1e-2)
quantize weights to 8 bits by trimmed(0.95) with dithered
measure distance, params, latency(runtime=inference)
expect params < 1
"""


def examples() -> dict[str, str]:
    """Entry point → the file of every example of the page: what follows a heading that names it, in order."""
    found = {"criterion.spread": EXAMPLE}
    for section in re.split(r"^### ", GUIDE, flags=re.MULTILINE)[1:]:
        section = re.split(r"^## ", section, flags=re.MULTILINE)[0]
        points = re.findall(r"`(\w+\.\w+)`", section.splitlines()[0])
        found |= dict(zip(points, re.findall(r"```python\n(.*?)```", section, re.DOTALL), strict=True))
    return found


def named(point: str, text: str) -> str:
    """What an entry point names: the class of its file, a verb's `VERB`, the whole file of a stage."""
    module = f"my_package.{point.replace('.', '_')}"
    if point.startswith("stage."):
        return module
    if point.startswith("verb."):
        return f"{module}:VERB"
    (first, *_) = re.findall(r"@dataclass.*?^class (\w+)", text, re.DOTALL | re.MULTILINE)
    return f"{module}:{first}"


def install(folder: Path, files: dict[str, str]) -> None:
    """Lay the files into a folder as a package that declares their entry points, as pip would leave it."""
    package, info = folder / "my_package", folder / "my_package-1.0.dist-info"
    package.mkdir()
    info.mkdir()
    (package / "__init__.py").touch()
    for point, text in files.items():
        (package / f"{point.replace('.', '_')}.py").write_text(text, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    lines = [f"{point} = {named(point, text)}" for point, text in files.items()]
    (info / "entry_points.txt").write_text("\n".join(["[recipelang.methods]", *lines, ""]))


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder on the path with every example of the page."""
    install(tmp_path, examples())
    return tmp_path


def recipe(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recipelang.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=installed,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])},
    )


def test_the_example_is_listed_explained_and_checked(installed: Path) -> None:
    assert re.findall(r'"(criterion\.spread)" = "(my_package\.spread:Spread)"', GUIDE)
    assert "spread" in recipe(installed, "list", "criterion").stdout
    assert "only blurs" in recipe(installed, "explain", "spread").stdout
    right = recipe(installed, "check", "-e", "prune layers by spread(2) until latency < 0.7")
    assert (right.returncode, right.stderr) == (0, "")
    wrong = recipe(installed, "check", "-e", "prune layers by spread(3) until latency < 0.7")
    assert wrong.returncode == 1
    assert "order" in wrong.stderr


def test_the_example_scores_as_its_card_says(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(installed))
    spread = importlib.import_module("my_package.criterion_spread").Spread

    @dataclass
    class Weights:
        weights: dict[str, torch.Tensor]

    weights = Weights({"w": torch.tensor([[1.0, 3.0], [2.0, 2.0]])})
    assert spread().score(weights)["w"].tolist() == [[1.0, 1.0], [0.0, 0.0]]
    assert spread(order=2).score(Weights({"w": torch.tensor([[1.0, 5.0]])}))["w"].tolist() == [[4.0, 4.0]]


def test_the_page_shows_every_kind_that_families_add() -> None:
    kinds = {point.partition(".")[0] for point in examples()}
    assert kinds >= {
        *("criterion", "loss", "metric", "task", "unit", "edit", "restriction", "companion", "runtime", "data"),
        *("verb", "stage", "quantizer", "rounder", "tracker"),
    }
    assert set(PROTOCOLS) <= {*catalogue.FOLDERS, *catalogue.PARTS}


@pytest.mark.slow
def test_a_strangers_plug_in_works_for_every_kind(installed: Path) -> None:
    (installed / "net.py").write_text(NET, encoding="utf-8")
    (installed / "r.rcp").write_text(RECIPE, encoding="utf-8")
    checked = recipe(installed, "check", "r.rcp")
    assert checked.returncode == 0, checked.stderr
    planned = recipe(installed, "plan", "r.rcp", "--trust")
    assert planned.returncode == 0, planned.stderr
    assert "2 weights are bounded" in planned.stdout
    ran = recipe(installed, "run", "r.rcp", "--trust", "--track", "lines")
    assert ran.returncode == 0, ran.stderr
    report = json.loads((installed / "runs" / "r-1" / "report.json").read_text(encoding="utf-8"))
    (main,) = [variant for variant in report["variants"] if variant["name"] == "main"]
    assert {"distance", "params", "latency(runtime=inference)"} <= set(main["metrics"])
    reached = {step["verb"]: step["reached"] for step in main["runs"][0]["steps"]}
    assert reached["bound"] == [{"what": "bounded", "value": 2, "noun": "weight"}]
    lines = [json.loads(line) for line in (installed / "told.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines[0]["run"] == "r-1" and lines[-1] == {"status": "finished"}
    assert {line["network"] for line in lines if "results" in line} == {"healthy", "main"}
    assert "train/step/loss" in {line.get("name") for line in lines}
    again = recipe(installed, "run", "r.rcp", "--trust")
    assert " 0 done;" in again.stderr + again.stdout


#: entry point → (what the page says, what is written instead, what `check` says of it)
MISTAKES = {
    "criterion.spread": (
        "def score(self, evidence: Evidence)",
        "def score(self)",
        "cannot be called as `score(evidence)`",
    ),
    "loss.pooled": ("teachers = (1, 1)", "", "it has no `teachers`"),
    "task.ordinal": ("def divergence", "def other", "it has no `divergence`"),
    "metric.distance": ("def result(self, state)", "def result(self)", "cannot be called as `result(state)`"),
    "data.stripes": ('target = "class"', "", "it has no `target`"),
    "companion.average": ("def begin(self, network, moment)", "def begin(self)", "cannot be called as `begin("),
    "quantizer.trimmed": ("def range", "def limits", "it has no `range` or `restriction`"),
    "rounder.dithered": ("def round(self, piece, progress)", "def round(self, piece)", "cannot be called as `round("),
    "runtime.inference": ("brief = True", "", "it has no `brief`"),
    "tracker.lines": ("networks = False", "", "it has no `networks`"),
    "unit.norms": ("def aggregate", "def gather", "it has no `aggregate`"),
    "verb.bound": ("def needs(self)", "def asks(self)", "it has no `needs`"),
}
USES = {
    "criterion.spread": "prune 1 layer by spread",
    "loss.pooled": "prune 1 layer by random\ndistill from healthy with pooled",
    "task.ordinal": "task ordinal\nprune 1 layer by random",
    "metric.distance": "task ordinal\nprune 1 layer by random\nmeasure distance",
    "data.stripes": "data stripes\nmodel digits_resnet\nprune 1 layer by random",
    "companion.average": "train for 1 epoch with average",
    "quantizer.trimmed": "quantize weights to 8 bits by trimmed",
    "rounder.dithered": "quantize weights to 8 bits with dithered",
    "runtime.inference": "prune 1 layer by random\nmeasure latency(runtime=inference)",
    "tracker.lines": "prune 1 layer by random",
    "unit.norms": "prune 1 norms by random",
    "verb.bound": "bound 0.5",
}


@pytest.mark.parametrize("point", MISTAKES)
def test_a_plug_in_that_breaks_its_contract_is_refused_at_check(tmp_path: Path, point: str) -> None:
    files = examples()
    right, wrong, said = MISTAKES[point]
    assert right in files[point]
    install(tmp_path, files | {point: files[point].replace(right, wrong)})
    if point == "tracker.lines":  # no recipe names a tracker
        (tmp_path / "recipe.yaml").write_text("tracking: lines\n")
    found = recipe(tmp_path, "check", "-e", USES[point])
    assert found.returncode == 1, found.stderr
    assert "RCP0255" in found.stderr and said in found.stderr and point.partition(".")[2] in found.stderr


def test_a_plug_in_that_cannot_be_imported_or_has_no_kind_is_refused_by_name(tmp_path: Path) -> None:
    install(
        tmp_path,
        {
            "criterion.spread": EXAMPLE.replace(
                "from recipelang.kinds", "import nowhere_to_be_found\nfrom recipelang.kinds"
            )
        },
    )
    found = recipe(tmp_path, "check", "-e", "prune 1 layer by spread")
    assert found.returncode == 1 and "RCP0254" in found.stderr
    assert "my_package.criterion_spread:Spread" in found.stderr and "nowhere_to_be_found" in found.stderr
    points = tmp_path / "my_package-1.0.dist-info" / "entry_points.txt"
    points.write_text("[recipelang.methods]\nspread = my_package.criterion_spread:Spread\n")
    found = recipe(tmp_path, "check", "-e", "prune 1 layer by spread")
    assert "RCP0252" in found.stderr and "declared as `spread`" in found.stderr
    points.write_text("[recipelang.methods]\ncriterion.magnitude = my_package.criterion_spread:Spread\n")
    assert "RCP0253" in recipe(tmp_path, "list", "criterion").stderr


def test_what_no_recipe_names_is_held_to_its_contract_before_anything_runs(tmp_path: Path) -> None:
    files = examples()
    without = {point: text for point, text in files.items() if point != "stage.bound"}
    install(tmp_path, without | {"edit.drop_norm": files["edit.drop_norm"].replace("def left", "def rest")})
    found = recipe(tmp_path, "check", "-e", "bound 0.5")
    assert found.returncode == 1 and "there is no entry point `stage.bound`" in found.stderr
    found = recipe(tmp_path, "plan", "-e", "prune 1 layer by random")
    assert found.returncode != 0 and "RCP0255" in found.stderr and "edit `drop_norm`" in found.stderr
    assert "it has no `left`" in found.stderr


@pytest.mark.slow
def test_a_plug_in_that_fails_at_work_is_named_and_is_no_bug_of_ours(tmp_path: Path) -> None:
    wrong = EXAMPLE.replace("(weight - mean).abs() ** self.order", "weight / mean if 1 // 0 else weight")
    assert wrong != EXAMPLE
    install(tmp_path, {"criterion.spread": wrong})
    found = recipe(tmp_path, "run", "-e", "sparsify nm 2:4 by spread")
    assert found.returncode == 3, found.stderr
    assert "RCP0255" in found.stderr and "sparsify nm 2:4 by spread" in found.stderr
    assert "`my_package.criterion_spread` raises an exception in `_distances`" in found.stderr
    assert "ZeroDivisionError" in found.stderr and "bug" not in found.stderr
