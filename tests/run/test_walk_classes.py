"""Class names decide, not positions: second data sets, artifacts and teachers whose lists of classes differ."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import recipelang
from recipelang.errors import StepFailed

COLOURS = {"blue": (40, 40, 220), "green": (40, 200, 40), "red": (220, 40, 40), "yellow": (220, 220, 40)}


def photos(root: Path, names: dict[str, str], count: int = 12, seed: int = 0) -> str:
    """Images of 8×8 noisy pixels: folder → the colour of its images. The folder, as a recipe writes it."""
    random = np.random.default_rng(seed)
    for folder, colour in names.items():
        (root / folder).mkdir(parents=True)
        for k in range(count):
            pixels = random.normal(COLOURS[colour], 40, (8, 8, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{k}.png")
    return str(root)


def right_answers(network: Path, root: str, folders: dict[str, str]) -> float:
    """The share of images that the exported network calls by their colour."""
    model = recipelang.load(network)
    answers = [
        (model.predict(path)[0].name, colour)
        for folder, colour in folders.items()
        for path in sorted(Path(root, folder).iterdir())
    ]
    return sum(name == colour for name, colour in answers) / len(answers)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, lab: Any) -> Any:
    """A network that knows four colours, and the data that it learnt from."""
    root = photos(tmp_path_factory.mktemp("data") / "all", {name: name for name in COLOURS})
    text = f'model digits_resnet\ndata folder("{root}", size=8, batch=16, augment=none)\ntrain for 15 epochs\n'
    return text, lab.run(text + "measure top1\n", smoke=False).folder / "main"


def test_a_second_set_is_told_by_name(trained: Any, lab: Any, tmp_path: Path) -> None:
    text, _ = trained
    some = {"green": "green", "red": "red", "yellow": "yellow"}  # without the first class: every position differs
    root = photos(tmp_path / "some", some, seed=1)
    done = lab.run(
        f'{text}data folder("{root}", size=8, split=[10%, 10%, 80%]) as later\nmeasure top1 on later\n', smoke=False
    )
    found = done.metric("top1 on later")
    assert found > 0.8  # a network that only knows positions answers at random, and `green` as `blue`
    tested = right_answers(done.folder / "main", root, some)
    assert found == pytest.approx(tested, abs=0.1)  # of four fifths of the images


def test_a_second_set_of_unknown_classes_is_refused_before_any_work(trained: Any, lab: Any, tmp_path: Path) -> None:
    text, _ = trained
    root = photos(tmp_path / "other", {"green": "green", "pink": "red"})
    recipe = f'{text}data folder("{root}", size=8) as later\nmeasure top1 on later\n'
    for does in (lab.plan, lab.run):
        with pytest.raises(StepFailed, match="does not know the class `pink` of the data `later`") as failed:
            does(recipe, smoke=False)
        assert [problem.code for problem in failed.value.diagnostics] == ["RCP0819"]


@pytest.mark.parametrize("other", ["channels=1", "size=16, channels=1"])
def test_a_second_set_that_the_network_cannot_read_is_refused_before_any_work(
    trained: Any, lab: Any, tmp_path: Path, other: str
) -> None:
    text, _ = trained
    root = photos(tmp_path / "grey", {name: name for name in COLOURS})
    setting = other if other.startswith("size") else f"size=8, {other}"
    with pytest.raises(StepFailed, match="of the data `later`: the network does not take 1×") as failed:
        lab.run(f'{text}data folder("{root}", {setting}) as later\nmeasure top1 on later\n', smoke=False)
    assert failed.value.diagnostics[0].code == "RCP0713"


def test_an_artifact_is_told_by_name_whatever_the_order_of_the_data(trained: Any, lab: Any, tmp_path: Path) -> None:
    _, network = trained
    shutil.copytree(network, tmp_path / "net")
    names = {"BLUE": "blue", "Green": "green", "red": "red", "Yellow": "yellow"}  # sorted: BLUE, Green, Yellow, red
    root = photos(tmp_path / "cases", names, seed=2)
    head = f'model artifact("{tmp_path / "net"}")\n'
    done = lab.run(f'{head}data folder("{root}", size=8, split=[10%, 45%, 45%])\nmeasure top1\n', smoke=False)
    assert done.metric("top1") > 0.8
    assert done.metric("top1") == pytest.approx(right_answers(done.folder / "main", root, names), abs=0.1)
    assert done.steps("healthy", "model")[0]["note"].startswith("classes are matched by name")
    fewer = photos(tmp_path / "fewer", {"red": "red", "yellow": "yellow"}, seed=3)
    text = f'{head}data folder("{fewer}", size=8, split=[40%, 20%, 40%])\nfinetune for 1 epoch\nmeasure top1\n'
    done = lab.run(text, smoke=False)
    assert done.metric("top1") > 0.8
    assert "2 of the network's 4 are not in the data" in done.steps("healthy", "model")[0]["note"]
    assert recipelang.load(done.folder / "main").classes == tuple(sorted(COLOURS))
    other = photos(tmp_path / "others", {"a": "blue", "b": "green", "c": "red", "d": "yellow"})
    with pytest.raises(StepFailed) as failed:
        lab.plan(f'{head}data folder("{other}", size=8)\nmeasure top1\n', smoke=False)
    assert failed.value.diagnostics[0].code == "RCP0708"


def test_a_teacher_of_other_names_is_refused_and_one_of_another_order_is_told(
    trained: Any, lab: Any, tmp_path: Path
) -> None:
    _, network = trained
    shutil.copytree(network, tmp_path / "net")
    teacher = f'model artifact("{tmp_path / "net"}") as old\n'
    renamed = photos(tmp_path / "renamed", {"d_blue": "blue", "c_green": "green", "b_red": "red", "a_yellow": "yellow"})
    text = 'model digits_resnet\n{}data folder("{}", size=8)\ndistill from old for 2 steps with kd(T=2)\n'
    with pytest.raises(StepFailed, match="the second model `old` does not know the classes") as failed:
        lab.run(text.format(teacher, renamed))
    assert failed.value.diagnostics[0].code == "RCP0914"
    some = photos(tmp_path / "some", {"yellow": "yellow", "red": "red"})
    done = lab.run(text.format(teacher, some))
    assert not done.code
    assert "2 of the 4 classes of `old` are used, matched by name" in done.steps(verb="distill")[0]["note"]


def test_plan_and_run_say_what_was_left_out(lab: Any, tmp_path: Path) -> None:
    root = photos(tmp_path / "all", {name: name for name in COLOURS})
    Path(root, "red", "broken.png").write_bytes(b"x")
    text = f'model digits_resnet\ndata folder("{root}", size=8, unreadable=skip)\nmeasure params\n'
    told = "1 image left out because they cannot be read: `red/broken.png`"
    assert told in lab.plan(text).text()
    done = lab.run(text)
    assert any(told in line for line in done.said)
    assert told in done.steps("healthy", "data")[0]["note"]


def test_a_network_without_names_takes_those_of_the_data_and_says_so(lab: Any, tmp_path: Path) -> None:
    from recipelang.catalogue import find
    from recipelang.kinds import ModelRequest
    from recipelang.surgery import artifact

    nameless = find("model", "digits_resnet")(classes=4).build(ModelRequest(input_shape=(3, 8, 8)))
    assert nameless.classes == ("0", "1", "2", "3")
    artifact.save(nameless, tmp_path / "net")
    root = photos(tmp_path / "all", {name: name for name in COLOURS})
    done = lab.run(f'model artifact("{tmp_path / "net"}")\ndata folder("{root}", size=8)\nmeasure top1\n')
    assert (
        "does not name its classes; the data's classes are assigned in order"
        in done.steps("healthy", "model")[0]["note"]
    )
    assert recipelang.load(done.folder / "main").classes == tuple(sorted(COLOURS))
