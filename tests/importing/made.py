"""Programs of ONNX that tests write down, what onnxruntime answers, and how an import is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
import pytest

from recipelang.catalogue import find
from recipelang.errors import Refusal
from recipelang.kinds import ModelRequest
from recipelang.surgery.network import Network

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
    "heads that see everything": (
        f"{CONV} r = Reshape(c, flat) t = Transpose<perm=[0,2,1]>(r) qkv = MatMul(t, qkv.weight) "
        "parts = Reshape(qkv, split) turned = Transpose<perm=[2,0,3,1,4]>(parts) q = Gather<axis=0>(turned, zero) "
        "k = Gather<axis=0>(turned, one) v = Gather<axis=0>(turned, two) all = Reshape(k, each) "
        "other = Transpose<perm=[0,2,1]>(all) keys = Reshape(other, heads) s = MatMul(q, keys) "
        "mask = ConstantOfShape(places) m = Add(s, mask) "
        "p = Softmax<axis=-1>(m) n = IsNaN(p) g = Where(n, nothing, p) o = MatMul(g, v) "
        "b = Transpose<perm=[0,2,1,3]>(o) w = Reshape(b, joined) h = ReduceMean<keepdims=0>(w, axis) "
        "y = MatMul(h, fc.weight)",
        {
            **WEIGHT,
            "flat": numpy.array([0, 4, 64]),
            "qkv.weight": (4, 24),
            "split": numpy.array([0, 64, 3, 2, 4]),
            "zero": numpy.int64(0),
            "one": numpy.int64(1),
            "two": numpy.int64(2),
            "each": numpy.array([-1, 64, 4]),
            "heads": numpy.array([-1, 2, 4, 64]),
            "places": numpy.array([1, 1, 64, 64]),
            "nothing": numpy.float32(0),
            "joined": numpy.array([0, 64, 8]),
            "axis": numpy.array([1]),
            "fc.weight": (8, 5),
        },
    ),
    "groups that are normalised": (
        f"{CONV} v = Reshape(c, groups) n = InstanceNormalization(v, ones, zeros) s = Shape(c) b = Reshape(n, s) "
        f"m = Mul(b, scale) a = Add(m, shift) h = InstanceNormalization(a, i.weight, i.bias) {HEAD}",
        {
            **WEIGHT,
            "groups": numpy.array([0, 2, -1]),
            "ones": numpy.ones(2, numpy.float32),
            "zeros": numpy.zeros(2, numpy.float32),
            "scale": (4, 1, 1),
            "shift": (4, 1, 1),
            "i.weight": (4,),
            "i.bias": (4,),
        },
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
