"""What a first recipe does: one test for each rule, on facts made by hand; every draft is a recipe that checks."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from recipelang.catalogue import find
from recipelang.check import check
from recipelang.drafting import called, choosing, evidence, notes, rules, ways
from recipelang.drafting.facts import Facts, Found, Machine, Parts, Samples, Task, Wish
from recipelang.drafting.ways import Way
from recipelang.drafting.writing import recipe_text
from recipelang.meaning import conditions, typed
from recipelang.meaning.flow import Flow
from recipelang.plan import Condition
from recipelang.syntax.format import format
from recipelang.syntax.parse import parse

ROOT = Path(__file__).parents[2]
CONV = {"layers": Parts(9, 9, 9), "filters": Parts(10, 256, 224)}
VIT = {"layers": Parts(12, 12, 12), "heads": Parts(12, 144, 132), "neurons": Parts(12, 36864, 36000)}
SUPER = Task("superresolution", "psnr", "higher", "dB", labelled=False, one_class=False)
LABELS = Task("multilabel", "map", "higher", "%", one_class=False)


def condition(text: str, task: str = "") -> Condition:
    flow = Flow(healthy=True, **({"task": find("task", task)} if task else {}))
    statement = typed.statement("expect", text, "--budget ", "")
    found = conditions.read(typed.reader(statement, flow), statement.operands[0], "val", "")
    assert found is not None
    return found


def facts(
    budget: str = "",
    *,
    parts: dict[str, Parts] | None = None,
    convolved: float = 1.0,
    pretrained: bool = True,
    samples: Samples | None = None,
    task: Task | None = None,
    machine: Machine | None = None,
    removable: float | None = 0.8,
    **wish: object,
) -> Facts:
    model = 'resnet56(weights="net.safetensors")' if pretrained else "resnet56"
    asked = {"model": model, "data": "cifar10", **wish}
    if budget:
        asked["budget"] = condition(budget, task.name if task else "")
    return Facts(
        Wish(**asked),  # type: ignore[arg-type]
        Found(112_000, 463_000, 5_770_000, convolved, pretrained, CONV if parts is None else parts, 4e-4, removable),
        samples or Samples(45_000, 5_000, 10_000, 128, 10),
        task or Task(),
        machine or Machine(),
    )


def first(known: Facts) -> Way:
    return ways.ways(known)[0]


def text(known: Facts, budget: str = "latency < 0.7") -> str:
    asked = known.wish.budget or condition(budget)
    return recipe_text(rules.draft(known, first(known), asked), "first.rcp")


# which parts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "units", "criterion"),
    [
        (facts("latency < 0.7"), ("layers",), "imprint"),
        (facts(), ("layers",), "imprint"),
        (facts("latency < 0.7", device="cuda", batch=1), ("layers",), "imprint"),
        (facts("latency < 0.7", device="cuda", batch=64), ("layers", "filters"), "taylor"),
        (facts("latency < 0.7", batch=64), ("layers",), "imprint"),
        (facts("flops < 0.5"), ("filters",), "magnitude"),
        (facts("size < 0.5"), ("filters",), "magnitude"),
        (facts("latency < 0.7 and size < 0.5"), ("layers", "filters"), "taylor"),
        (facts("params < 0.5", parts=VIT, convolved=0.01), ("heads", "neurons"), "taylor"),
        (facts("latency < 0.7", parts=VIT, convolved=0.01), ("layers",), "imprint"),
        (facts("latency < 0.7", parts={"filters": Parts(2, 32, 16)}), ("filters",), "magnitude"),
        (facts("latency < 0.7", parts={"neurons": Parts(2, 32, 16)}, convolved=0), ("neurons",), "magnitude"),
        (facts("latency < 0.7", task=SUPER), ("layers",), "taylor"),
        (facts("latency < 0.7", task=LABELS), ("layers",), "taylor"),
        (facts("latency < 0.7", samples=Samples(200, 25, 25, 32, 2)), ("layers",), "taylor"),
    ],
)
def test_what_goes_depends_on_network_device_batch_and_budget(
    known: Facts, units: tuple[str, ...], criterion: str
) -> None:
    assert (first(known).units, first(known).criterion) == (units, criterion)
    assert first(known).why


def test_only_what_the_network_has_is_offered() -> None:
    assert ways.ways(facts("latency < 0.7", parts={})) == ()
    for way in ways.ways(facts("latency < 0.7")):
        assert set(way.units) <= set(CONV)


# lines --------------------------------------------------------------------------------------------------


def test_a_network_without_weights_trains_first() -> None:
    assert not list(rules.start(facts()))
    (line,) = rules.start(facts(pretrained=False))
    assert line.text == "train for 10 epochs"
    (line,) = rules.start(facts(pretrained=False, parts=VIT, convolved=0.01))
    assert "adamw" in line.text


@pytest.mark.parametrize(
    ("train", "length"),
    [(1_079, "for 10 epochs"), (45_000, "for 2 epochs"), (20_000, "for 5 epochs"), (1_200_000, "for 704 steps")],
)
def test_recovery_is_as_long_as_the_data_suggest(train: int, length: str) -> None:
    line = rules.recovery(facts(samples=Samples(train, 100, 100, 128, 10)))
    assert length in line.text and line.text.startswith("distill from healthy")
    assert "with kd" in line.text


def test_two_four_only_where_the_gpu_has_it() -> None:
    assert not list(rules.sparsity(facts(device="cuda")))
    lines = list(rules.sparsity(facts(device="cuda", machine=Machine(sparse=True, gpu="A100"))))
    assert [line.verb for line in lines] == ["sparsify", "distill", "accelerate"]
    assert "recovered" in lines[1].text
    assert any("no tensor cores" in hint for hint in notes.hints(facts(device="cuda")))


FAST = Machine(("onnxruntime", "openvino"), multiplies=True)


def test_integers_only_where_they_are_multiplied() -> None:
    assert not list(rules.integers(facts(machine=FAST), alone=False)), "torch only simulates them"
    assert not list(rules.integers(facts(runtime="onnxruntime", machine=Machine(("onnxruntime",))), alone=False))
    (line,) = rules.integers(facts(runtime="onnxruntime", machine=FAST), alone=False)
    assert line.text == "quantize weights, activations to 8 bits by mse on train(samples=512)"
    known = facts(runtime="onnxruntime", machine=FAST, parts=VIT, convolved=0.01)
    assert next(iter(rules.integers(known, alone=False))).text.endswith("by dynamic")


@pytest.mark.parametrize(
    ("budget", "alone", "rest"),
    [
        ("latency < 0.7", True, ""),
        ("latency < 0.3", False, "0.55"),
        ("size < 0.5", True, ""),
        ("flops < 0.5", False, "0.5"),
    ],
)
def test_integers_take_their_part_of_the_budget(budget: str, alone: bool, rest: str) -> None:
    known = facts(budget, runtime="onnxruntime", machine=FAST)
    assert known.wish.budget is not None
    assert rules.integers_suffice(known, known.wish.budget) is alone
    if rest:
        assert f"< {rest} while" in text(known)
        assert f"expect {'$here' if 'latency' in budget else 'flops'} {budget[budget.index('<') :]}" in text(known)


def test_the_extra_of_a_runtime_is_named_where_it_is_missing() -> None:
    assert any("pip install" in hint for hint in notes.hints(facts()))
    assert any("installed here" in hint for hint in notes.hints(facts(machine=FAST)))
    assert any("no instructions for them" in hint for hint in notes.hints(facts(machine=Machine(("onnxruntime",)))))


def test_a_network_with_little_to_give_is_told_so() -> None:
    known = facts("latency < 0.9", removable=0.2)
    (told,) = notes.little(known, ("layers",), True)
    assert "20% of the time" in told and "0.80" in told
    assert "Little can be gained" in text(known)
    assert not notes.little(facts("latency < 0.7"), ("layers",), True)
    assert not notes.little(facts("flops < 0.7", removable=0.1), ("filters",), False)


def test_the_verdict_is_the_budget_and_what_may_be_lost() -> None:
    assert "expect latency < 0.7 and top1 drop(from=control) < 1.5%" in text(facts("latency < 0.7", drop=1.5))
    known = facts("latency < 0.7 or size < 5KB", drop=2.0)
    assert "expect (latency < 0.7 or size < 5KB) and top1 drop(from=control) < 2%" in text(known)
    assert "psnr drop(from=control) < 3dB" in text(facts("latency < 0.7", task=SUPER))
    told = text(facts("latency < 0.7", task=LABELS))
    assert "map drop(from=control) < " in told and "with kd" in told and "by taylor" in told


def test_clocks_are_called_as_the_network_will_be() -> None:
    told = text(facts("latency < 0.7", batch=8, threads=2))
    assert "let here = latency(batch=8, threads=2)" in told
    assert "until $here < 0.7 while" in told and "measure top1, $here, flops" in told
    told = text(facts("latency(batch=4) < 5ms", batch=8))
    assert "latency(batch=4)" in told and "batch=8" not in told


def test_large_data_are_ranked_by_a_part() -> None:
    assert "on train(samples=2000)" in text(facts("latency < 0.7"))
    assert "samples=" not in text(facts("latency < 0.7", samples=Samples(1079, 359, 359, 64, 10)))


# the whole ----------------------------------------------------------------------------------------------

CASES = [
    facts(budget, parts=parts, convolved=convolved, pretrained=pretrained, machine=machine, **wish)
    for budget, (parts, convolved), pretrained, (machine, wish) in product(
        ("latency < 0.7", "size < 5KB", "flops < 0.5", "throughput > 1.5", "latency < 0.4 and size < 0.5"),
        ((CONV, 1.0), (VIT, 0.01)),
        (True, False),
        (
            (Machine(), {}),
            (FAST, {"runtime": "onnxruntime"}),
            (Machine(sparse=True, gpu="A100"), {"device": "cuda", "batch": 64}),
        ),
    )
]


@pytest.mark.parametrize("known", CASES, ids=range(len(CASES)))
def test_every_way_makes_a_recipe_that_checks_and_is_formatted(known: Facts) -> None:
    assert known.wish.budget is not None
    for way in (*ways.ways(known), *((None,) if rules.integers_suffice(known, known.wish.budget) else ())):
        drafted = rules.draft(known, way, known.wish.budget)
        written = recipe_text(drafted, "first.rcp", [1.0] * len(drafted.lines))
        assert format(written) == written
        assert not check(parse(written)).warnings
        assert all(len(line) <= 120 for line in written.splitlines())


def test_every_line_that_decides_says_why() -> None:
    for known in CASES:
        assert known.wish.budget is not None
        for line in rules.draft(known, first(known), known.wish.budget).lines:
            if line.verb not in ("task", "model", "measure", "report"):
                assert line.why, line.text


@pytest.mark.parametrize("finding", evidence.ALL, ids=lambda finding: finding.text[:40])
def test_what_is_quoted_stands_on_its_page(finding: evidence.Finding) -> None:
    if finding.page.startswith("docs/"):
        page = " ".join((ROOT / finding.page).read_text(encoding="utf-8").split())
        assert finding.figures
        assert all(" ".join(figure.split()) in page for figure in finding.figures), finding.page
    else:
        assert "Elkerdawy 2022" in finding.page


def test_a_reason_is_a_comment_of_its_own() -> None:
    told = text(facts("latency < 0.7"))
    assert "# To recover: " in told and re.search(r"^# Whole layers: ", told, re.MULTILINE)
    known = replace(facts("latency < 0.7"), samples=Samples(45_000, 5_000, 10_000, 128, 10))
    drafted = rules.draft(known, first(known), condition("latency < 0.7"))
    times = [90.0 if line.verb == "distill" else None for line in drafted.lines]
    assert "about 2 min on this machine" in recipe_text(drafted, "first.rcp", times).lower()


def test_threads_and_device_of_absent_settings_are_left_out() -> None:
    known = facts("size < 0.5", batch=8)
    assert called.placed(find("metric", "size")(), known) == find("metric", "size")()  # type: ignore[misc]


@pytest.mark.parametrize(
    ("budget", "removable", "tried"),
    [
        ("latency < 0.7", 0.08, "last"),
        ("latency < 0.7", 0.25, "first"),  # a brief reading is granted half as much again
        ("latency < 0.9", 0.08, "first"),
        ("latency(batch=8) < 0.7 and params < 0.9", 0.08, "last"),
        ("latency < 2ms", 0.08, "first"),
        ("latency < 0.7", None, "first"),
    ],
)
def test_layers_that_take_too_little_of_the_time_are_tried_last(budget: str, removable: float, tried: str) -> None:
    known = facts(budget, removable=removable)
    asked = condition(budget)
    alone = [_alone(way) for way in choosing._ways(known, asked) if way]
    (place,) = [number for number, here in enumerate(alone) if here]
    assert place == (len(alone) - 1 if tried == "last" else [*map(_alone, ways.ways(known))].index(True))
    assert [*choosing._not_tried(known, asked)] == (
        ["layers alone were not tried: those that can be removed take 8% of the time"] if tried == "last" else []
    )


def _alone(way: Way) -> bool:
    return way.units == ("layers",)
