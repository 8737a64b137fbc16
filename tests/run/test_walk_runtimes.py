"""`latency(runtime=onnxruntime)` in a whole run: budgets, expectations, columns, the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recipelang import extras
from recipelang.errors import StepFailed
from recipelang.methods.metrics.latency import Latency
from recipelang.report.context import build
from recipelang.report.render import write
from recipelang.runtimes import onnx_session
from recipelang.runtimes.onnx_session import Session
from recipelang.units import show

pytestmark = pytest.mark.slow

pytest.importorskip("onnxruntime", reason='needs pip install "recipelang[onnxruntime]"')
CLOCK = "latency(batch=2, runtime=onnxruntime)"
TEXT = f"""model digits_resnet
data digits
measure top1, {CLOCK}
prune layers by magnitude until {CLOCK} < 0.97
expect {CLOCK} < 0.99
export onnx
"""


@pytest.fixture(scope="module")
def done(lab: Any) -> Any:
    """With few pairs on the clock: this is about what is compared with what."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Latency, "measure", lambda self, mine, theirs, shape, _: self.glance(mine, theirs, shape))
        return lab.run(TEXT)


def test_budget_expectation_columns_and_export(done: Any) -> None:
    assert done.code == 0
    main = done.variant()
    assert {"top1", CLOCK} == set(main["metrics"])
    assert done.removed() >= 1 and done.verdicts == [("main", True)]
    ratio = main["metrics"][CLOCK]["ratio"]
    assert ratio is not None and 0 < ratio < 0.99
    written = list(Path(done.folder).rglob("model.onnx"))
    assert len(written) == 1 and written[0].stat().st_size > 1000


def test_a_rerun_prepares_and_times_nothing(done: Any, lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a session was opened")

    monkeypatch.setattr(Session, "__init__", never)
    again = lab.run(TEXT.replace("export onnx\n", ""))
    assert again.made == 0
    assert again.metric(CLOCK) == done.metric(CLOCK)
    monkeypatch.setattr("recipelang.runtimes.installed.version_of", lambda library: "0.0")
    monkeypatch.setattr("recipelang.runtimes.onnx_program.version_of", lambda library: "0.0")
    with pytest.raises(AssertionError, match="a session was opened"):  # another version is timed again
        lab.run(TEXT.replace("export onnx\n", ""))


@pytest.mark.parametrize(
    ("line", "what"),
    [(f"measure {CLOCK}\n", "`runtime=onnxruntime`"), ("export onnx\n", "`export onnx`")],
    ids=["runtime", "export"],
)
def test_a_runtime_that_is_not_installed_is_refused_before_any_work(
    line: str, what: str, apart: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "absent", lambda libraries: ["onnxruntime"])
    text = "model digits_resnet\ndata digits\ntrain for 1 steps\n" + line
    for act in (apart.plan, apart.run):
        with pytest.raises(StepFailed) as failed:
            act(text)
        (found,) = failed.value.diagnostics
        assert found.code == "RCP1027" and what in found.message and found.span is not None and found.span.line == 4
        assert 'pip install "recipelang[onnxruntime]"' in found.help


QUANTIZED = f"""model digits_resnet
data digits
measure top1, {CLOCK}
quantize weights, activations to 8 bits by minmax on train(samples=64)
export onnx
"""


@pytest.fixture(scope="module")
def quantized(lab: Any) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Latency, "measure", lambda self, mine, theirs, shape, _: self.glance(mine, theirs, shape))
        return lab.run(QUANTIZED)


def test_a_quantized_network_executes_in_integers_and_the_report_says_so(quantized: Any) -> None:
    assert quantized.code == 0
    rows = quantized.variant()["layers"]
    integers = [row for row in rows if row["executes"] == "int8"]
    assert len(integers) >= 20 and {row["on"] for row in rows} == {"onnxruntime, cpu, batch 2"}
    write(build(quantized.result.report), ("markdown",), quantized.folder)
    text = (quantized.folder / "report.md").read_text(encoding="utf-8")
    assert "21 layers int8 on onnxruntime, cpu, batch 2: one QLinearConv with the recipe's scales" in text
    assert 0 < quantized.variant()["metrics"][CLOCK]["ratio"] < 5
    assert len(list(Path(quantized.folder).rglob("model.onnx"))) == 1


def test_a_report_says_that_a_file_is_for_other_processors(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_session, "overflowing", lambda: True)
    text = QUANTIZED.replace(f"measure top1, {CLOCK}", "measure top1")
    (told,) = (warning for warning in lab.run(text).result.report["warnings"] if "overflow" in warning)
    assert "`export onnx(integers=unsigned)` writes one for this processor" in told
    warnings = lab.run(text.replace("export onnx", "export onnx(integers=unsigned)")).result.report["warnings"]
    assert not any("overflow" in warning for warning in warnings)


def test_healthy_is_timed_in_float32_in_the_same_runtime(quantized: Any, done: Any) -> None:
    healthy = quantized.variant("healthy")
    assert healthy["metrics"][CLOCK]["value"] == done.variant("healthy")["metrics"][CLOCK]["value"]
    assert {row["executes"] for row in healthy["layers"]} == {"dense"}


def test_a_rerun_of_a_quantized_network_opens_no_session(
    quantized: Any, lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a session was opened")

    monkeypatch.setattr(Session, "__init__", never)
    again = lab.run(QUANTIZED.replace("export onnx\n", ""))
    assert again.made == 0 and again.variant()["layers"] == quantized.variant()["layers"]


CHOSEN = """model digits_resnet
data digits
measure latency(batch=2)
quantize weights, activations to 8 bits by minmax on train(samples=64)
accelerate by latency with onnxruntime, openvino
expect latency(batch=2) < 10s
"""


def test_accelerate_chooses_the_runtime_that_times_the_network(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino", reason='needs pip install "recipelang[openvino]"')
    monkeypatch.setattr(Latency, "measure", lambda self, mine, theirs, shape, _: self.glance(mine, theirs, shape))
    done = lab.run(CHOSEN)
    assert done.code == 0
    (on,) = {row["on"] for row in done.variant()["layers"]}
    assert on in ("onnxruntime, cpu, batch 2", "openvino, cpu, batch 2")
    name, metric = on.partition(",")[0], done.variant()["metrics"]["latency(batch=2)"]
    healthy = show(metric["value"] / metric["ratio"], "s")
    assert metric["note"].startswith(
        f"executed by {name}, and so is healthy in the ratio: {healthy}; chosen from {name} "
    )
    asked = lab.run(CHOSEN.replace("measure latency(batch=2)", f"measure latency(batch=2, runtime={name})"))
    same = asked.metric(f"latency(batch=2, runtime={name})")
    assert same == done.metric("latency(batch=2)"), "one measurement, under two names"
    assert lab.run(CHOSEN).made == 0


SHARE = "integers(runtime=onnxruntime)"


def test_a_recipe_demands_integers_and_hears_which_layer_is_not(lab: Any) -> None:
    some = QUANTIZED.replace("measure top1, " + CLOCK, f"measure {SHARE}, integers(of=layers, runtime=onnxruntime)")
    some = some.replace("export onnx\n", f"expect {SHARE} > 99%\n").replace("8 bits by", '8 bits except "layer2.*" by')
    done = lab.run(some)
    assert done.code == 4 and done.verdicts == [("main", False)]
    assert done.metric(SHARE, "healthy") == 0.0 and 0.5 < done.metric(SHARE) < 0.9
    (told,) = done.result.report["expectations"]
    assert "`layer2.0.conv2`" in told["note"] and "its weight has no grid" in told["note"]
    (verdict,) = build(done.result.report).verdicts
    assert verdict.note == told["note"]
    assert [row["executes"] for row in done.variant()["layers"]].count("int8") >= 10
    assert lab.run(some).made == 0


def test_integers_of_the_chosen_runtime_and_as_a_guard(lab: Any) -> None:
    text = QUANTIZED.replace("measure top1, " + CLOCK, "measure integers").replace("export onnx\n", "")
    assert lab.run(text).metric("integers") == 0.0, "torch simulates"
    chosen = lab.run(text + "accelerate by latency with onnxruntime\nexpect integers > 99%\n")
    assert chosen.code == 0 and chosen.metric("integers") > 0.99
    guarded = f"quantize weights, activations until size < 30% while {SHARE} > 99% on train(samples=64)\n"
    kept = lab.run(text.replace(text.splitlines()[-1] + "\n", guarded))
    assert kept.code == 0 and kept.variant()["metrics"]["integers"]
