"""`model timm.NAME(…)`: parity with timm, weights wherever they are, heads, sizes, channels, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from recipelang.catalogue import find
from recipelang.errors import Refusal, SettingError
from recipelang.kinds import ModelRequest
from recipelang.surgery import artifact
from recipelang.surgery.network import Network

timm = pytest.importorskip("timm", reason="timm is not installed")

#: small networks of different families; those that take one size alone are built for 64 pixels
FAMILIES = (
    "resnet10t",
    "test_vit",
    "mobilenetv3_small_050",
    "test_convnext",
    "repvgg_a0",
    "test_byobnet",
    "deit_tiny_patch16_224",
)


def build(request: ModelRequest | None = None, **settings: Any) -> Network:
    network = find("model", "timm")(**settings).build(request or ModelRequest(("a", "b", "c"), (3, 64, 64)))
    assert isinstance(network, Network)
    return network


def refused(code: str, *words: str, request: ModelRequest | None = None, **settings: Any) -> None:
    with pytest.raises(Refusal) as caught:
        build(request, **settings)
    text = f"{caught.value.message} {caught.value.help}"
    assert caught.value.code == code, text
    for word in words:
        assert word in text, text


def test_no_tag_of_timm_is_refused_and_check_refuses_others() -> None:
    for name in timm.list_models(include_tags=True):
        architecture, _, tag = name.partition(".")
        if tag:
            find("model", "timm")(architecture=architecture, weights=tag)
    find("model", "timm")(architecture="resnet50", weights="mine")  # a folder, perhaps


def test_names_are_those_of_timm() -> None:
    assert find("model", "timm").dotted_names() == set(timm.list_models())


@pytest.mark.parametrize("name", FAMILIES)
def test_a_file_of_weights_gives_timms_own_network_and_its_artifact_loads(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    size = {"img_size": 64} if "vit" in name or "deit" in name else {}
    theirs = timm.create_model(name, num_classes=5, **size).eval()
    torch.save({"state_dict": {f"module.{k}": v for k, v in theirs.state_dict().items()}}, tmp_path / "w.pth")
    request = ModelRequest(input_shape=(3, 64, 64))
    network = build(request, architecture=name, weights=str(tmp_path / "w.pth"))
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network.module.eval()(images), theirs(images))
    assert network.source["settings"] == {"architecture": name, "classes": 5}
    artifact.save(network, tmp_path / "saved")
    with torch.no_grad():
        torch.testing.assert_close(artifact.load(tmp_path / "saved").module.eval()(images), theirs(images))
    request = ModelRequest(("x", "y"), (3, 64, 64))
    other = build(request, architecture=name, weights=str(tmp_path / "w.pth"), classes=2)
    assert "needs training" in " ".join(other.habits.notes)
    artifact.save(other, tmp_path / "other")
    assert artifact.load(tmp_path / "other").module.eval()(images).shape == (2, 2)


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub with `timm/resnet10t.c3_in1k`, whose weights are random."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "cache" / "models--timm--resnet10t.c3_in1k"
    folder = root / "snapshots" / ("a" * 40)
    folder.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("a" * 40)
    torch.manual_seed(0)
    torch.save(timm.create_model("resnet10t").state_dict(), folder / "pytorch_model.bin")
    return folder


def test_published_weights_come_from_the_cache_with_classes_and_preprocessing(cached: Path, tmp_path: Path) -> None:
    theirs = timm.create_model("resnet10t", checkpoint_path=str(cached / "pytorch_model.bin")).eval()
    network = build(ModelRequest(), architecture="resnet10t", weights="DEFAULT")
    p = network.preprocessing
    assert p is not None and network.input_shape == (3, 176, 176) and network.classes[0] == "tench"
    config = timm.data.resolve_data_config({}, model=theirs)
    eval_transform = timm.data.create_transform(**config)
    assert (p.mean, p.std, p.interpolation) == (config["mean"], config["std"], config["interpolation"])
    assert (p.resize, p.size) == (eval_transform.transforms[0].size, eval_transform.transforms[1].size)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network.module.eval()(images), theirs(images))
    by_tag = build(ModelRequest(), architecture="resnet10t.c3_in1k", weights="DEFAULT")
    assert by_tag.classes == network.classes and by_tag.source["settings"]["architecture"] == "resnet10t.c3_in1k"
    tuned = build(ModelRequest(("a", "b"), (1, 48, 48)), architecture="resnet10t", weights="c3_in1k", classes=2)
    assert tuned.module.eval()(torch.rand(2, 1, 48, 48)).shape == (2, 2) and tuned.preprocessing is None
    assert "needs training" in " ".join(tuned.habits.notes)
    artifact.save(tuned, tmp_path / "saved")
    assert artifact.load(tmp_path / "saved").classes == ("a", "b")
    refused("RCP0708", "classes=3", architecture="resnet10t", weights="DEFAULT")
    (cached / "pytorch_model.bin").write_text("<html>")
    refused("RCP0706", "web page", architecture="resnet10t", weights="DEFAULT")


def test_a_folder_that_timm_saved(tmp_path: Path) -> None:
    from timm.models import save_for_hf

    torch.manual_seed(0)
    theirs = timm.create_model("resnet10t", num_classes=2).eval()
    save_for_hf(theirs, tmp_path / "mine", model_config={"label_names": ["cat", "dog"]}, safe_serialization=True)
    network = build(ModelRequest(input_shape=(3, 64, 64)), architecture="resnet10t", weights=str(tmp_path / "mine"))
    assert network.classes == ("cat", "dog") and network.preprocessing is not None
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network.module.eval()(images), theirs(images))
    refused("RCP0762", "`resnet10t`, not `resnet14t`", architecture="resnet14t", weights=str(tmp_path / "mine"))
    shutil.rmtree(tmp_path / "mine")
    refused("RCP0706", "no weights file", architecture="resnet10t", weights=str(tmp_path / "mine"))


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(SettingError) as caught:
        build(architecture="resnet50dd")
    assert "did you mean `resnet50d`" in (caught.value.help or "")
    refused("RCP0760", "hf download timm/resnet50.a1_in1k", str(tmp_path), architecture="resnet50", weights="DEFAULT")
    for given in ({"weights": "a1_in1kk"}, {"architecture": "resnet50.a1_in1kk", "weights": "DEFAULT"}):
        with pytest.raises(SettingError, match="no weights `a1_in1kk` for resnet50") as caught:
            find("model", "timm")(**{"architecture": "resnet50", **given})
        assert "did you mean `a1_in1k`" in str(caught.value.help)
    refused("RCP0764", "leave one out", architecture="resnet50.a1_in1k", weights="a2_in1k")
    refused("RCP0764", "`nothing`", architecture="resnet50.nothing")
    shape = ModelRequest(("a", "b"), (3, 33, 33))
    refused("RCP0713", "33×33", architecture="test_vit", request=shape)
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "w.pth")
    refused("RCP0707", "do not fit", architecture="resnet14t", weights=str(tmp_path / "w.pth"))
