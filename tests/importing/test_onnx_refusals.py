"""`model onnx("net.onnx")`: files, programs and images that are told or refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from recipelang.catalogue import find
from recipelang.errors import Refusal
from recipelang.kinds import ModelRequest
from recipelang.surgery import artifact
from tests.importing.made import (
    BODIES,
    CONV,
    FC,
    HEAD,
    WEIGHT,
    build,
    onnx,
    program,
    refused,
)


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
