"""`model huggingface(…)`: parity with transformers, heads, image processors, and folders that cannot be used."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from recipelang.catalogue import find
from recipelang.errors import Refusal
from recipelang.kinds import ModelRequest
from recipelang.surgery import artifact, hub, libraries
from recipelang.surgery.network import Network
from recipelang.surgery.pretrained import quietly, require_transformers

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

NAMES = {0: "cat", 1: "dog", 2: "great white shark"}
CONFIGS: dict[str, Callable[[], Any]] = {
    "resnet": lambda: transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 2], id2label=NAMES),
    "vit": lambda: transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=8,
        id2label=NAMES,
    ),
    "convnext": lambda: transformers.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, id2label=NAMES),
    "mobilenet_v2": lambda: transformers.MobileNetV2Config(depth_multiplier=0.25, id2label=NAMES),
    "swin": lambda: transformers.SwinConfig(
        image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4, id2label=NAMES
    ),
    "mobilevit": lambda: transformers.MobileViTConfig(
        hidden_sizes=[8, 8, 8], neck_hidden_sizes=[4, 4, 8, 8, 8, 8, 16], num_attention_heads=2, id2label=NAMES
    ),
}  # fmt: skip
PROCESSORS = {
    "resnet": lambda: transformers.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.875),
    "vit": lambda: transformers.ViTImageProcessor(size={"height": 32, "width": 32}),
    "convnext": lambda: transformers.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.5),
    "mobilenet_v2": lambda: transformers.MobileNetV2ImageProcessor(
        size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}
    ),
    "swin": lambda: transformers.ViTImageProcessor(size={"height": 32, "width": 32}),
    "mobilevit": lambda: transformers.MobileViTImageProcessor(
        size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32}
    ),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small network of each family with its image processor, saved as people do."""
    made = {}
    for name, config in CONFIGS.items():
        made[name] = tmp_path_factory.mktemp("hub") / name
        torch.manual_seed(0)
        with quietly():
            transformers.AutoModelForImageClassification.from_config(config()).save_pretrained(made[name])
            PROCESSORS[name]().save_pretrained(made[name])
    return made


@pytest.fixture
def resnet(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A folder that a test may spoil."""
    return Path(shutil.copytree(folders["resnet"], tmp_path / "resnet"))


def build(where: Path | str, request: ModelRequest | None = None, **settings: Any) -> Network:
    network = find("model", "huggingface")(where=str(where), **settings).build(request or ModelRequest())
    assert isinstance(network, Network)
    return network


def refused(code: str, where: Path | str, *words: str, request: ModelRequest | None = None, **settings: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        build(where, request, **settings)
    text = f"{caught.value.message} {caught.value.help}"
    assert caught.value.code == code, text
    for word in words:
        assert word in text, text
    return caught.value


def theirs(folder: Path, images: Tensor) -> Tensor:
    with quietly(), torch.no_grad():
        model = transformers.AutoModelForImageClassification.from_pretrained(folder, local_files_only=True).eval()
        logits: Tensor = model(images).logits
    return logits


@pytest.mark.parametrize("name", CONFIGS)
def test_it_computes_what_transformers_computes_and_its_artifact_loads(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    network = build(folders[name])
    assert network.input_shape == (3, 32, 32) and network.classes == tuple(NAMES.values())
    images = torch.rand(2, 3, 32, 32)
    expected = theirs(folders[name], images.flip(1) if name == "mobilevit" else images)
    with torch.no_grad():
        torch.testing.assert_close(network.module.eval()(images), expected, rtol=1e-4, atol=1e-5)
    assert network.source["settings"] == {"where": name, "classes": 3}
    assert network.source["built"]["library"] == "transformers" and network.source["built"]["answer"]
    artifact.save(network, tmp_path / "saved")
    again = artifact.load(tmp_path / "saved")
    with torch.no_grad():
        torch.testing.assert_close(again.module.eval()(images), network.module(images))


@pytest.mark.parametrize("name", PROCESSORS)
def test_the_data_does_what_the_image_processor_does(name: str, folders: dict[str, Path]) -> None:
    from PIL import Image

    from recipelang.images.resize import fit_image

    draws = torch.Generator().manual_seed(0)
    small = torch.rand(1, 3, 6, 9, generator=draws)
    pixels = torch.nn.functional.interpolate(small, (60, 90), mode="bicubic").clamp(0, 1)[0]
    image = Image.fromarray((pixels * 255).round().byte().permute(1, 2, 0).numpy())
    p = build(folders[name]).preprocessing
    assert p is not None and p.size == (32, 32)
    ours = torch.from_numpy(fit_image(image, p).copy()).permute(2, 0, 1) / 255
    ours = (ours - torch.tensor(p.mean)[:, None, None]) / torch.tensor(p.std)[:, None, None]
    with quietly():
        processor = transformers.AutoImageProcessor.from_pretrained(folders[name], local_files_only=True)
        expected = processor(image, return_tensors="pt")["pixel_values"][0]
    expected = expected.flip(0) if name == "mobilevit" else expected
    assert float((ours - expected).abs().mean()) < 0.02  # rounding to whole values of 8 bits, and to whole pixels


def test_a_new_head_for_other_classes_and_data(resnet: Path) -> None:
    request = ModelRequest(classes=("a", "b", "c", "d"), input_shape=(3, 64, 64))
    refused("RCP0708", resnet, "classes=4", request=request)
    network = build(resnet, request, classes=4)
    assert network.classes == ("a", "b", "c", "d")
    assert any("needs training" in note for note in network.habits.notes)
    assert network.preprocessing is not None and network.preprocessing.size == (64, 64)
    assert network.preprocessing.resize == round(36 * 2)
    known = build(resnet, ModelRequest(classes=("Dog", "cat"), input_shape=(3, 32, 32)))
    assert known.classes == tuple(NAMES.values())  # the data's classes are found by name
    refused("RCP0708", resnet, "`horse`", request=ModelRequest(("cat", "dog", "horse"), (3, 32, 32)))


def test_half_precision_shards_and_pickles_are_read(resnet: Path) -> None:
    images = torch.rand(2, 3, 32, 32)
    with quietly():
        model = transformers.AutoModelForImageClassification.from_pretrained(resnet, local_files_only=True)
    (resnet / "model.safetensors").unlink()
    torch.save(model.state_dict(), resnet / "pytorch_model.bin")
    with torch.no_grad():
        torch.testing.assert_close(build(resnet).module.eval()(images), model.eval()(images).logits)
    (resnet / "pytorch_model.bin").unlink()
    with quietly():
        model.half().save_pretrained(resnet, max_shard_size="2KB")
    assert (resnet / "model.safetensors.index.json").is_file()
    found = build(resnet).module
    assert next(found.parameters()).dtype == torch.float32
    with torch.no_grad():
        torch.testing.assert_close(found.eval()(images), model.float()(images).logits)
    method = find("model", "huggingface")(where=str(resnet))
    assert {file.name for file in method.files(Path)} >= {"config.json", "preprocessor_config.json"}
    shard = next(resnet.glob("model-00002*"))
    shard.unlink()
    refused("RCP0762", resnet, shard.name, "missing")


def test_a_folder_without_a_head(tmp_path: Path) -> None:
    with quietly():
        transformers.AutoModel.from_config(CONFIGS["resnet"]()).save_pretrained(tmp_path)
    refused("RCP0707", tmp_path, "no trained head", "classes=10")
    network = build(tmp_path, classes=5)
    assert len(network.classes) == 5 and "needs training" in " ".join(network.habits.notes)


def test_an_id_is_found_in_the_cache_of_the_hub(resnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    cache = tmp_path / "cache"
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    commit = "c" * 40
    place = cache / "models--someone--small" / "snapshots" / commit
    place.parent.mkdir(parents=True)
    shutil.copytree(resnet, place)
    (place.parent.parent / "refs").mkdir()
    (place.parent.parent / "refs" / "main").write_text(commit)
    expected = huggingface_hub.snapshot_download("someone/small", local_files_only=True, cache_dir=cache)
    assert hub.snapshot("someone/small") == Path(expected)
    network = build("someone/small")
    assert network.source["settings"]["where"] == "someone/small"
    assert hub.snapshot("someone/small", commit) == place
    refused("RCP0760", "someone/small", "revision `v2`", "hf download someone/small --revision v2", revision="v2")
    refused("RCP0760", "someone/other", "`hf download someone/other`", str(cache), "downloads nothing")
    (place / "model.safetensors").unlink()
    refused("RCP0762", "someone/small", "hf download someone/small")
    assert hub.snapshot("../../etc") is None


@pytest.mark.parametrize(
    ("environment", "ending"),
    [
        ({"HF_HUB_CACHE": "/a/hub"}, "/a/hub"),
        ({"HF_HOME": "/b"}, "/b/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
        ({}, ".cache/huggingface/hub"),
    ],
)
def test_the_cache_is_where_the_library_has_it(
    environment: dict[str, str], ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert str(hub.cache_folder()).endswith(ending)


def changed(folder: Path, **entries: Any) -> Path:
    told = json.loads((folder / "config.json").read_text()) | entries
    (folder / "config.json").write_text(json.dumps({k: v for k, v in told.items() if v is not None}))
    return folder


@pytest.mark.parametrize(
    ("code", "entries", "words"),
    [
        ("RCP0761", {"auto_map": {"AutoConfig": "evil.py--Config"}}, ("evil.py--Config", "python(")),
        ("RCP0762", {"model_type": "resnett"}, ("`resnett`", "did you mean `resnet`")),
        ("RCP0762", {"model_type": None}, ("no `model_type`",)),
        ("RCP0762", {"model_type": None, "architecture": "resnet18"}, ("timm.resnet18(weights=",)),
        ("RCP0762", {"model_type": "bert", "hidden_act": "gelu"}, ("not an image classifier",)),
        ("RCP0762", {"quantization_config": {"quant_method": "bitsandbytes"}}, ("quantized",)),
        ("RCP0762", {"hidden_sizes": "eight"}, ("",)),
        ("RCP0762", {"layer_type": "strange"}, ("strange",)),
        ("RCP0762", {"embedding_size": 10**9}, ("as its `config.json` says", "of memory")),
        ("RCP0762", {"depths": [1, 10**9]}, ("`depths`: 1,000,000,000",)),
        ("RCP0707", {"embedding_size": 16}, ("do not fit", "of another shape", "is 8 and should be 16")),
        ("RCP0707", {"depths": [1, 3]}, ("missing", "encoder.stages.1.layers.2")),
    ],
)
def test_folders_that_cannot_be_used(code: str, entries: dict[str, Any], words: tuple[str, ...], resnet: Path) -> None:
    refused(code, changed(resnet, **entries), *words)


def test_weights_larger_than_the_memory_are_not_read(resnet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from recipelang.surgery import room

    monkeypatch.setattr(room, "memory_of_machine", lambda: (resnet / "model.safetensors").stat().st_size - 1)
    refused("RCP0762", resnet, "its weights are", "of memory")


def test_old_weights_without_batch_counters_fit(resnet: Path) -> None:
    weights = load_file(resnet / "model.safetensors")
    counted = build(resnet).module.state_dict()
    old = {name: one for name, one in weights.items() if not name.endswith("num_batches_tracked")}
    assert len(old) < len(weights)
    save_file(old, resnet / "model.safetensors", {"format": "pt"})
    found = build(resnet)
    assert all(torch.equal(one, counted[name]) for name, one in found.module.state_dict().items())


def test_an_empty_name_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused("RCP0760", " ", "empty")


def test_torch_does_not_warn_of_what_transformers_imports() -> None:
    log = logging.getLogger("torch.utils._pytree")
    log.setLevel(logging.NOTSET)
    require_transformers()
    assert not log.isEnabledFor(logging.WARNING)


def test_files_that_cannot_be_used(resnet: Path, tmp_path: Path) -> None:
    refused("RCP0760", tmp_path / "nothing here", "no folder")
    refused("RCP0762", resnet / "config.json", "a file, not a folder")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused("RCP0762", empty, "no `config.json`")
    weights = resnet / "model.safetensors"
    weights.write_text("version https://git-lfs.github.com/spec/v1\n")
    refused("RCP0706", resnet, "Git LFS")
    weights.unlink()
    torch.save({"net": Path}, resnet / "pytorch_model.bin")
    refused("RCP0706", resnet, "not plain tensors")
    (resnet / "pytorch_model.bin").unlink()
    (resnet / "tf_model.h5").write_bytes(b"")
    refused("RCP0762", resnet, "TensorFlow")
    (resnet / "tf_model.h5").unlink()
    refused("RCP0762", resnet, "no weights")
    (resnet / "config.json").write_text("{")
    refused("RCP0762", resnet, "not JSON")


def test_an_image_processor_that_cannot_be_used(resnet: Path) -> None:
    file = resnet / "preprocessor_config.json"
    told = json.loads(file.read_text())
    file.write_text(json.dumps(told | {"auto_map": {"AutoImageProcessor": "evil.py--P"}}))
    refused("RCP0761", resnet, "image processor")
    file.write_text(json.dumps(told | {"image_mean": [0.5, 0.4]}))
    refused("RCP0762", resnet, "2 channels")
    file.write_text("[]")
    refused("RCP0762", resnet, "not a JSON object")
    file.unlink()
    network = build(resnet)
    assert network.preprocessing is None and "its own size" in " ".join(network.habits.notes)


def test_another_version_that_builds_another_network_is_named(
    resnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = build(resnet)
    artifact.save(network, tmp_path / "saved")
    file = tmp_path / "saved" / "model.json"
    told = json.loads(file.read_text())
    told["source"]["built"]["version"] = "4.0"
    file.write_text(json.dumps(told))
    artifact.load(tmp_path / "saved")  # another version that builds the same
    for wrong, word in (({"hidden_act": "gelu"}, "computes something else"), ({"depths": [1, 1]}, "stages.1.layers.1")):
        other = json.loads(json.dumps(told))
        other["source"]["built"]["config"] |= wrong
        if "depths" in wrong:
            del other["source"]["built"]["answer"]
        file.write_text(json.dumps(other))
        with pytest.raises(Refusal) as caught:
            artifact.load(tmp_path / "saved")
        assert caught.value.code == "RCP0763" and word in caught.value.message, caught.value.message
        assert "transformers==4.0" in (caught.value.help or "")
    del told["source"]["built"]["config"]
    told["source"]["built"]["version"] = libraries.version_of("transformers")
    file.write_text(json.dumps(told))
    with pytest.raises(Refusal) as caught:
        artifact.load(tmp_path / "saved")
    assert caught.value.code == "RCP0714"
