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
from recipelang.report.render import render

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


FLAT = (
    "from torch import nn\n\n\ndef build(classes=10):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
)


def test_a_network_without_maps_is_left_out_by_name(lab: Any, tmp_path: Path) -> None:
    (tmp_path / "flat.py").write_text(FLAT)
    text = (
        f'{HEAD}model python("{tmp_path / "flat.py"}:build") as plain\ntrain for 2 steps\n'
        "variant less { prune 2 layers by random }\nvariant flat { start from plain }\n"
        "variant rounded { quantize weights to 8 bits }\nmeasure top1\nexport activation_maps(images=2)\n"
    )
    why = "`activation_maps` leaves out `flat`: the network has no class activation maps: the head `1` does not read"
    plan = lab.plan(text, trust=True)
    (told,) = (row for row in plan.rows if row.text.startswith("export"))
    assert [detail.startswith(why) for detail in told.details] == [True] and not plan.problems
    done = lab.run(text, trust=True)
    assert done.code == 0, done.result.failures
    notes = [warning for warning in done.result.report["warnings"] if "leaves out" in warning]
    assert len(notes) == 2 and notes[0].startswith(why)
    assert notes[1].startswith("`activation_maps` leaves out `rounded`") and "a quantized network" in notes[1]
    assert (done.folder / "less" / "export" / "activation_maps.json").is_file()
    assert not (done.folder / "flat" / "export").exists() and not (done.folder / "rounded" / "export").exists()
    context = build(done.result.report, folder=done.folder)
    assert [one.row.name for one in context.exhibits.maps] == ["less"]
    page, markdown = (render(context, form)[name] for form, name in (("html", "report.html"), ("md", "report.md")))
    assert "leaves out <code>flat</code>" in page and "leaves out `flat`" in markdown


def test_maps_stand_alone_where_healthy_has_none(lab: Any, tmp_path: Path) -> None:
    (tmp_path / "flat.py").write_text(FLAT)
    done = lab.run(
        f'data digits\nmodel python("{tmp_path / "flat.py"}:build")\nmodel digits_resnet as other\ntrain for 2 steps\n'
        "variant small { start from other }\nexport activation_maps(images=2)\n",
        trust=True,
    )
    assert done.code == 0, done.result.failures
    told = json.loads((done.folder / "small" / "export" / "activation_maps.json").read_text())
    assert told["without"]["healthy"].startswith("the network has no class activation maps") and told["alike"] == {}
    (chart,) = maps(build(done.result.report, folder=done.folder).exhibits.maps)
    assert chart.text.header == ("class", "small")
    assert "healthy of small is not drawn: the network has no class activation maps" in chart.caption


def test_maps_that_no_variant_can_have_are_refused(lab: Any) -> None:
    text = (
        f"{HEAD}train for 1 epochs\nvariant a {{ quantize weights to 8 bits }}\n"
        "variant b { quantize weights to 4 bits }\nexport activation_maps\n"
    )
    with pytest.raises(RecipeError) as caught:
        lab.checked(text)
    assert [problem.code for problem in caught.value.diagnostics] == ["RCP0716"]
    assert lab.checked(text.replace("quantize weights to 4 bits", "recalibrate"))


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
