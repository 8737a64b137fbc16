"""An export that looks at data and at healthy: it is given both, and refused before the run where it cannot apply."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from recipelang.errors import RecipeError
from recipelang.report.context import build
from recipelang.report.maps import maps

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
        with Image.open(folder / "activation_map_tiles.png") as image:
            assert image.size == (3 * 128, 3 * 128)  # three images, and the image, healthy and the network of each
        told[name] = json.loads((folder / "activation_maps.json").read_text())
        assert len(told[name]["images"]) == 3
        assert all(row["class"] in map(str, range(10)) for row in told[name]["images"])
    assert told["less"]["alike"]["network"] < 0.999  # two blocks fewer see something else


def test_recovered_is_between_healthy_and_the_network_under_its_pattern(lab: Any) -> None:
    done = lab.run(
        HEAD + "train for 2 epochs\nprune 1 layers by random\nfinetune for 1 epochs\nsparsify nm 2:4\n"
        "export activation_maps(images=2)\n"
    )
    assert done.code == 0, done.result.failures
    told = json.loads((done.folder / "main" / "export" / "activation_maps.json").read_text())
    assert list(told["images"][0]["answers"]) == ["healthy", "recovered", "network"]
    assert told["alike"]["recovered"] != told["alike"]["network"]
    (chart,) = maps(build(done.result.report, folder=done.folder).exhibits.maps)
    assert chart.svg.count("data:image/webp;base64,") == 2 * 4  # two images: itself, healthy, recovered, the network


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
