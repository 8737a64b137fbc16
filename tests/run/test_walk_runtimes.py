"""`latency(runtime=onnxruntime)` in a whole run: budgets, expectations, columns, the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from recipelang.errors import StepFailed
from recipelang.methods.metrics.latency import Latency
from recipelang.runtimes import installed
from recipelang.runtimes.onnx_session import Session

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
    monkeypatch.setattr("recipelang.runtimes.onnx_executable.version_of", lambda library: "0.0")
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
    monkeypatch.setattr(installed, "absent", lambda libraries: ["onnxruntime"])
    text = "model digits_resnet\ndata digits\ntrain for 1 steps\n" + line
    for act in (apart.plan, apart.run):
        with pytest.raises(StepFailed) as failed:
            act(text)
        (found,) = failed.value.diagnostics
        assert found.code == "RCP1027" and what in found.message and found.span is not None and found.span.line == 4
        assert 'pip install "recipelang[onnxruntime]"' in found.help
