"""A network predicts with the preprocessing that it was measured with, that of the data or that of the weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import models

import recipelang
from recipelang.catalogue import find
from recipelang.kinds import ModelRequest, Preprocessing
from recipelang.nets.cifar_resnet import cifar_resnet
from recipelang.surgery import artifact
from recipelang.surgery.published import published


def photos(root: Path, names: tuple[str, ...], count: int = 10) -> Path:
    """Coarse noise of odd sizes, so that squashing and cropping show other pixels."""
    random = np.random.default_rng(0)
    for name in names:
        (root / name).mkdir(parents=True)
        for k in range(count):
            size = (90 + 17 * k % 60, 70 + 23 * k % 50)
            coarse = Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8))
            coarse.resize(size, Image.Resampling.BICUBIC).save(root / name / f"{k}.png")
    return root


@pytest.mark.parametrize("size", [16, 64])
@pytest.mark.parametrize("own", [None, Preprocessing((64, 64), (0.5,) * 3, (0.5,) * 3, 66, "bicubic", "rounded")])
def test_what_is_measured_is_what_is_predicted(lab: Any, tmp_path: Path, size: int, own: Preprocessing | None) -> None:
    names = ("ants", "bees", "wasps")
    root = photos(tmp_path / "data", names)
    torch.manual_seed(1)
    network = find("model", "resnet20")().build(ModelRequest(classes=names, input_shape=(3, size, size)))  # type: ignore[misc]
    artifact.save(replace(network, preprocessing=own), tmp_path / "net")
    data = f'data folder("{root}", size={size}, split=[40%, 30%, 30%])'
    done = lab.run(f'model artifact("{tmp_path / "net"}")\n{data}\nmeasure top1, loss\n', smoke=False)
    written = recipelang.load(done.folder / "main")
    opened: Any = find("data", "folder")(root=str(root), size=size, split=(0.4, 0.3, 0.3)).open(Path)  # type: ignore[misc]
    used = written.preprocessing
    assert used is not None
    if own is not None:
        assert used.mean == own.mean
        assert (used.resize, used.interpolation) == ((66, "bicubic") if size == 64 else (None, "bilinear"))
    # The files of the test split, by what the data set hands out for them under that preprocessing.
    seen = opened.prepared(used)
    truth = torch.cat([labels for _, labels in seen.batches("test")])
    files = sorted(root.glob("*/*.png"))
    inputs = torch.cat([x for x, _ in seen.batches("test")])
    prepared = {path: recipelang.images.decode.prepare_file(path, used)[0] for path in files}
    chosen = [min(files, key=lambda path: float((prepared[path] - x).abs().max())) for x in inputs]
    assert all(float((prepared[path] - x).abs().max()) < 1e-4 for path, x in zip(chosen, inputs, strict=True))
    assert [names[k] for k in truth] == [path.parent.name for path in chosen]
    answered = [written.predict(path)[0] for path in chosen]
    right = sum(answer.name == path.parent.name for answer, path in zip(answered, chosen, strict=True))
    assert done.metric("top1") == pytest.approx(right / len(chosen))
    cross_entropy = -np.mean(
        [np.log(a.probabilities[path.parent.name]) for a, path in zip(answered, chosen, strict=True)]
    )
    assert done.metric("loss") == pytest.approx(cross_entropy, rel=1e-3)


def test_published_weights_on_a_folder_of_some_of_their_classes(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    entry = published("resnet18", "DEFAULT")
    (tmp_path / "checkpoints").mkdir()
    torch.manual_seed(3)
    module = models.resnet18()
    torch.save(module.state_dict(), tmp_path / "checkpoints" / Path(entry.url).name)
    names = ("goldfish", "great_white_shark", "tench")
    root = photos(tmp_path / "data", names, 5)
    text = (
        f'model torchvision.resnet18(weights="DEFAULT")\ndata folder("{root}", split=[40%, 20%, 40%])\nmeasure loss\n'
    )
    done = lab.run(text, smoke=False)
    # By torchvision alone: its transforms, its network, its list of classes.
    module.eval()
    transforms, categories = entry.transforms(), list(entry.meta["categories"])
    losses = {}
    with torch.no_grad():
        for path in sorted(root.glob("*/*.png")):
            label = torch.tensor([categories.index(path.parent.name.replace("_", " "))])
            scores = module(transforms(Image.open(path).convert("RGB"))[None])
            losses[path] = float(nn.functional.cross_entropy(scores, label))
    opened: Any = find("data", "folder")(root=str(root), split=(0.4, 0.2, 0.4)).open(Path)  # type: ignore[misc]
    tested = [root / name for name in opened.images["test"].names]
    assert done.metric("loss") == pytest.approx(np.mean([losses[path] for path in tested]), rel=1e-3)
    model = recipelang.load(done.folder / "main")
    assert model.classes[:3] == ("tench", "goldfish", "great white shark") and len(model.classes) == 1000


def test_small_images_made_larger_are_predicted_on_the_same_way(tmp_path: Path) -> None:
    root = tmp_path / "cifar"
    random = np.random.default_rng(0)
    for split, count in (("train", 20), ("test", 4)):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for k in range(count):
                pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{k}.png")
    data: Any = find("data", "cifar10")(root=str(root), size=48).open(Path)  # type: ignore[misc]
    network = find("model", "resnet20")().build(ModelRequest(classes=data.classes, input_shape=data.input_shape))  # type: ignore[misc]
    artifact.save(replace(network, preprocessing=data.preprocessing), tmp_path / "net")
    model = recipelang.load(tmp_path / "net")
    images, labels = next(iter(data.batches("test", batch=data.size("test"))))
    with torch.no_grad():
        scores = cifar_like(network).eval()(images)
    for name, label in (("cat", 0), ("dog", 1)):
        rows = scores[labels == label].softmax(1)
        for k, row in enumerate(rows):
            found = model.predict(root / "test" / name / f"{k}.png")[0]
            assert list(found.probabilities.values()) == pytest.approx(row.tolist(), abs=1e-4)
    # A photograph is made small first, as the network's images were.
    large = Image.fromarray(random.integers(0, 256, (320, 320, 3), dtype=np.uint8))
    once = model.predict(large.resize((32, 32), Image.Resampling.BILINEAR))[0]
    assert model.predict(large)[0].probabilities == pytest.approx(once.probabilities)


def cifar_like(network: Any) -> nn.Module:
    """The network's module by its own class, loaded by hand."""
    module = cifar_resnet(20, classes=2)
    module.load_state_dict(network.module.state_dict())
    return module.eval()
