"""The model methods: heads, classes, weights, sources; each can be built again from its source."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from recipelang.catalogue import find
from recipelang.errors import Refusal
from recipelang.kinds import ModelRequest
from recipelang.nets.cifar_resnet import cifar_resnet
from recipelang.surgery import artifact
from recipelang.surgery.checkpoints import read_weights
from recipelang.surgery.entry import evaluated
from recipelang.surgery.network import Network
from recipelang.surgery.source import rebuild
from recipelang.surgery.weights import load_weights

OWN = ("digits_resnet", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110")
DATA = Path(os.environ.get("RECIPELANG_DATA", Path(__file__).parents[3] / "shared" / "data"))


def build(name: str, request: ModelRequest | None = None, **settings: object) -> Network:
    return find("model", name)(**settings).build(request or ModelRequest())


def weights_of(network: Network) -> dict[str, Tensor]:
    return network.module.state_dict()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    path = tmp_path / "private" / "r20.safetensors"
    path.parent.mkdir()
    save_file(cifar_resnet(20).state_dict(), path)
    return path


@pytest.mark.parametrize("name", OWN)
def test_a_model_is_rebuilt_from_its_source(name: str) -> None:
    network = build(name)
    again = rebuild(network.source, trust=False, folder=Path())
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in weights_of(network).items()}
    assert network.classes == tuple(str(k) for k in range(10))
    assert len(network.source["classes"]) == 10


def test_the_data_decides_channels_and_classes() -> None:
    network = build("resnet20", ModelRequest(classes=("cat", "dog"), input_shape=(1, 16, 16)))
    assert network.module(torch.randn(2, 1, 16, 16)).shape == (2, 2)
    assert (network.classes, network.input_shape) == (("cat", "dog"), (1, 16, 16))
    assert network.source == {
        "model": "resnet20",
        "settings": {"classes": 2},
        "classes": ["cat", "dog"],
        "input_shape": [1, 16, 16],
    }


def test_weights_are_loaded_and_their_path_stays_private(file: Path) -> None:
    method = find("model", "resnet20")(weights=str(file))
    assert method.pretrained and method.files(Path) == (file,)
    network = method.build(ModelRequest(classes=tuple("abcdefghij"), input_shape=(3, 32, 32)))
    saved = read_weights(file).tensors
    assert all(torch.equal(weights_of(network)[k], saved[k]) for k in saved)
    assert "private" not in str(network.source)
    assert not find("model", "resnet20")().pretrained and find("model", "resnet20")().files(Path) == ()


def test_without_weights_the_architecture_alone_is_built(file: Path) -> None:
    missing = find("model", "resnet20")(weights="nowhere.safetensors")
    assert missing.build(ModelRequest(weights=False)).classes == tuple(map(str, range(10)))


def test_weights_of_another_number_of_classes(file: Path) -> None:
    five = ModelRequest(classes=tuple("abcde"), input_shape=(3, 32, 32))
    with pytest.raises(Refusal) as caught:
        build("resnet20", five, weights=str(file))
    assert caught.value.code == "RCP0708"
    assert "10 classes" in caught.value.message and "5" in caught.value.message and "classes=5" in caught.value.help
    replaced = build("resnet20", five, weights=str(file), classes=5)
    saved = read_weights(file).tensors
    assert replaced.module.linear.weight.shape == (5, 64)
    assert all(torch.equal(weights_of(replaced)[k], v) for k, v in saved.items() if not k.startswith("linear"))
    assert not find("model", "resnet20")(weights=str(file), classes=5).pretrained
    with pytest.raises(Refusal) as caught:
        build("resnet20", five, classes=7)
    assert caught.value.code == "RCP0708"


def test_weights_tell_their_own_number_of_classes(tmp_path: Path) -> None:
    save_file(cifar_resnet(20, classes=4).state_dict(), tmp_path / "w.safetensors")
    assert len(build("resnet20", weights=str(tmp_path / "w.safetensors")).classes) == 4


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_a_plain_state_dict_of_torch_is_read(tmp_path: Path, wrapper: str | None) -> None:
    state = {f"module.{k}": v for k, v in cifar_resnet(20).state_dict().items()}
    torch.save({wrapper: state, "epoch": 7} if wrapper else state, tmp_path / "w.pth")
    network = build("resnet20", weights=str(tmp_path / "w.pth"))
    assert torch.equal(network.module.conv1.weight, state["module.conv1.weight"])


class Bomb:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> object:
        return (Path.write_text, (Path("boom.txt"), "boom"))


def test_a_file_that_wants_code_to_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"conv1.weight": Bomb()}, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(pickle.dumps(Bomb()))
    (tmp_path / "c.safetensors").write_bytes(pickle.dumps(Bomb()))
    torch.save(nn.Linear(2, 2), tmp_path / "d.pth")
    for name in "abcd":
        (path,) = tmp_path.glob(f"{name}.*")
        with pytest.raises(Refusal) as caught:
            build("resnet20", weights=str(path))
        assert caught.value.code == "RCP0706" and path.name in caught.value.message
    assert not (tmp_path / "boom.txt").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.safetensors", b""),
        ("empty.pth", b""),
        ("noise.safetensors", bytes(range(256)) * 4),
        ("noise.pth", bytes(range(256)) * 4),
        ("huge.safetensors", b"\xff" * 8 + b"{}"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Refusal) as caught:
        read_weights(tmp_path / name)
    assert caught.value.code == "RCP0706"


def test_a_missing_file_and_a_file_without_tensors(tmp_path: Path) -> None:
    torch.save({"a": 1}, tmp_path / "a.pth")
    torch.save({}, tmp_path / "b.pth")
    for path in (tmp_path / "nowhere.pth", tmp_path, tmp_path / "a.pth", tmp_path / "b.pth"):
        with pytest.raises(Refusal) as caught:
            read_weights(path)
        assert caught.value.code == "RCP0706"


def test_weights_fit_whole_or_not_at_all() -> None:
    module = cifar_resnet(20)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    given = {k: v + 1 for k, v in before.items()}
    given["conv1.weight"] = torch.zeros(16, 1, 3, 3)
    for k in range(5):
        given[f"extra.{k}"] = torch.zeros(2)
    del given["linear.bias"]
    with pytest.raises(Refusal) as caught:
        load_weights(module, given, "the weights of `x`")
    message = caught.value.message
    assert caught.value.code == "RCP0707" and message.startswith("the weights of `x`")
    assert "missing: `linear.bias` 10" in message
    assert "not in the network: `extra.0` 2, `extra.1` 2, `extra.2` 2 and 2 more" in message
    assert "`conv1.weight` is 16×1×3×3 and should be 16×3×3×3" in message
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


def test_old_weights_without_batch_counters_fit() -> None:
    module, other = cifar_resnet(20), cifar_resnet(20)
    load_weights(module, {k: v for k, v in other.state_dict().items() if "num_batches" not in k}, "old weights")
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in module.state_dict().items())


def test_images_that_the_network_does_not_take() -> None:
    with pytest.raises(Refusal) as caught:
        build("torchvision", ModelRequest(input_shape=(1, 32, 32)), architecture="resnet18")
    assert caught.value.code == "RCP0713" and "1×32×32" in caught.value.message


def test_what_the_users_code_raises_is_told_with_its_line() -> None:
    class Mine(torch.nn.Linear):
        def forward(self, images: Tensor) -> Tensor:
            if images.shape[1] == 3:
                raise ValueError("grey images only")
            return super().forward(images)

    first = Mine.forward.__code__.co_firstlineno
    with pytest.raises(Refusal) as caught:
        evaluated(Mine(8, 4), torch.rand(2, 3, 8, 8))
    assert f"ValueError at line {first + 2} of `test_own_models.py`: grey images only" in caught.value.message
    assert (caught.value.help or "").startswith("mend the code there, or give the images")
    with pytest.raises(Refusal) as caught:
        evaluated(Mine(8, 4), torch.rand(2, 1, 8, 9))
    assert f"at line {first + 3} of `test_own_models.py`" in caught.value.message
    assert (caught.value.help or "").startswith("give the images")


# artifacts ------------------------------------------------------------------------------------


def test_an_artifact_is_a_model(tmp_path: Path) -> None:
    network = build("digits_resnet")
    artifact.save(network, tmp_path / "net")
    method = find("model", "artifact")(folder="net")
    request = ModelRequest(classes=network.classes, input_shape=(1, 8, 8), resolve=lambda text: tmp_path / text)
    assert method.pretrained
    assert [path.name for path in method.files(request.resolve)] == list(artifact.FILES)
    back = method.build(request)
    assert all(torch.equal(weights_of(back)[k], v) for k, v in weights_of(network).items())
    assert back.source == network.source


def test_an_artifact_keeps_its_classes_and_takes_the_size_of_the_data(tmp_path: Path) -> None:
    network = build("digits_resnet", ModelRequest(classes=("a", "b", "c"), input_shape=(1, 8, 8)))
    artifact.save(network, tmp_path)
    method = find("model", "artifact")(folder=str(tmp_path))
    assert method.build(ModelRequest(input_shape=(1, 16, 16))).input_shape == (1, 16, 16)
    assert method.build(ModelRequest(classes=("b", "a", "c"))).classes == ("a", "b", "c")  # labels are told by name
    with pytest.raises(Refusal) as caught:
        method.build(ModelRequest(input_shape=(3, 8, 8)))
    assert caught.value.code == "RCP0713"
    with pytest.raises(Refusal, match="no `model.json`"):
        find("model", "artifact")(folder="nowhere").build(ModelRequest())


def test_the_published_network_is_read() -> None:
    file = DATA / "resnet20-cifar10.safetensors"
    if not file.is_file():
        pytest.skip(f"no {file.name}: set RECIPELANG_DATA to the folder that holds it")
    network = build("resnet20", weights=str(file))
    assert len(network.classes) == 10
