"""ONNX programs: what they compute, for which networks, and that nothing of this machine is in them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models

from recipelang.catalogue import find
from recipelang.errors import Refusal
from recipelang.kernels.nm.reference import nm_mask
from recipelang.kinds import Preprocessing
from recipelang.methods.patterns.nm import NM
from recipelang.runtimes import onnx_compared
from recipelang.runtimes import onnx_program as programs
from recipelang.runtimes.onnx_compared import require_same
from recipelang.runtimes.onnx_program import as_bytes, onnx_program
from recipelang.runtimes.onnx_session import Session
from recipelang.surgery.entry import enter
from recipelang.surgery.masks import sparsify
from recipelang.surgery.network import Network
from recipelang.surgery.tracing import evaluating, example_input

onnx = pytest.importorskip("onnx", reason='needs pip install "recipelang[onnxruntime]"')
onnxruntime = pytest.importorskip("onnxruntime", reason='needs pip install "recipelang[onnxruntime]"')
pytest.importorskip("onnxscript", reason='needs pip install "recipelang[onnxruntime]"')
ROOT = Path(__file__).parents[2]


def write(network: Network, folder: Path, **settings: Any) -> Path:
    (path,) = find("export", "onnx")(**settings).write(network, folder)  # type: ignore[misc]
    return path


def answer(network: Network, images: Tensor) -> Tensor:
    with evaluating(network.module):
        found: Tensor = network.module(images)
    return found


def executed(path: Path, images: Tensor) -> Tensor:
    """Onnxruntime's answer, without our own code."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(["output"], {"input": images.numpy()})
    return torch.from_numpy(found)


def random(module: nn.Module) -> nn.Module:
    """Heads that start at zero would answer zero to anything, and fresh statistics fold to nothing."""
    generator = torch.Generator().manual_seed(1)
    for name, value in module.state_dict().items():
        if "running_var" in name:
            value.uniform_(0.5, 1.5, generator=generator)
        elif "running_mean" in name or value.is_floating_point() and float(value.abs().max()) == 0:
            value.normal_(0, 0.2, generator=generator)
    return module.eval()


class Small(nn.Module):
    """A convolution with BatchNorm around which a residual goes, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.linear = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = x + functional.relu(self.norm(self.conv(x)))
        return self.linear(functional.adaptive_avg_pool2d(x, 2).flatten(1))


def small() -> Network:
    torch.manual_seed(0)
    settings = Preprocessing((8, 8), (0.3,) * 3, (0.4,) * 3)
    return Network(random(Small()), {}, (3, 8, 8), classes=tuple("abcde"), preprocessing=settings)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of the small network."""
    return write(small(), tmp_path_factory.mktemp("deep") / "er")


def test_the_program_runs_without_us_for_any_batch(path: Path) -> None:
    network = small()
    for batch in (1, 2, 7):
        images = example_input(network, batch)
        torch.testing.assert_close(executed(path, images), answer(network, images), rtol=1e-3, atol=1e-3)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert not [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    ends = (model.graph.input[0], model.graph.output[0])
    assert [end.type.tensor_type.shape.dim[0].dim_param for end in ends] == ["batch", "batch"]


def test_class_names_and_preprocessing_are_its_only_metadata(path: Path) -> None:
    model = onnx.load(path)
    (entry,) = model.metadata_props
    told = json.loads(entry.value)
    assert entry.key == "recipelang.json"
    assert told["classes"] == list("abcde") and told["preprocessing"]["mean"] == [0.3] * 3
    assert told["input_shape"] == [3, 8, 8]


def test_nothing_of_this_machine_is_inside(path: Path) -> None:
    data = path.read_bytes()
    for place in (ROOT, Path(sys.prefix), Path(torch.__file__).parent, Path.home(), path.parent):
        assert str(place).encode() not in data, place
    model = onnx.load_from_string(data)
    parts = [model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer]
    assert not any(part.doc_string for part in parts) and not any(len(part.metadata_props) for part in parts)
    assert not re.search(rb"\.py\b|File \"|site-packages", data)


def test_equal_networks_give_equal_bytes_in_other_processes_too(path: Path) -> None:
    again = path.with_name("again")
    code = f"import test_onnx; test_onnx.write(test_onnx.small(), __import__('pathlib').Path({str(again)!r}))"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=True)
    assert (again / path.name).read_bytes() == path.read_bytes() == as_bytes(onnx_program(small()))


@pytest.mark.parametrize(
    ("build", "side"),
    [
        (lambda: models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=5), 32),
        (lambda: models.MobileNetV2(5, 0.25, [[1, 16, 1, 1], [6, 24, 2, 2]]), 32),
        (lambda: models.VisionTransformer(16, 8, 1, 2, 16, 16, num_classes=5), 16),
    ],
    ids=["resnet", "mobilenet", "vit"],
)
def test_networks_of_torchvision(build: Any, side: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Network(random(build()), {}, (3, side, side))
    path = write(network, tmp_path)
    images = example_input(network, 3)
    expected = answer(network, images)
    assert float(expected.std(0).max()) > 0
    torch.testing.assert_close(executed(path, images), expected, rtol=1e-2, atol=1e-3 * float(expected.abs().max()))


class Habits(nn.Module):
    """Changes its input, joins axes with `view`, and returns its scores beside features."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4 * 36, 3)

    def forward(self, x: Tensor) -> Any:
        x -= 0.5
        features = self.conv(x)
        return {"logits": self.head(features.view(features.shape[0], -1)), "features": features}


def test_a_network_with_habits(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Habits().eval()
    _, habits = enter(module, torch.randn(2, 1, 8, 8))
    assert habits.changes_input and habits.answer
    network = Network(module, {}, (1, 8, 8), habits=habits)
    images = example_input(network, 3)
    torch.testing.assert_close(
        executed(write(network, tmp_path), images), answer(network, images), rtol=1e-3, atol=1e-3
    )


def test_masks_are_zeros_of_the_program_and_the_opset_is_what_was_asked_for(tmp_path: Path) -> None:
    network = small()
    weight = network.module.linear.weight.detach()
    masked = sparsify(network, NM(), {"linear.weight": weight.abs()})
    model = onnx.load(write(masked, tmp_path, opset=18))
    arrays = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    kept = arrays["linear.weight"] != 0
    assert numpy.array_equal(kept, nm_mask(weight.abs(), 2, 4).numpy())
    assert [one.version for one in model.opset_import if one.domain == ""] == [18]


class Counts(nn.Module):
    """Fixes the number of images in its graph."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.token = nn.Linear(4, 2), nn.Parameter(torch.ones(1, 4))

    def forward(self, x: Tensor) -> Any:
        return self.linear(x.flatten(1) + self.token.expand(len(x), -1))


class Depends(nn.Module):
    """Takes one of two ways."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Any:
        x = x.flatten(1)
        return self.linear(x) if float(x.sum()) > 0 else self.linear(-x)


class Unknown(nn.Module):
    """Has a function that ONNX lacks."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Any:
        return self.linear(torch.special.bessel_j0(x.flatten(1)))


@pytest.mark.parametrize(
    ("module", "why", "help"),
    [
        (Counts(), "fixes how many images", "`x.shape[0]` for `len(x)`"),
        (Depends(), "depends on the values of the input", "`torch.where`"),
        (Unknown(), "no operator for `bessel_j0`", "safetensors"),
    ],
)
def test_a_network_that_cannot_be_a_program_leaves_nothing_behind(
    module: nn.Module, why: str, help: str, tmp_path: Path
) -> None:
    with pytest.raises(Refusal, match=why) as caught:
        write(Network(module, {}, (1, 2, 2)), tmp_path)
    assert caught.value.code == "RCP0716" and help in caught.value.help
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["onnx", "pt2"])
def test_a_plan_knows_that_code_depends_on_values(name: str) -> None:
    export: Any = find("export", name)
    with pytest.raises(Refusal, match="which path|cannot trace") as caught:
        export().require_network(Network(Depends(), {}, (1, 2, 2)))
    assert caught.value.code == "RCP0716"
    with pytest.MonkeyPatch.context() as patch:  # other networks are not traced
        patch.setattr("torch.export.export", None)
        export().require_network(Network(Unknown(), {}, (1, 2, 2)))
        export().require_network(small())


def test_a_program_with_other_answers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Session.__call__
    monkeypatch.setattr(Session, "__call__", lambda self, inputs: real(self, inputs) * 1.01)
    with pytest.raises(Refusal, match=r"answers are 1.0e-02 from the network's") as caught:
        write(small(), tmp_path)
    assert caught.value.code == "RCP1028" and list(tmp_path.iterdir()) == []


def test_what_the_runtime_does_not_take_is_refused_with_its_words() -> None:
    with pytest.raises(Refusal, match="onnxruntime cannot execute the network") as caught:
        Session(b"not a program")
    assert caught.value.code == "RCP1029"


def test_answers_that_are_no_numbers_are_never_the_same() -> None:
    images = torch.ones(1, 2)
    with pytest.raises(Refusal):
        require_same("onnxruntime", lambda x: x * torch.nan, images.flatten(), [images], 1.0)


def test_enough_images_are_compared_in_whole_calls() -> None:
    assert onnx_compared._sizes((1, 3, 8)) == [1, 3, 8]
    assert onnx_compared._sizes((5,)) == [5, 5]
    assert onnx_compared._sizes((1, 3)) == [1, 3, 1, 3]


def test_the_program_of_a_network_is_written_again_only_where_the_network_has_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[Network] = []
    monkeypatch.setattr(programs, "onnx_program", lambda network, opset: written.append(network) or network)
    monkeypatch.setattr(programs, "as_bytes", lambda network: str(len(written)).encode())
    network = small()
    assert [programs.program_of(network) for _ in range(2)] == [b"1", b"1"]
    assert programs.program_of(network, 19) == b"2"
    with torch.no_grad():
        next(network.module.parameters()).add_(1)
    assert programs.program_of(network, 19) == b"3"
    assert programs.program_of(replace(network, classes=tuple("ab")), 19) == b"4"
    assert programs.program_of(network.clone(), 19) == b"5"
