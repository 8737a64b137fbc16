"""`recipelang.load(folder)` is ready to predict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import recipelang
from recipelang.errors import Refusal
from recipelang.kinds import Preprocessing
from recipelang.surgery import artifact
from recipelang.surgery.network import Network
from recipelang.surgery.tracing import evaluating


@pytest.fixture
def saved(resnet20: Network, tmp_path: Path) -> Path:
    names = tuple(f"class {k}" for k in range(10))
    source = {**resnet20.source, "classes": list(names)}
    network = replace(
        resnet20, classes=names, source=source, preprocessing=Preprocessing((32, 32), (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
    )
    artifact.save(network, tmp_path / "net")
    return tmp_path / "net"


def test_pictures_and_paths_give_names_and_probabilities(resnet20: Network, saved: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    model = recipelang.load(saved)
    first, second = model.predict([Image.fromarray(pixels), tmp_path / "a.png"])
    assert first == second
    assert model.predict(str(tmp_path / "a.png"))[0].name == first.name
    # By hand: to 0…1, normalise, run the network that was saved.
    x = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1) / 255
    x = (x - torch.tensor([0.5, 0.4, 0.3])[:, None, None]) / 0.2
    with evaluating(resnet20.module):
        expected = resnet20.module(x[None]).softmax(1)[0]
    assert list(first.probabilities) == [f"class {k}" for k in range(10)]
    assert torch.allclose(torch.tensor(list(first.probabilities.values())), expected, atol=1e-5)
    assert first.name == f"class {int(expected.argmax())}" and first.probability == max(first.probabilities.values())


def test_tensors_give_scores(resnet20: Network, saved: Path) -> None:
    model = recipelang.load(saved)
    x = torch.randn(3, 3, 32, 32)
    with evaluating(resnet20.module):
        assert torch.allclose(model(x), resnet20.module(x), rtol=1e-3, atol=1e-4)
    assert not model.training
    assert model.predict([]) == []


def test_without_preprocessing_there_is_nothing_to_predict_pictures_by(resnet20: Network, tmp_path: Path) -> None:
    artifact.save(resnet20, tmp_path)
    with pytest.raises(Refusal) as caught:
        recipelang.load(tmp_path).predict(Image.new("RGB", (32, 32)))
    assert caught.value.code == "RCP0717"


def test_a_file_that_is_no_picture_is_refused(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("not an image")
    for path in (tmp_path / "a.png", tmp_path / "nowhere.png"):
        with pytest.raises(Refusal, match=path.name):
            recipelang.load(saved).predict(path)


def test_the_precision_is_that_of_the_answer(resnet20: Network, saved: Path) -> None:
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    coarse = recipelang.load(saved, precision="bfloat16")
    with torch.no_grad():
        answer, exact = coarse(images), recipelang.load(saved)(images)
    assert answer.dtype == torch.bfloat16
    assert 0 < float((answer.float() - exact).norm() / exact.norm()) < 0.05


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        *(({"device": "cuda:31"}, "RCP1001"), ({"device": "gpu"}, "RCP1001"), ({"device": 3}, "RCP1001")),
        *(({"precision": "half"}, "RCP1012"), ({"precision": None}, "RCP1012"), ({"precision": torch.int8}, "RCP1012")),
        *(({"batch": 0}, "RCP0303"), ({"batch": "4"}, "RCP0303"), ({"batch": True}, "RCP0303")),
    ],
)
def test_a_device_or_precision_that_is_not_there_is_refused(saved: Path, asked: dict[str, Any], code: str) -> None:
    with pytest.raises(Refusal) as refused:
        recipelang.load(saved, **asked)
    assert refused.value.code == code


@pytest.mark.parametrize("several", [False, True])
def test_scores_that_are_not_numbers_are_never_a_prediction(resnet20: Network, tmp_path: Path, several: bool) -> None:
    with torch.no_grad():
        resnet20.module.linear.weight.mul_(1e6)  # float32 holds it, float16 does not
    network = replace(resnet20, preprocessing=Preprocessing((32, 32), (0.5, 0.4, 0.3), (0.2, 0.2, 0.2)))
    artifact.save(network, tmp_path / "net")
    Image.new("RGB", (32, 32), (200, 30, 90)).save(tmp_path / "a.png")
    given: Any = [tmp_path / "a.png"] * 2 if several else tmp_path / "a.png"
    assert recipelang.load(tmp_path / "net").predict(given)
    with pytest.raises(Refusal, match=r"scores for `.*a\.png` are NaN or infinite") as caught:
        recipelang.load(tmp_path / "net", precision="float16").predict(given)
    assert caught.value.code == "RCP0724" and "float32" in caught.value.help


def test_a_precision_that_the_network_cannot_compute_in(come_in: Any, tmp_path: Path) -> None:
    network = come_in("return self.scores(x + torch.linspace(0, 1, 4))")
    artifact.save(network, tmp_path / "net")
    with pytest.raises(Refusal) as caught:
        recipelang.load(tmp_path / "net", trust=True, precision="bfloat16")
    assert caught.value.code == "RCP0726"


@pytest.mark.parametrize("form", ["{'logits': y, 'features': x}", "(y, x)"])
def test_what_it_answers_and_what_it_does_to_its_input_are_the_networks_own(
    form: str, come_in: Any, tmp_path: Path
) -> None:
    network = come_in(f"x = x.mul_(0.5)\ny = self.scores(x)\nreturn {form}")
    artifact.save(network, tmp_path / "net")
    model = recipelang.load(tmp_path / "net", trust=True)
    images = torch.rand(3, 1, 4, 4)
    given = images.clone()
    with evaluating(network.module):
        expected = network.module.head(network.module.features(images * 0.5))
    assert torch.allclose(model(images), expected, atol=1e-6) and torch.equal(images, given)
    assert torch.allclose(model(images), expected, atol=1e-6)
