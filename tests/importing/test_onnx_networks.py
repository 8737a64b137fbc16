"""`model onnx("net.onnx")`: parity with onnxruntime and torch, what surgery finds, artifacts, and what is refused."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import nn

from recipelang.catalogue import find
from recipelang.errors import Refusal
from recipelang.kinds import ModelRequest
from recipelang.surgery import artifact
from recipelang.surgery.candidates import look_for_layers
from recipelang.surgery.network import Network
from recipelang.surgery.tracing import example_input, hushed

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("onnx2torch", reason="onnx2torch is not installed")
parser = pytest.importorskip("onnx.parser")

SHAPE = (3, 8, 8)


def build(file: Path, request: ModelRequest | None = None, **settings: Any) -> Network:
    network = find("model", "onnx")(file=str(file), **settings).build(request or ModelRequest())
    assert isinstance(network, Network)
    return network


def refused(code: str, *words: str, file: Path, request: ModelRequest | None = None, **settings: Any) -> None:
    with pytest.raises(Refusal) as caught:
        build(file, request, **settings)
    text = f"{caught.value.message} {caught.value.help}"
    assert caught.value.code == code, text
    for word in words:
        assert word in text, text


def program(
    file: Path, body: str, weights: Mapping[str, Any] | None = None, given: str = "float[N,3,8,8] x", opset: int = 20
) -> Path:
    """A program written down: `body` computes `y` from `x` and weights: shapes of random numbers, or values."""
    body = re.sub(r"(?<=[a-z])\.(?=[a-z])", "__", body)  # the parser takes no dots in names
    text = f'<ir_version: 9, opset_import: ["" : {opset}]> net ({given}) => (float[a,b] y) {{ {body} }}'
    model = parser.parse_model(text)
    for node in model.graph.node:
        node.input[:] = [name.replace("__", ".") for name in node.input]
    draws = numpy.random.default_rng(0)
    for name, value in (weights or {}).items():
        drawn = isinstance(value, tuple)
        array = draws.standard_normal(value).astype(numpy.float32) / 3 if drawn else numpy.asarray(value)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    onnx.save(model, file)
    return file


def answers(file: Path, images: numpy.ndarray) -> numpy.ndarray:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    found: numpy.ndarray = session.run(None, {session.get_inputs()[0].name: images})[0]
    return found


# one operator after another --------------------------------------------------------------------

HEAD = "p = GlobalAveragePool(h) f = Flatten(p) y = Gemm<transB=1>(f, fc.weight, fc.bias)"
FC = {"fc.weight": (5, 4), "fc.bias": (5,)}
CONV = "c = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, c.weight)"
WEIGHT = {"c.weight": (4, 3, 3, 3)}
BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "activations": (f"{CONV} a = Relu(c) b = HardSwish(a) d = Elu(b) h = Gelu(d) {HEAD}", WEIGHT),
    "clip to six": (
        f"{CONV} h = Clip(c, low, high) {HEAD}",
        {**WEIGHT, "low": numpy.float32(0), "high": numpy.float32(6)},
    ),
    "clip": (f"{CONV} h = Clip(c, low) {HEAD}", {**WEIGHT, "low": numpy.float32(-0.5)}),
    "a padding for other sides": (
        "c = Conv<kernel_shape=[3,3], strides=[2,2], pads=[0,0,1,1]>(x, c.weight) h = Relu(c) " + HEAD,
        WEIGHT,
    ),
    "auto_pad": (
        'c = Conv<kernel_shape=[3,3], strides=[2,2], auto_pad="SAME_UPPER">(x, c.weight) h = Relu(c) ' + HEAD,
        WEIGHT,
    ),
    "pools": (
        f"{CONV} a = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(c) "
        f"h = AveragePool<kernel_shape=[2,2], ceil_mode=1>(a) {HEAD}",
        WEIGHT,
    ),
    "norms": (
        f"{CONV} h = BatchNormalization(c, n.weight, n.bias, n.mean, n.var) {HEAD}",
        {**WEIGHT, "n.weight": (4,), "n.bias": (4,), "n.mean": (4,), "n.var": numpy.full(4, 2, numpy.float32)},
    ),
    "sizes from a shape": (
        f"{CONV} s = Shape(c) b = Gather(s, zero) u = Unsqueeze(b, axes) t = Concat<axis=0>(u, rest) "
        "r = Reshape(c, t) m = ReduceMean<keepdims=0>(r, last) y = MatMul(m, w)",
        {
            **WEIGHT,
            "zero": numpy.int64(0),
            "axes": numpy.array([0]),
            "rest": numpy.array([4, -1]),
            "last": numpy.array([2]),
            "w": (4, 5),
        },
    ),
    "a token for each image": (
        f"{CONV} s = Shape<start=0,end=1>(c) r = Reshape(c, flat) t = Transpose<perm=[0,2,1]>(r) "
        "to = Concat<axis=0>(s, rest) cls = Expand(cls_token, to) j = Concat<axis=1>(cls, t) k = Add(j, pos_embed) "
        "n = LayerNormalization(k, n.weight, n.bias) first = Gather<axis=1>(n, zero) y = MatMul(first, w)",
        {
            **WEIGHT,
            "flat": numpy.array([0, 4, 64]),
            "rest": numpy.array([1, 4]),
            "cls_token": (1, 1, 4),
            "pos_embed": (1, 65, 4),
            "n.weight": (4,),
            "n.bias": (4,),
            "zero": numpy.int64(0),
            "w": (4, 5),
        },
    ),
    "cuts and joints": (
        f"{CONV} a, b = Split<axis=1>(c, halves) d = Slice(c, one, three, axis) e = Concat<axis=1>(b, a) "
        f"g = Slice(e, zero, two, axis) i = Sub(g, d) j = Concat<axis=1>(i, d) h = Pad(j, pads) {HEAD}",
        {
            **WEIGHT,
            "halves": numpy.array([2, 2]),
            "zero": numpy.array([0]),
            "one": numpy.array([1]),
            "two": numpy.array([2]),
            "three": numpy.array([3]),
            "axis": numpy.array([1]),
            "pads": numpy.array([0, 0, 1, 0, 0, 0, 0, 2]),
        },
    ),
    "larger images": (
        f'{CONV} h = Resize<mode="linear", coordinate_transformation_mode="half_pixel">(c, , scales) {HEAD}',
        {**WEIGHT, "scales": numpy.array([1, 1, 2, 2], numpy.float32)},
    ),
    "numbers and rows": (
        f"{CONV} a = Div(c, two) b = Pow(a, two) d = Add(b, small) e = Sqrt(d) h = Mul(e, gamma) {HEAD}",
        {**WEIGHT, "two": numpy.float32(2), "small": numpy.float32(1e-3), "gamma": (1, 4, 1, 1)},
    ),
    "weights that are computed": (
        f"{CONV} r = Flatten(c) t = Transpose<perm=[1,0]>(out.weight) m = MatMul(r, t) y = Add(m, out.bias)",
        {**WEIGHT, "out.weight": (5, 256), "out.bias": (5,)},
    ),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("batch", ["N", "2"])
def test_a_program_answers_as_in_onnxruntime(name: str, batch: str, tmp_path: Path) -> None:
    body, weights = BODIES[name]
    needed = {**weights, **(FC if "fc.weight" in body else {})}
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


# what is refused -------------------------------------------------------------------------------


def test_probabilities_and_a_batch_of_one_are_told(tmp_path: Path) -> None:
    body = f"{CONV} h = Relu(c) {HEAD}".replace("y = Gemm", "s = Gemm") + " y = Softmax(s)"
    file = program(tmp_path / "net.onnx", body, {**WEIGHT, **FC}, "float[1,3,8,8] x")
    one, probabilities = build(file).habits.notes
    assert one.startswith("its file is for 1 image at a time") and "its own softmax" in probabilities
    scores = program(tmp_path / "scores.onnx", f"{CONV} h = Relu(c) {HEAD}", {**WEIGHT, **FC})
    assert not build(scores).habits.notes


def test_images_of_another_shape_leave_no_traceback_of_fx(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = "p = Reshape(x, shape) f = Flatten(p) y = Gemm<transB=1>(f, fc.weight, fc.bias)"
    weights = {"shape": numpy.array([-1, 192, 1]), "fc.weight": (5, 192), "fc.bias": (5,)}
    module = build(program(tmp_path / "net.onnx", body, weights)).module
    for each in (module, copy.deepcopy(module)):
        with pytest.raises(RuntimeError, match="shape"):
            each(torch.rand(1, 3, 7, 7))
    assert capsys.readouterr().err == ""


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    file = program(tmp_path / "net.onnx", *BODIES["pools"][:1], {**WEIGHT, **FC})
    refused("RCP0765", "no such file", file=tmp_path / "none.onnx")
    refused("RCP0765", "not a regular file", file=tmp_path)
    (tmp_path / "text.onnx").write_text("not a program")
    refused("RCP0765", "not an ONNX file", file=tmp_path / "text.onnx")
    (tmp_path / "half.onnx").write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    refused("RCP0765", file=tmp_path / "half.onnx")
    (tmp_path / "empty.onnx").write_bytes(b"")
    refused("RCP0765", "not an ONNX file", file=tmp_path / "empty.onnx")


def test_weights_in_another_file(tmp_path: Path) -> None:
    file = program(tmp_path / "net.onnx", *BODIES["pools"][:1], {**WEIGHT, **FC})
    whole = onnx.load(file)
    onnx.save(whole, tmp_path / "two.onnx", save_as_external_data=True, location="two.data", size_threshold=0)
    model = find("model", "onnx")(file=str(tmp_path / "two.onnx"))
    assert [path.name for path in model.files(Path)] == ["two.onnx", "two.data"]
    build(tmp_path / "two.onnx")
    (tmp_path / "two.data").unlink()
    refused("RCP0765", "two.data", "not beside it", file=tmp_path / "two.onnx")
    outside = onnx.load(tmp_path / "two.onnx", load_external_data=False)
    for one in outside.graph.initializer:
        next(entry for entry in one.external_data if entry.key == "location").value = "../two.data"
    onnx.save(outside, tmp_path / "out.onnx")
    refused("RCP0765", "outside of its folder", file=tmp_path / "out.onnx")


@pytest.mark.parametrize(
    ("body", "given", "weights", "code", "words"),
    [
        ("a = Relu(x) y = Flatten(x)", "float[N,3,8,8] x, float[N] z", {}, "RCP0767", ["2 inputs", "`z`"]),
        ("y = Flatten(x)", "int64[N,12] x", {}, "RCP0767", ["not of floating-point", "`int64`", "huggingface"]),
        ("y = Relu(x)", "float[N] x", {}, "RCP0767", ["1 axes"]),
        (
            f"{CONV} q = QuantizeLinear(c, s) h = DequantizeLinear(q, s) {HEAD}",
            "float[N,3,8,8] x",
            {**WEIGHT, **FC, "s": numpy.float32(0.1)},
            "RCP0767",
            ["quantized already", "`QuantizeLinear`"],
        ),
        (
            f"{CONV} a = Hardmax(c) b = MeanVarianceNormalization(a) h = Relu(b) {HEAD}",
            "float[N,3,8,8] x",
            {**WEIGHT, **FC},
            "RCP0766",
            ["`Hardmax`", "`MeanVarianceNormalization`"],
        ),
        (
            "m = ReduceMax<keepdims=0>(x) b = Greater(m, zero) "
            "h = If(b) <then_branch = t () => (float[N,3,8,8] o) { o = Relu(x) }, "
            "else_branch = e () => (float[N,3,8,8] o) { o = Neg(x) }> y = Flatten(h)",
            "float[N,3,8,8] x",
            {"zero": numpy.float32(0)},
            "RCP0767",
            ["depends on values", "`If`"],
        ),
    ],
    ids=["two inputs", "whole numbers", "one axis", "quantized", "unknown operators", "control flow"],
)
def test_programs_that_are_no_networks(
    body: str, given: str, weights: dict[str, Any], code: str, words: list[str], tmp_path: Path
) -> None:
    refused(code, *words, file=program(tmp_path / "net.onnx", body, weights, given))


def test_images_that_it_does_not_take(tmp_path: Path) -> None:
    body, weights = BODIES["weights that are computed"]
    file = program(tmp_path / "net.onnx", body, weights)
    refused("RCP0767", "1×8×8", file=file, request=ModelRequest(None, (1, 8, 8)))
    refused("RCP0767", "3×16×16", "takes images 3×8×8", file=file, request=ModelRequest(None, (3, 16, 16)))
    pooled = program(tmp_path / "pooled.onnx", BODIES["pools"][0], {**WEIGHT, **FC})
    assert build(pooled, ModelRequest(None, (3, 16, 16))).input_shape == (3, 16, 16)


def test_images_of_a_batch_that_are_mixed_are_refused(tmp_path: Path) -> None:
    body = f"{CONV} m = ReduceMean(c, first) h = Add(c, m) {HEAD}"
    weights = {**WEIGHT, **FC, "first": numpy.array([0])}
    refused("RCP0768", "onnxruntime", file=program(tmp_path / "net.onnx", body, weights, "float[1,3,8,8] x"))


def test_a_saved_network_whose_program_is_damaged(tmp_path: Path) -> None:
    import json

    network = build(program(tmp_path / "net.onnx", BODIES["pools"][0], {**WEIGHT, **FC}))
    artifact.save(network, tmp_path / "saved")
    told = json.loads((tmp_path / "saved/model.json").read_text())
    for wrong in (3, "AAAA", "", told["source"]["built"]["program"][:40], {}):
        told["source"]["built"]["program"] = wrong
        (tmp_path / "saved/model.json").write_text(json.dumps(told))
        with pytest.raises(Refusal) as caught:
            artifact.load(tmp_path / "saved")
        assert caught.value.code == "RCP0714"


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipelang.extras.absent", lambda libraries: ["onnx2torch"])
    refused("RCP1027", "onnx2torch", "recipelang[onnx-import]", file=tmp_path / "net.onnx")
