"""`recipe profile MODEL`: where the time of a network is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recipelang.catalogue import find
from recipelang.cli import main
from recipelang.commands import profiling
from recipelang.kinds import ModelRequest
from recipelang.kinds.layer_times import LayerSeconds, LayerTime, LayerTimes
from recipelang.measuring import layer_clock
from recipelang.measuring.forms import Form, forms_of
from recipelang.surgery import artifact


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few rounds: no test here asserts a time."""
    monkeypatch.setattr(layer_clock, "FEWEST_ROUNDS", 3)
    monkeypatch.setattr(layer_clock, "MOST_ROUNDS", 3)


def recipe(*arguments: str) -> int:
    try:
        main(list(arguments))
    except SystemExit as left:
        return int(left.code or 0)
    return 0


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:  # type: ignore[type-arg]
    assert recipe("profile", "--json", *arguments) == 0
    found: dict = json.loads(capsys.readouterr().out)  # type: ignore[type-arg]
    assert found["format"] == "recipelang.profile/1"
    return found


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime", "openvino"])
def test_layers_add_up_and_are_those_of_the_network(runtime: str, capsys: pytest.CaptureFixture[str]) -> None:
    find("runtime", runtime)().require() if runtime == "torch" else pytest.importorskip(runtime)
    found = told(capsys, "digits_lenet", "--runtime", runtime, "--batch", "2")
    rows = found["layers"]
    assert found["input_shape"] == [2, 1, 8, 8] and runtime in found["on"] and "batch 2" in found["on"]
    assert sum(row["seconds"] for row in rows) == pytest.approx(found["seconds"])
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    forms = {form.layer: form for form in forms_of(find("model", "digits_lenet")().build(ModelRequest()))}
    counted = {row["layer"]: (row["parameters"], row["flops"]) for row in rows if row["parameters"] is not None}
    assert counted == {name: (form.parameters, form.flops) for name, form in forms.items()}


def test_the_table_begins_with_the_slowest_layer(capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe("profile", "resnet20", "--data", "digits") == 0
    out, err = capsys.readouterr()
    head, *rows = out.splitlines()
    assert head.split() == ["layer", "type", "time", "share", "parameters", "FLOPs"]
    shares = [
        float(part)
        for row in rows
        for part in row.replace("%", " %").split()
        if "." in part and f"{part} %" in row.replace("%", " %")
    ]
    assert shares == sorted(shares, reverse=True) and len(rows) == 25
    assert "`--all` shows them" in err and "all layers take" in err and "nothing watches" in err
    assert recipe("profile", "resnet20", "--data", "digits", "--all") == 0
    assert len(capsys.readouterr().out.splitlines()) > 26


def test_a_saved_network_and_an_onnx_file_are_named_by_their_paths(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in ("onnx2torch", "onnxruntime", "onnxscript"):
        pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    network = find("model", "digits_lenet")().build(ModelRequest())
    artifact.save(network, tmp_path / "saved")
    own = {row["layer"] for row in told(capsys, "saved")["layers"]}
    find("export", "onnx")().write(network, tmp_path / "onnx")
    other = told(capsys, "onnx/model.onnx")
    assert {form.layer for form in forms_of(network)} <= own
    assert {form.layer for form in forms_of(network)} <= {row["layer"] for row in other["layers"]}
    assert recipe("layers", "saved", "--json") == 0


def test_a_row_of_several_layers_has_their_parameters_together() -> None:
    forms = {"a": Form("a", "Linear", 2, 6, 6, flops=12), "b": Form("b", "Linear", 3, 6, 6, flops=14)}
    forms["c"] = Form("c", "Linear", 3, 9, 9)
    took = LayerSeconds(1e-6, 1e-6, 1e-6)
    layers = tuple(LayerTime(name, "Subgraph", None, took) for name in ("a + b", "b + c", "every Reorder"))
    rows = profiling._rows(LayerTimes(layers, 3e-6, 3e-6), forms)
    assert [(row["parameters"], row["flops"]) for row in rows] == [(12, 26), (15, None), (None, None)]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["digits_lenett"], 1, ["digits_lenett", "did you mean"]),
        (["digits_lenet", "--runtime", "tensorrt"], 1, ["tensorrt"]),
        (["digits_lenet", "--batch", "0"], 2, ["--batch"]),
        (["digits_lenet", "--device", "tpu"], 2, ["tpu"]),
        (["digits_lenet", "--precision", "int8"], 1, ["int8"]),
        (['python("net.py:build")'], 3, ["--trust"]),
        (['artifact("nowhere")'], 3, ["nowhere"]),
        (["nowhere.onnx"], 2, ["no file `nowhere.onnx`"]),
        (["runs/net-1"], 2, ["`runs/net-1` holds no saved network", "RUN/main"]),
    ],
)
def test_what_is_wrong_is_said(
    arguments: list[str], code: int, words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "net-1").mkdir(parents=True)
    (tmp_path / "net.py").write_text("def build():\n    raise SystemExit\n")
    assert recipe("profile", *arguments) == code
    text = capsys.readouterr().err
    for word in words:
        assert word in text


def test_a_device_that_is_not_here(capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert recipe("profile", "digits_lenet", "--device", "cuda") == 3
    assert "cuda" in capsys.readouterr().err
