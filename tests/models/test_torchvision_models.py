"""`torchvision.NAME`: architectures by name, published weights without a network connection, heads of any kind."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision import models

from recipelang.catalogue import find
from recipelang.errors import Refusal, SettingError
from recipelang.images.imagenet import FOLDERS
from recipelang.kinds import ModelRequest
from recipelang.surgery.answers import trained
from recipelang.surgery.head import embedding_length, find_head
from recipelang.surgery.network import Network
from recipelang.surgery.published import construct, file_of, published
from recipelang.surgery.source import rebuild
from recipelang.surgery.tracing import example

SMALL = ModelRequest(classes=("a", "b", "c"), input_shape=(3, 64, 64))


def build(request: ModelRequest = SMALL, **settings: Any) -> Network:
    return find("model", "torchvision")(**settings).build(request)


HEADS = {
    "resnet18": ("fc", 512),
    "vgg11_bn": ("classifier.6", 4096),
    "mobilenet_v2": ("classifier.1", 1280),
    "squeezenet1_1": ("classifier.1", 512),
    "swin_t": ("head", 768),
    "densenet121": ("classifier", 1024),
}


@pytest.mark.parametrize("name", HEADS)
def test_the_head_is_what_gives_the_outputs(name: str) -> None:
    network = build(architecture=name)
    path, length = HEADS[name]
    probe = example(network.module, (3, 64, 64))
    assert find_head(network.module, probe)[0] == path
    assert embedding_length(network.module, probe) == length
    assert network.module.eval()(probe).shape == (2, 3)
    assert network.source["settings"] == {"architecture": name, "classes": 3}


def test_a_vision_transformer_takes_the_size_of_the_data_and_is_rebuilt_so() -> None:
    network = build(ModelRequest(classes=("a", "b"), input_shape=(3, 32, 32)), architecture="vit_b_32")
    assert network.module.image_size == 32
    again = rebuild(network.source, trust=False, folder=Path())
    assert again.encoder.pos_embedding.shape == network.module.encoder.pos_embedding.shape
    with pytest.raises(Refusal) as caught:
        build(ModelRequest(input_shape=(3, 33, 33)), architecture="vit_b_32")
    assert caught.value.code == "RCP0713"


@pytest.mark.parametrize(
    ("name", "word"),
    [("resnet19", "did you mean `torchvision.resnet1"), ("fasterrcnn_resnet50_fpn", ""), ("os.system", ""), ("", "")],
)
def test_a_name_that_torchvision_does_not_know(name: str, word: str) -> None:
    with pytest.raises(SettingError) as early:  # in a recipe, before torch is loaded
        build(architecture=name)
    assert early.value.field == "architecture" and f"`{name}`" in early.value.message
    assert word.replace("torchvision.", "") in early.value.help
    with pytest.raises(Refusal) as late:  # in the files of a saved network
        construct(name, None, 224)
    assert late.value.code == "RCP0709" and word in late.value.help and f"`{name}`" in late.value.message


@pytest.mark.parametrize(("name", "size", "auxiliary"), [("googlenet", 64, 2), ("inception_v3", 299, 1)])
def test_networks_with_auxiliary_classifiers(
    name: str, size: int, auxiliary: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As torchvision builds them, with its own normalisation inside; all classifiers are replaced and trained."""
    torch.manual_seed(0)
    theirs = models.get_model(name, weights=None, transform_input=True, init_weights=False).eval()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    entry = published(name, "DEFAULT")
    torch.save(theirs.state_dict(), tmp_path / "checkpoints" / Path(entry.url).name)
    network = find("model", "torchvision")(architecture=name, weights="DEFAULT").build(
        ModelRequest(input_shape=(3, size, size))
    )
    image = torch.rand(2, 3, size, size)
    p, transforms = network.preprocessing, entry.transforms()
    assert p is not None

    def normalised(mean: Any, std: Any) -> Tensor:
        return (image - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]

    with torch.no_grad():
        expected = theirs(normalised(transforms.mean, transforms.std))
        found = network.module.eval()(normalised(p.mean, p.std))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))

    tuned = build(ModelRequest(("a", "b"), (3, size, size)), architecture=name, weights="DEFAULT", classes=2)
    answers = tuned.module.train()(torch.rand(2, 3, size, size))
    assert [tuple(score.shape) for score in answers] == [(2, 2)] * (1 + auxiliary)
    found_trained = trained(
        copy.deepcopy(tuned.module), torch.rand(2, 3, size, size), lambda tensor: tensor.shape[1:] == (2,)
    )
    assert found_trained is not None and len(found_trained.answers) == 1
    assert len(found_trained.auxiliary) == auxiliary
    again = rebuild(tuned.source, trust=False, folder=Path())
    assert again.load_state_dict(tuned.module.state_dict())


def test_weights_that_are_not_published() -> None:
    with pytest.raises(Refusal) as caught:
        build(architecture="resnet18", weights="IMAGENET2K")
    assert caught.value.code == "RCP0710" and "`IMAGENET1K_V1`" in caught.value.help
    assert published("resnet18", "ResNet18_Weights.IMAGENET1K_V1") is published("resnet18", "DEFAULT")
    assert published("resnet18", "weights/mine.safetensors") is None


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of downloads that already holds the weights of resnet18, random ones."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    torch.manual_seed(5)
    path = tmp_path / "checkpoints" / Path(published("resnet18", "DEFAULT").url).name
    torch.save(models.resnet18().state_dict(), path)
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_connection)
    return path


def no_connection(*args: Any, **options: Any) -> None:
    raise OSError("no route to host")


def test_published_weights(hub: Path) -> None:
    method = find("model", "torchvision")(architecture="resnet18", weights="DEFAULT")
    assert method.files(Path) == (hub,) and method.pretrained
    network = method.build(ModelRequest())
    assert torch.equal(network.module.conv1.weight, torch.load(hub, weights_only=True)["conv1.weight"])
    assert (len(network.classes), network.classes[0], len(set(network.classes))) == (1000, "tench", 1000)
    assert network.input_shape == (3, 224, 224)
    p = network.preprocessing
    assert p is not None and (p.size, p.resize, p.mean[0]) == ((224, 224), 256, 0.485)
    smaller = method.build(ModelRequest(input_shape=(3, 112, 112))).preprocessing
    assert smaller is not None and (smaller.size, smaller.resize) == ((112, 112), 128)


def test_published_weights_and_the_classes_of_the_data(hub: Path) -> None:
    with pytest.raises(Refusal) as caught:
        build(architecture="resnet18", weights="DEFAULT")
    assert caught.value.code == "RCP0708" and "1000" in caught.value.message and "classes=3" in caught.value.help
    network = build(architecture="resnet18", weights="DEFAULT", classes=3)
    assert network.classes == ("a", "b", "c")
    assert rebuild(network.source, trust=False, folder=Path()).fc.out_features == 3
    assert torch.equal(network.module.conv1.weight, torch.load(hub, weights_only=True)["conv1.weight"])


def test_the_names_of_published_weights_stay_where_the_data_has_some_of_them(hub: Path) -> None:
    method = find("model", "torchvision")(architecture="resnet18", weights="DEFAULT")
    folders = ("great_white_shark", "tench")
    for names in (folders, FOLDERS, ("n03445777", "n01440764"), tuple(sorted(map(str, range(1000))))):
        assert method.build(ModelRequest(classes=names)).classes[:3] == ("tench", "goldfish", "great white shark")
    strange = tuple(f"class {k:03}" for k in range(1000))
    for classes in (None, 1000):  # as many classes, and other ones: outputs would mean what they do not say
        with pytest.raises(Refusal, match="do not know the classes `class 000`, `class 001`") as refused:
            build(ModelRequest(classes=strange), architecture="resnet18", weights="DEFAULT", classes=classes)
        assert refused.value.code == "RCP0708"


def test_without_a_connection_there_is_a_word_about_it(hub: Path) -> None:
    hub.unlink()
    for use in (
        lambda: file_of(published("resnet18", "DEFAULT")),
        lambda: build(architecture="resnet18", weights="DEFAULT"),
    ):
        with pytest.raises(Refusal) as caught:
            use()
        assert caught.value.code == "RCP0710" and "no route to host" in caught.value.message


def test_weights_from_a_file_with_the_head_of_its_own_data(tmp_path: Path) -> None:
    torch.manual_seed(1)
    torch.save(models.mobilenet_v2(num_classes=3).state_dict(), tmp_path / "w.pth")
    network = build(architecture="mobilenet_v2", weights=str(tmp_path / "w.pth"))
    assert network.module.classifier[1].out_features == 3
    assert str(tmp_path) not in str(network.source)
    with pytest.raises(Refusal) as caught:
        build(architecture="resnet18", weights=str(tmp_path / "w.pth"))
    assert caught.value.code == "RCP0707" and "missing:" in caught.value.message


def test_the_names_read_from_the_files_are_those_of_the_registry() -> None:
    assert find("model", "torchvision").dotted_names() == set(models.list_models(module=models))
