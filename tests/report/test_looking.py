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
from PIL import Image, ImageColor

from recipelang.report.chart import Chart
from recipelang.report.context import build, compare
from recipelang.report.looking import _merged, depth_chart
from recipelang.report.looks import looks
from recipelang.report.maps import BESIDE, MOST_IMAGES, MOST_NETWORKS, maps
from recipelang.report.render import render

IMAGES, TILED = 8, 6
COLOURS = ("grey", "teal", "olive", "navy")


def sheet(columns: int = 3, colours: tuple[str, ...] = COLOURS) -> bytes:
    """Pictures of 40×20 pixels, each column in a colour of its own."""
    image = Image.new("RGB", (40 * columns, 20 * TILED))
    for column in range(columns):
        image.paste(colours[column], (40 * column, 0, 40 * column + 40, 20 * TILED))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def told(names: tuple[str, ...] = ("healthy", "network"), answer: str = "<dog>") -> dict[str, Any]:
    """What the export writes: the first map of each network is flat, the last network errs."""
    answers = {name: answer if name == "network" else "cat" for name in names}
    alike = dict.fromkeys(names[1:], 0.5)
    flat = dict.fromkeys(names[1:])
    images = [{"class": "cat", "answers": answers, "alike": alike if k else flat} for k in range(IMAGES)]
    return {"alike": alike, "tiled": TILED, "images": images}


@pytest.fixture
def exported(main_record: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """A record whose `main` has exported maps and accuracies into `tmp_path`."""
    found = copy.deepcopy(main_record)
    run = next(v for v in found["variants"] if v["name"] == "main")["runs"][0]
    run["folder"] = "main"
    run["steps"].append({"verb": "export", "text": "export layer_accuracy, activation_maps(images=8)"})
    place = tmp_path / "main" / "export"
    place.mkdir(parents=True)
    leave(place, sheet(), told())
    layers = [{"layer": f"layer{k}", "before": k / 10, "after": (k + 1) / 10} for k in range(4)]
    accuracies = {"network": 0.9, "embedding": 64, "similarity": "cosine", "layers": layers}
    (place / "layer_accuracy.json").write_text(json.dumps(accuracies))
    return found


def leave(place: Path, pictures: bytes, numbers: dict[str, Any]) -> None:
    (place / "activation_maps.json").write_text(json.dumps(numbers))
    (place / "activation_map_tiles.png").write_bytes(pictures)


def maps_of(record: dict[str, Any], folder: Path | None) -> list[Chart]:
    return maps(build(record, folder=folder).exhibits.maps)


def another(record: dict[str, Any], folder: Path, name: str, pictures: bytes, numbers: dict[str, Any]) -> None:
    """One more network in the record that exported maps."""
    main = next(v for v in record["variants"] if v["name"] == "main")
    new = copy.deepcopy(main) | {"name": name}
    new["runs"][0]["folder"] = name
    record["variants"].append(new)
    (folder / name / "export").mkdir(parents=True)
    leave(folder / name / "export", pictures, numbers)


def pictures_of(chart: Chart) -> list[list[tuple[int, int, int]]]:
    """The middle pixel of each picture, column by column from the left, from above."""
    found: dict[float, list[tuple[int, int, int]]] = {}
    for element in ElementTree.fromstring(chart.svg).iter():
        if element.tag.endswith("}image"):
            data = base64.b64decode(str(element.get("href")).removeprefix("data:image/webp;base64,"))
            with Image.open(io.BytesIO(data)) as shown:
                assert shown.size == (40, 20)
                height = float(str(element.get("height")))
                assert float(str(element.get("width"))) == pytest.approx(2 * height, abs=0.1)
                found.setdefault(float(str(element.get("x"))), []).append(shown.convert("RGB").getpixel((20, 10)))  # type: ignore[arg-type]
    return [found[x] for x in sorted(found)]


def words_of(chart: Chart) -> list[str]:
    return [str(e.text) for e in ElementTree.fromstring(chart.svg).iter() if e.tag.endswith("}text")]


def shade(colour: str) -> Any:
    return pytest.approx(ImageColor.getrgb(colour), abs=4)  # WebP is lossy


def test_an_image_and_its_maps_stand_in_a_row_with_their_words(exported: dict[str, Any], tmp_path: Path) -> None:
    (chart,) = maps_of(exported, tmp_path)
    assert pictures_of(chart) == [[shade(colour)] * MOST_IMAGES for colour in COLOURS[:3]]
    said = words_of(chart)
    assert [word for word in ("image", "healthy", "main") if word in said] == ["image", "healthy", "main"]
    assert said.count("<dog> ✗") == MOST_IMAGES and said.count("cat") == 2 * MOST_IMAGES  # the class, and healthy
    assert said.count("0.50") == MOST_IMAGES - 1 and said.count("–") == 1
    assert f"{MOST_IMAGES} of {IMAGES} images" in chart.caption and "main 0.50" in chart.caption
    page = render(build(exported, folder=tmp_path), "html")["report.html"]
    assert page.count("data:image/webp;base64,") == 3 * MOST_IMAGES and "<dog>" not in page
    assert "img-src data:" in page  # what the content security policy allows


def test_a_reader_without_the_pictures_has_their_words(exported: dict[str, Any], tmp_path: Path) -> None:
    (chart,) = maps_of(exported, tmp_path)
    assert ElementTree.fromstring(chart.svg).get("role") == "img"
    label = str(ElementTree.fromstring(chart.svg).get("aria-label"))
    assert "main" in label and "healthy" in label and str(MOST_IMAGES) in label
    assert chart.text.header == ("class", "healthy", "main, correlation")
    assert chart.text.rows[:2] == (("cat", "cat", "<dog>, –"), ("cat", "cat", "<dog>, 0.50"))
    assert len(chart.text.rows) == IMAGES


def test_the_pictures_are_a_figure_of_the_markdown_report(exported: dict[str, Any], tmp_path: Path) -> None:
    files = render(build(exported, folder=tmp_path), "markdown")
    assert "](figures/maps-0.svg)" in files["report.md"] and "| cat | cat | &lt;dog&gt;, 0.50 |" in files["report.md"]
    tree = ElementTree.fromstring(files["figures/maps-0.svg"])
    titles = [element.text for element in tree.iter() if element.tag.endswith("}title")]
    assert "main: <dog>, correlation 0.50" in titles and "prefers-color-scheme: dark" in files["figures/maps-0.svg"]


def test_recovered_stands_between_healthy_and_the_network(exported: dict[str, Any], tmp_path: Path) -> None:
    three = ("healthy", "recovered", "network")
    leave(tmp_path / "main" / "export", sheet(4), told(three))
    (chart,) = maps_of(exported, tmp_path)
    assert pictures_of(chart) == [[shade(colour)] * MOST_IMAGES for colour in COLOURS]
    assert chart.text.header == ("class", "healthy", "recovered, correlation", "main, correlation")


def test_networks_of_the_same_images_are_side_by_side(exported: dict[str, Any], tmp_path: Path) -> None:
    another(exported, tmp_path, "less", sheet(colours=("grey", "teal", "navy")), told(answer="cat"))
    (chart,) = maps_of(exported, tmp_path)
    assert pictures_of(chart) == [[shade(colour)] * MOST_IMAGES for colour in ("grey", "teal", "olive", "navy")]
    assert chart.text.header == ("class", "healthy", "main, correlation", "less, correlation")
    another(exported, tmp_path, "other", sheet(colours=("red", "teal", "navy")), told())  # images of another kind
    assert [len(pictures_of(chart)) for chart in maps_of(exported, tmp_path)] == [4, 3]


def test_a_recovered_network_that_two_share_is_shown_once(exported: dict[str, Any], tmp_path: Path) -> None:
    three = ("healthy", "recovered", "network")
    leave(tmp_path / "main" / "export", sheet(4), told(three))
    another(exported, tmp_path, "less", sheet(4, (*COLOURS[:3], "red")), told(three))
    (chart,) = maps_of(exported, tmp_path)
    assert [column[0] for column in pictures_of(chart)] == [shade(colour) for colour in (*COLOURS, "red")]


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


def compared(exported: dict[str, Any], folder: Path, other: Path) -> list[Chart]:
    context = compare([build(exported, "a", folder), build(exported, "b", other)])
    return maps(context.exhibits.maps, [source.name for source in context.sources])


def other_run(folder: Path, pictures: bytes, numbers: dict[str, Any]) -> Path:
    (folder / "other" / "main" / "export").mkdir(parents=True)
    leave(folder / "other" / "main" / "export", pictures, numbers)
    return folder / "other"


def test_runs_that_were_shown_the_same_images_stand_side_by_side(exported: dict[str, Any], tmp_path: Path) -> None:
    (chart,) = compared(exported, tmp_path, other_run(tmp_path, sheet(colours=("grey", "red", "navy")), told()))
    assert pictures_of(chart) == [[shade(colour)] * MOST_IMAGES for colour in ("grey", "teal", "olive", "red", "navy")]
    names = ("class", "a: healthy", "a: main, correlation", "b: healthy", "b: main, correlation")
    assert chart.text.header == names and "its own healthy" in chart.caption
    page = render(compare([build(exported, "a", tmp_path), build(exported, "b", tmp_path / "other")]), "html")
    assert page["report.html"].count("data:image/webp;base64,") == 5 * MOST_IMAGES


def test_a_healthy_network_that_two_runs_share_is_shown_once(exported: dict[str, Any], tmp_path: Path) -> None:
    (chart,) = compared(exported, tmp_path, other_run(tmp_path, sheet(colours=("grey", "teal", "navy")), told()))
    assert chart.text.header == ("class", "healthy", "a: main, correlation", "b: main, correlation")


def test_runs_of_other_images_or_without_maps_are_named(exported: dict[str, Any], tmp_path: Path) -> None:
    other = other_run(tmp_path, sheet(colours=("red", "teal", "navy")), told())
    first, second = compared(exported, tmp_path, other)
    assert "Maps of b are of other images and stand apart." in first.caption
    assert "Maps of a are of other images and stand apart." in second.caption
    (only,) = compared(exported, tmp_path, tmp_path / "nowhere")
    assert "b: no maps, which `export activation_maps` draws." in only.caption


def test_of_many_networks_in_two_runs_each_run_is_shown(exported: dict[str, Any], tmp_path: Path) -> None:
    main = next(v for v in exported["variants"] if v["name"] == "main")
    exported["variants"] += [copy.deepcopy(main) | {"name": f"v{k}"} for k in range(MOST_NETWORKS)]
    names = [name for chart in compared(exported, tmp_path, tmp_path) for name in chart.text.header]
    shown = [name.partition(":")[0] for name in names if "correlation" in name]
    assert shown == ["a"] * (MOST_NETWORKS // 2) + ["b"] * (MOST_NETWORKS // 2)


def test_a_network_whose_healthy_has_no_maps_stands_beside_the_image(exported: dict[str, Any], tmp_path: Path) -> None:
    numbers = {**told(("network",)), "without": {"healthy": "it has <none>"}}
    leave(tmp_path / "main" / "export", sheet(2), numbers)
    (chart,) = maps_of(exported, tmp_path)
    assert pictures_of(chart) == [[shade(colour)] * MOST_IMAGES for colour in COLOURS[:2]]
    assert chart.text.header == ("class", "main") and chart.text.rows[0] == ("cat", "<dog>")
    assert "correlat" not in chart.caption and "healthy of main is not drawn: it has <none>." in chart.caption
    assert "it has &lt;none&gt;" in render(build(exported, folder=tmp_path), "html")["report.html"]


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("activation_map_tiles.png", b"not a PNG", "the image is not a PNG that can be read"),
        ("activation_map_tiles.png", sheet()[:-40], "the image is not a PNG that can be read"),
        ("activation_map_tiles.png", sheet(2), "not of one size"),
        ("activation_maps.json", b"{", "Expecting property name"),
        ("activation_maps.json", b'{"alike": 0.5, "images": [{"class": "a"}]}', "an earlier version wrote it"),
        ("activation_maps.json", b'{"alike": {}, "tiled": 6, "images": []}', "it names no image"),
        ("activation_maps.json", json.dumps({**told(), "tiled": 700}).encode(), "700 is not a number between"),
        ("activation_maps.json", json.dumps(told(answer=7)).encode(), "not a text"),  # type: ignore[arg-type]
        ("activation_maps.json", json.dumps({**told(), "without": 3}).encode(), "not iterable"),
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
    assert file.partition(".")[0].replace("_map_tiles", "_maps") in said and why in said
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
    assert [len(pictures_of(chart)) for chart in drawn] == [2 + BESIDE] * (MOST_NETWORKS // BESIDE)
    assert all(f"{MOST_NETWORKS} of {MOST_NETWORKS + 1} networks" in chart.caption for chart in drawn)


def test_names_keep_the_order_of_every_network() -> None:
    orders = [["a", "c", "d"], ["a", "b", "d"], ["b", "c", "e"]]
    merged = _merged(orders)
    assert sorted(merged) == ["a", "b", "c", "d", "e"]
    assert [name for name in merged if name in orders[0]] == orders[0]
