"""What `quantize` says and refuses before anything runs."""

from __future__ import annotations

import pytest
from checked import refused, step

from recipelang.check import check
from recipelang.errors import RecipeError
from recipelang.plan import Samples, steps_of
from recipelang.syntax.parse import parse


def test_what_is_left_out_is_filled_in() -> None:
    whole = step("quantize weights, activations to 8 bits")
    assert whole.text == "quantize weights, activations to 8 bits by minmax on train(samples=512)"
    asked = whole.operation
    assert (asked.parts, asked.bits, asked.estimator.name) == (("weights", "activations"), 8, "minmax")
    assert asked.samples == asked.needs().samples == Samples("train", 512)
    assert asked.needs().restriction and not asked.needs().sparse
    weights = step("quantize weights to 2 bits in type(Conv2d) except first").operation
    assert weights.samples is None and weights.parts == ("weights",)
    assert [str(s) for s in (*weights.selection.include, *weights.selection.exclude)] == ["type(Conv2d)", "first"]
    assert step("quantize activations, weights to 8 bits").operation == asked, "in any order"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("quantize weights to 1 bit", [("RCP1401", "1 bit")]),
        ("quantize weights to 9 bits", [("RCP1401", "9 bits")]),
        ("quantize weights to 8 bits by minmax(group=32)", [("RCP0307", "32")]),
        ("quantize weights to 8 bits by minmax(per=row)", [("RCP0301", "row")]),
        ("quantize weights to 8 bits by minmax(per=group, group=1)", [("RCP0303", "1")]),
        ("quantize weights to 4 bits by minmax(per=group, group=32, form=affine)", []),
        ("quantize weights to 8 bits with 3", [("RCP0405", "3")]),
        ("quantize weights to 4.5 bits", [("RCP1401", "4.5 bits")]),
        ("quantize weights to 8", [("RCP0302", "8")]),
        ("quantize weights to 50%", [("RCP0302", "50%")]),
        ('quantize weights to "8 bits"', [("RCP0302", '"8 bits"')]),
        ("quantize weights", [("RCP0403", "quantize")]),
        ("quantize to 8 bits", [("RCP0404", "quantize")]),
        ("quantize filters to 8 bits", [("RCP0301", "filters")]),
        ("quantize weights, weights to 8 bits", [("RCP0408", "weights")]),
        ("quantize weights to 8 bits by magnitude", [("RCP0203", "magnitude")]),
        ("quantize weights to 8 bits by minmac", [("RCP0202", "minmac")]),
        ("quantize weights to 8 bits on train(samples=512)", [("RCP1402", "train(samples=512)")]),
        ("quantize weights, activations to 8 bits on test", [("RCP0513", "test")]),
        ("quantize weights to 8 bits\naccelerate", []),
        ("quantize weights to 8 bits\ndistill from healthy, recovered", []),
        ("distill from healthy, recovered\nquantize weights to 8 bits", [("RCP0501", "recovered")]),
        ('data digits\nmodel digits_resnet\nquantize weights to 8 bits\nquantize weights to 4 bits in "layer1"', []),
        ("model digits_resnet\nquantize weights, activations to 8 bits", [("RCP0503", "model")]),
    ],
)
def test_mistakes(text: str, expected: list[tuple[str, str]]) -> None:
    assert refused(text) == expected


def test_tuning_is_inserted_between_removal_and_quantization_where_recovered_is_named() -> None:
    plan = check(parse("prune 2 layers by magnitude\nquantize weights to 8 bits\ndistill from healthy, recovered"))
    verbs = [(s.operation.verb, s.implied) for s in steps_of(plan.nodes)]
    assert verbs[-4:] == [("prune", False), ("finetune", True), ("quantize", False), ("distill", False)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("quantize weights to 8 bits\nprune 2 layers by magnitude", ["RCP1409"]),
        ("quantize weights to 8 bits\nsparsify nm 2:4", ["RCP1409"]),
        ("prune 2 layers by magnitude\nsparsify nm 2:4\nquantize weights to 8 bits", []),
        ("quantize weights to 8 bits\nquantize weights to 4 bits", ["RCP1410"]),
        ("quantize weights to 8 bits in first, last\nquantize weights, activations to 4 bits", ["RCP1410"]),
        ("quantize weights to 4 bits\nquantize weights to 8 bits in first, last", []),
        ("quantize weights to 4 bits\nquantize activations to 8 bits", []),
        ("quantize weights to 8 bits\nfinetune for 1 epoch\nquantize weights to 4 bits", []),
    ],
)
def test_ranges_are_chosen_for_the_network_that_they_are_for(text: str, expected: list[str]) -> None:
    plan = check(parse(f"model digits_resnet\ndata digits\ntrain for 1 epoch\n{text}"))
    assert [d.code for d in plan.warnings] == expected
    assert all("line" in d.message and d.help for d in plan.warnings)


@pytest.mark.parametrize(
    ("text", "help"),
    [
        ("quantize weights to 1 bit", "write `to 2 bits`, or quantize `by bwn`, whose weights have one bit"),
        ("quantize weights to 9 bits", "write `to 8 bits`, or fewer with `finetune` after it"),
        ("quantize weights to 4 bits by dynamic", "write `to 8 bits`"),
    ],
)
def test_the_help_names_a_width_that_there_is(text: str, help: str) -> None:
    with pytest.raises(RecipeError) as raised:
        check(parse(text))
    assert [found.help for found in raised.value.diagnostics] == [help]
