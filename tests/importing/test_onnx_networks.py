"""`model onnx("net.onnx")`: parity with onnxruntime and torch, what surgery finds, and whole recipes."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch
from torch import nn

from recipelang.catalogue import find
from recipelang.kinds import ModelRequest
from recipelang.surgery import artifact
from recipelang.surgery.candidates import look_for_layers
from recipelang.surgery.tracing import example_input, hushed
from tests.importing.made import (
    BODIES,
    FC,
    SHAPE,
    answers,
    build,
    onnx,
    program,
    refused,
)

# one operator after another --------------------------------------------------------------------


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("batch", ["N", "2"])
def test_a_program_answers_as_in_onnxruntime(name: str, batch: str, tmp_path: Path) -> None:
    body, weights = BODIES[name]
    needed = {**(FC if "fc.weight" in body else {}), **weights}
    file = program(tmp_path / "net.onnx", body, needed, f"float[{batch},3,8,8] x")
    network = build(file)
    images = numpy.random.default_rng(3).standard_normal((4, *SHAPE)).astype(numpy.float32)
    parts = [images] if batch == "N" else numpy.split(images, 2)
    expected = numpy.concatenate([answers(file, part) for part in parts])
    with torch.no_grad():
        torch.testing.assert_close(network.module(torch.from_numpy(images)), torch.from_numpy(expected))
    artifact.save(network, tmp_path / "saved")
    artifact.require_readable(network, tmp_path / "saved")
    again = artifact.fresh(network, 1).module.eval()
    with torch.no_grad():
        assert again(torch.from_numpy(images)).isfinite().all()


def test_names_and_weights_are_those_of_the_program(tmp_path: Path) -> None:
    body, weights = BODIES["weights that are computed"]
    network = build(program(tmp_path / "net.onnx", body, weights))
    assert {name: tuple(p.shape) for name, p in network.module.named_parameters()} == {
        "c.weight": (4, 3, 3, 3),
        "out.weight": (5, 256),
        "out.bias": (5,),
    }
    assert isinstance(network.module.get_submodule("out"), nn.Linear)


def test_tokens_are_trained_and_masks_are_not(tmp_path: Path) -> None:
    body, weights = BODIES["a token for each image"]
    body = body.replace("y = MatMul(first, w)", "o = MatMul(first, w) y = Add(o, mask)")
    mask = numpy.array([0, -100, 0, 0, 0], numpy.float32)
    network = build(program(tmp_path / "net.onnx", body, {**weights, "mask": mask}))
    trained = {name for name, _ in network.module.named_parameters()}
    assert {"cls_token", "pos_embed", "n.weight"} <= trained
    artifact.save(network, tmp_path / "saved")
    back = artifact.load(tmp_path / "saved").module
    assert {name for name, _ in back.named_parameters()} == trained


@pytest.mark.parametrize("kind", ["float16", "float64"])
def test_other_precisions_become_float32(kind: str, tmp_path: Path) -> None:
    body, weights = BODIES["activations"]
    file = program(tmp_path / "net.onnx", body, {**weights, **FC})
    model = onnx.load(file)
    number = {"float16": onnx.TensorProto.FLOAT16, "float64": onnx.TensorProto.DOUBLE}[kind]
    for one in model.graph.initializer:
        one.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(one).astype(kind), one.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = number
    onnx.save(model, tmp_path / "other.onnx")
    network = build(tmp_path / "other.onnx")
    assert {p.dtype for p in network.module.parameters()} == {torch.float32}
    assert kind in " ".join(network.habits.notes)
    images = numpy.random.default_rng(3).standard_normal((2, *SHAPE)).astype(numpy.float32)
    with torch.no_grad():
        found = network.module(torch.from_numpy(images)).numpy()
    numpy.testing.assert_allclose(found, answers(file, images), rtol=2e-2, atol=2e-2)


# networks --------------------------------------------------------------------------------------


class Residual(nn.Module):
    """A small residual network with every kind of block that matters: one to keep, one that changes its shape."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Sequential(self._conv(8), nn.ReLU(), self._conv(8)) for _ in range(3))
        self.down = nn.Conv2d(8, 16, 1, stride=2)
        self.last = nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16))
        self.fc = nn.Linear(16, 5)

    @staticmethod
    def _conv(width: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).relu()
        for block in self.blocks:
            x = (x + block(x)).relu()
        x = (self.down(x) + self.last(x)).relu()
        return self.fc(x.mean((2, 3)))


def exported(module: nn.Module, file: Path, size: int) -> None:
    dynamic = ({0: torch.export.Dim.DYNAMIC},)
    images = (torch.rand(2, 3, size, size),)
    with hushed():
        torch.onnx.export(
            module,
            images,
            file,
            dynamo=True,
            external_data=False,
            dynamic_shapes=dynamic,
            verbose=False,
            opset_version=20,
        )


def shaken(module: nn.Module) -> nn.Module:
    """The module with weights none of which are equal, as after a training."""
    torch.manual_seed(0)
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.add_(torch.rand_like(tensor) / 20)
    return module.eval()


def test_residual_branches_are_layers_under_their_own_names(tmp_path: Path) -> None:
    theirs = shaken(Residual())
    exported(theirs, tmp_path / "net.onnx", 16)
    network = build(tmp_path / "net.onnx", ModelRequest(tuple("abcde"), (3, 16, 16)))
    images = torch.rand(3, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(network.module(images), theirs(images))
    found = look_for_layers(network.module, example_input(network))
    assert [(layer.name, layer.branch) for layer in found.layers] == [(f"blocks.{k}", True) for k in range(3)]
    # without a branch: what the network computes whose branch gives zeros
    with torch.no_grad():
        theirs.blocks[1] = nn.Sequential(theirs.blocks[1], Zero())  # type: ignore[index, operator]
        network.module.set_submodule("blocks.1", Zero())
        torch.testing.assert_close(network.module(images), theirs(images))


class Zero(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x)


def test_our_own_export_comes_back_with_classes_and_preprocessing(tmp_path: Path) -> None:
    from recipelang.kinds import Preprocessing

    first = find("model", "digits_resnet")().build(ModelRequest(tuple("klmnopqrst"), (1, 8, 8)))
    shaken(first.module)
    how = Preprocessing((8, 8), (0.3,), (0.2,))
    from dataclasses import replace

    first = replace(first, preprocessing=how)
    find("export", "onnx")().write(first, tmp_path)
    network = build(tmp_path / "model.onnx")
    assert (network.classes, network.preprocessing, network.input_shape) == (first.classes, how, (1, 8, 8))
    images = torch.rand(32, 1, 8, 8)
    with torch.no_grad():
        mine, theirs = network.module(images), first.module(images)
    torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)
    assert torch.equal(mine.argmax(1), theirs.argmax(1))
    others = ModelRequest(tuple("abcdefghij"), (1, 8, 8))
    refused("RCP0708", "do not know", file=tmp_path / "model.onnx", request=others)
    five = build(tmp_path / "model.onnx", ModelRequest(tuple("abcde"), (1, 8, 8)), classes=5)
    assert "needs training" in " ".join(five.habits.notes)
    artifact.save(five, tmp_path / "saved")
    assert artifact.load(tmp_path / "saved").module.eval()(images).shape == (32, 5)


def test_an_imported_network_through_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Filters and a layer removed, sparse, trained, in integers, written, and loaded without its file."""
    import recipelang

    monkeypatch.chdir(tmp_path)
    net = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), Residual()).eval()
    net[1].fc = nn.Linear(16, 10)  # type: ignore[union-attr]
    with hushed():
        torch.onnx.export(
            net, (torch.rand(2, 1, 8, 8),), "net.onnx", dynamo=True, external_data=False, verbose=False,
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        )  # fmt: skip
    result = recipelang.run("""
        model onnx("net.onnx")
        data  digits(batch=64)
        train for 1 epoch with adamw(lr=1e-3)
        prune 1 layer by imprint
        prune filters by magnitude until params < 0.6
        sparsify nm 2:4
        finetune for 1 epoch with adamw(lr=1e-3)
        quantize weights, activations to 8 bits by minmax on train(samples=8)
        measure params
        """)
    (tmp_path / "net.onnx").unlink()
    saved = artifact.load(result.folder / "main")
    assert {edit.kind for edit in saved.edits} == {"remove_layer", "remove_channels"} and saved.masks
    with torch.no_grad():
        assert saved.module(torch.rand(2, 1, 8, 8)).shape == (2, 10)
