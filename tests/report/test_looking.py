"""What exports show of a network, in the report: read from the run's folder, bounded, and never trusted."""

from __future__ import annotations

import base64
import copy
import io
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from recipelang.report.chart import Chart
from recipelang.report.context import build, compare
from recipelang.report.exhibits import smaller
from recipelang.report.looking import MOST_BYTES, MOST_IMAGES, MOST_NETWORKS, _merged, depth_chart, maps
from recipelang.report.looks import looks
from recipelang.report.render import render

IMAGES = 8


def png(colour: str = "teal", size: tuple[int, int] = (594, 80 * IMAGES)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def exported(main_record: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """A record whose `main` has exported maps and accuracies into `tmp_path`."""
    found = copy.deepcopy(main_record)
    run = next(v for v in found["variants"] if v["name"] == "main")["runs"][0]
    run["folder"] = "main"
    run["steps"].append({"verb": "export", "text": "export layer_accuracy, activation_maps(images=8)"})
    place = tmp_path / "main" / "export"
    place.mkdir(parents=True)
    rows = [{"class": "cat", "healthy": "cat", "network": "<dog>", "alike": 0.5 if k else None} for k in range(IMAGES)]
    (place / "activation_maps.json").write_text(json.dumps({"alike": 0.5, "images": rows}))
    (place / "activation_maps.png").write_bytes(png())
    layers = [{"layer": f"layer{k}", "before": k / 10, "after": (k + 1) / 10} for k in range(4)]
    told = {"network": 0.9, "embedding": 64, "similarity": "cosine", "layers": layers}
    (place / "layer_accuracy.json").write_text(json.dumps(told))
    return found


def maps_of(record: dict[str, Any], folder: Path | None) -> list[Chart]:
    return maps(build(record, folder=folder).exhibits.maps)


def test_maps_are_in_the_page_with_their_numbers(exported: dict[str, Any], tmp_path: Path) -> None:
    (chart,) = maps_of(exported, tmp_path)
    (image,) = (e for e in ElementTree.fromstring(chart.svg).iter() if e.tag.endswith("image"))
    data = base64.b64decode(str(image.get("href")).removeprefix("data:image/webp;base64,"))
    with Image.open(io.BytesIO(data)) as shown:
        assert shown.size == (int(str(image.get("width"))), int(str(image.get("height"))))
        assert shown.size[1] == pytest.approx(shown.size[0] * 80 * MOST_IMAGES / 594, abs=1)
    assert len(data) <= MOST_BYTES and f"{MOST_IMAGES} of {IMAGES} images" in chart.caption
    assert len(chart.text.rows) == IMAGES
    assert chart.text.rows[:2] == (("cat", "cat", "<dog>", "–"), ("cat", "cat", "<dog>", "0.50"))
    page = render(build(exported, folder=tmp_path), "html")["report.html"]
    assert page.count("data:image/webp;base64,") == 1 and "<dog>" not in page
    assert "img-src data:" in page  # what the content security policy allows


def test_accuracies_after_layers_are_a_chart(exported: dict[str, Any], tmp_path: Path) -> None:
    context = build(exported, folder=tmp_path)
    chart = depth_chart(context.exhibits.depths, looks(context.rows, ["run"]))
    assert chart.text.rows[2] == ("layer2", "main", "20.0 %", "30.0 %")
    assert re.findall(r"main, (layer3|the whole network): (\S+) %", chart.svg) == [
        ("layer3", "40.0"), ("the whole network", "90.0"),
    ]  # fmt: skip


def test_a_record_alone_and_runs_side_by_side(exported: dict[str, Any], tmp_path: Path) -> None:
    assert maps_of(exported, None) == []
    both = compare([build(exported, "a", tmp_path), build(exported, "b")])
    assert [one.row.name for one in both.exhibits.maps] == ["a: main"]


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("activation_maps.png", b"not a PNG", "the image is not a PNG that can be read"),
        ("activation_maps.png", png()[:-40], "the image is not a PNG that can be read"),
        ("activation_maps.json", b"{", "Expecting property name"),
        ("activation_maps.json", b'{"alike": 0.5, "images": []}', "it names no image"),
        ("activation_maps.json", b'{"alike": 7, "images": [{"class": 1}]}', "not a text"),
        ("activation_maps.json", b"[" * 100_000, "recursion"),
        ("layer_accuracy.json", b'{"network": 0.9, "layers": [{"layer": "a", "before": 0, "after": 3}]}', "3 is not"),
        ("layer_accuracy.json", b'{"layers": []}', "it names no layer"),
    ],
)
def test_what_cannot_be_read_is_named(
    file: str, content: bytes, why: str, exported: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "main" / "export" / file).write_bytes(content)
    context = build(exported, folder=tmp_path)
    (said,) = (warning for warning in context.warnings if "is not shown" in warning)
    assert file.partition(".")[0] in said and why in said
    assert len(context.exhibits.maps) + len(context.exhibits.depths) == 1  # the other one is shown


def test_nothing_outside_of_the_folder_is_read(exported: dict[str, Any], tmp_path: Path) -> None:
    inner = tmp_path / "run"
    inner.mkdir()
    (inner / "main").symlink_to(tmp_path / "main")
    context = build(exported, folder=inner)
    assert context.exhibits.maps == () and context.exhibits.depths == ()
    run = next(v for v in exported["variants"] if v["name"] == "main")["runs"][0]
    run["folder"] = "../main"
    assert build(exported, folder=inner).exhibits.maps == ()


def test_of_many_networks_some_maps_are_shown_and_it_says_so(exported: dict[str, Any], tmp_path: Path) -> None:
    main = next(v for v in exported["variants"] if v["name"] == "main")
    exported["variants"] += [copy.deepcopy(main) | {"name": f"v{k}"} for k in range(MOST_NETWORKS)]
    drawn = maps_of(exported, tmp_path)
    assert len(drawn) == MOST_NETWORKS
    assert all(f"{MOST_NETWORKS} of {MOST_NETWORKS + 1} networks" in chart.caption for chart in drawn)


def test_an_image_that_needs_too_many_bytes_keeps_fewer_rows() -> None:
    noise = Image.effect_noise((400, 400), 100).convert("RGB")
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    image, (width, height), rows = smaller(buffer.getvalue(), 10, 10, 400, 30_000)
    assert rows < 10 and (width, height) == (400, 40 * rows) and len(image) <= 30_000
    assert smaller(buffer.getvalue(), 10, 10, 400, 1)[2] == 1


def test_names_keep_the_order_of_every_network() -> None:
    orders = [["a", "c", "d"], ["a", "b", "d"], ["b", "c", "e"]]
    merged = _merged(orders)
    assert sorted(merged) == ["a", "b", "c", "d", "e"]
    assert [name for name in merged if name in orders[0]] == orders[0]
