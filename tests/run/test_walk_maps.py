"""An export that looks at data and at healthy: it is given both, and refused before the run where it cannot apply."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from recipelang.errors import RecipeError

HEAD = "data digits\nmodel digits_resnet\n"


def test_maps_of_a_pruned_network_stand_beside_those_of_healthy(lab: Any) -> None:
    done = lab.run(
        HEAD + "train for 2 epochs\nvariant same { recalibrate }\nvariant less { prune 2 layers by random }\n"
        "measure top1\nexport activation_maps(images=3)\n"
    )
    assert done.code == 0, done.result.failures
    told = {}
    for name in ("same", "less"):
        folder = done.folder / name / "export"
        with Image.open(folder / "activation_maps.png") as image:
            assert image.size[1] > image.size[0] / 2
        told[name] = json.loads((folder / "activation_maps.json").read_text())
        assert len(told[name]["images"]) == 3
        assert all(row["class"] in map(str, range(10)) for row in told[name]["images"])
    assert told["less"]["alike"] < 0.999  # two blocks fewer see something else


def test_a_plan_refuses_maps_that_a_network_cannot_have(lab: Any, tmp_path: Path) -> None:
    (tmp_path / "flat.py").write_text(
        "from torch import nn\n\ndef build(classes=10):\n"
        "    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, classes))\n"
    )
    text = f'data digits\nmodel python("{tmp_path / "flat.py"}:build")\ntrain for 1 epochs\nexport activation_maps\n'
    with pytest.raises(RecipeError) as caught:
        lab.plan(text, trust=True)
    assert [problem.code for problem in caught.value.diagnostics] == ["RCP0716"]


def test_maps_are_of_classes(lab: Any) -> None:
    with pytest.raises(RecipeError) as caught:
        lab.run(
            "task superresolution\ndata digit_sheets\nmodel srresnet(blocks=2, filters=4)\nexport activation_maps\n"
        )
    assert [problem.code for problem in caught.value.diagnostics] == ["RCP0437"]


def test_a_quantized_network_has_no_maps(lab: Any) -> None:
    text = HEAD + "train for 1 epochs\nquantize weights to 8 bits\nexport activation_maps\n"
    with pytest.raises(RecipeError) as caught:
        lab.run(text)
    assert [problem.code for problem in caught.value.diagnostics] == ["RCP0716"]
