"""What `quantize … until …` says and refuses before anything runs."""

from __future__ import annotations

import pytest
from checked import refused, step


def test_a_budget_in_place_of_a_width_names_the_usual_search() -> None:
    whole = step("quantize weights until size < 25% while top1 drop < 1%")
    assert whole.text == "quantize weights until size < 25% while top1 drop < 1% by minmax with sensitivity"
    needs = whole.operation.needs()
    assert (whole.operation.bits, whole.operation.widths.name, needs.searches) == (0, "sensitivity", "sensitivity")
    assert needs.until.bound == 0.25 and needs.guard.bound == 0.01 and needs.glances > 0
    assert whole.operation.able == (2, 3, 4, 5, 6, 7, 8)
    haq = step("quantize weights, activations until size < 25% by minmax(per=tensor) on train(samples=64) with haq(50)")
    assert (haq.operation.widths.episodes, haq.operation.samples.count) == (50, 64)
    plain = step("quantize weights to 8 bits").operation.needs()
    assert plain.until is None and plain.searches == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("quantize weights to 8 bits until size < 25%", [("RCP0409", "to")]),
        ("quantize weights to 8 bits while top1 drop < 1%", [("RCP0409", "to")]),
        ("quantize weights to 8 bits with haq", [("RCP1470", "haq")]),
        ("quantize weights while top1 drop < 1% with haq", [("RCP1470", "haq")]),
        ("quantize weights while top1 drop < 1%", []),
        ("quantize weights until size < 25% with haq, sensitivity", [("RCP0408", "sensitivity")]),
        ("quantize weights until size < 25% with haq(episodes=3, warmup=3)", [("RCP0307", "3")]),
        ("quantize weights until params < 50%", [("RCP1472", "params < 50%")]),
        ("quantize weights until size < 25% and flops < 50%", [("RCP1472", "flops < 50%")]),
        ("quantize weights until latency(runtime=onnxruntime) < 0.5", []),
        ("quantize weights until size > 25%", [("RCP0608", "size > 25%")]),
        ("quantize weights until top1 drop > 1%", [("RCP0607", "top1 drop > 1%")]),
        ("quantize weights", [("RCP0403", "quantize")]),
        ("quantize weights, activations to 8 bits by dynamic", []),
        ("quantize weights, activations to 4 bits by dynamic", [("RCP1401", "4 bits")]),
        ("quantize weights, activations to 8 bits by dynamic on train", [("RCP1402", "train")]),
        ("quantize weights until size < 25% by dynamic", [("RCP1470", "dynamic")]),
    ],
)
def test_what_is_refused(text: str, expected: list[tuple[str, str]]) -> None:
    assert refused(text) == expected
