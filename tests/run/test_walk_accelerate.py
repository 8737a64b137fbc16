"""`accelerate` in a whole run: on this CPU, and where the CPU plays the part of a GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from recipelang.errors import StepFailed
from recipelang.report.context import build
from recipelang.report.render import write

Arrange = Callable[..., list[str]]
HEAD = "model digits_resnet\ndata digits\nmeasure top1, latency(batch=2, precision=bfloat16)\n"
SPARSE = HEAD + "sparsify nm 2:4\n"


def executes(done: Any) -> Counter[tuple[str, str]]:
    return Counter((row["executes"], row["on"]) for row in done.variant()["layers"])


def test_on_a_cpu_the_layers_are_masked_only_and_a_demand_is_refused(lab: Any) -> None:
    done = lab.run(SPARSE + "accelerate\n")
    assert done.code == 0
    rows = done.variant()["layers"]
    assert {row["executes"] for row in rows} == {"masked only", "dense"}
    assert any("a CPU has no sparse matrix units" in row["why"] for row in rows)
    refused = lab.run(SPARSE + "accelerate with triton\n")
    assert refused.code == 3
    assert refused.variant()["error"]["code"] == "RCP1305"


def test_a_demand_that_this_machine_cannot_meet_is_refused_before_anything_is_trained(apart: Any) -> None:
    text = HEAD + "train for 1 steps\nsparsify nm 2:4\naccelerate with triton, cusparselt\n"
    with pytest.raises(StepFailed) as failed:
        apart.run(text)
    (found,) = failed.value.diagnostics
    assert found.code == "RCP1305" and found.span is not None and found.span.line == 6


def test_where_a_gpu_is_the_report_says_what_each_layer_executes(lab: Any, pretended_gpu: Arrange) -> None:
    pretended_gpu()
    done = lab.run(SPARSE + "accelerate\n")
    assert done.code == 0
    found = executes(done)
    on = "cpu, bfloat16, batch 2"
    assert found["mma.sp 2:4", on] >= 1
    assert found["masked only", on] >= 1  # convolutions 3×3
    whys = {row["why"] for row in done.variant()["layers"] if row["executes"] == "mma.sp 2:4"}
    assert any("2.00 times as fast" in why for why in whys)
    write(build(done.result.report), ("markdown",), done.folder)
    text = (done.folder / "report.md").read_text(encoding="utf-8")
    assert f"mma.sp 2:4 on {on}: 2.00 times as fast" in text


def test_a_rerun_measures_nothing_anew(lab: Any, pretended_gpu: Arrange) -> None:
    timed = pretended_gpu()
    first = lab.run(SPARSE + "accelerate\n")
    count = len(timed)
    again = lab.run(SPARSE + "accelerate\n")
    assert 0 < count == len(timed)
    assert again.made == 0
    assert executes(again) == executes(first)


def test_what_a_gpu_executes_is_not_told_of_a_machine_without_one(
    apart: Any, pretended_gpu: Arrange, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretended_gpu()
    there = apart.run(SPARSE + "accelerate\n").steps(verb="accelerate")[0]["reached"][0]["what"]
    monkeypatch.undo()
    here = apart.run(SPARSE + "accelerate\n").steps(verb="accelerate")[0]["reached"][0]["what"]
    assert (there, here) == ("chosen by measurement where the network is timed", "masked only")


def test_rounding_to_int8_changes_what_accuracy_is_measured_on(lab: Any) -> None:
    # Without a GPU a demand for our kernels is refused; beside `dense` the weights are rounded all the same.
    plain = lab.run(HEAD + "measure loss\nsparsify nm 2:4\naccelerate\n")
    rounded = lab.run(HEAD + "measure loss\nsparsify nm 2:4\naccelerate with triton(values=int8), dense\n")
    assert rounded.code == 0
    assert rounded.metric("loss") == pytest.approx(plain.metric("loss"), rel=0.05)
    assert rounded.metric("loss") != plain.metric("loss")


def test_a_demand_in_float32_is_refused_where_it_is_timed(lab: Any, pretended_gpu: Arrange) -> None:
    pretended_gpu()
    done = lab.run(
        "model digits_resnet\ndata digits\nmeasure latency(batch=2)\nsparsify nm 2:4\naccelerate with triton\n"
    )
    assert done.code == 3
    assert done.variant()["error"]["code"] == "RCP1305"
    assert "not in float32" in done.variant()["error"]["message"]


def test_training_may_follow_and_the_kernels_stay_chosen(lab: Any, pretended_gpu: Arrange) -> None:
    pretended_gpu()
    done = lab.run(SPARSE + "accelerate\nfinetune for 1 steps\n")
    assert done.code == 0
    assert executes(done)["mma.sp 2:4", "cpu, bfloat16, batch 2"] >= 1
