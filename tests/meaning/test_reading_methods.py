"""Binding, losses and conditions with methods made for the test: what the present catalogue does not have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from checked import step

from recipelang import catalogue
from recipelang.catalogue import method, setting
from recipelang.check import check
from recipelang.errors import RecipeError, SettingError
from recipelang.plan import Duration, Term, steps_of
from recipelang.syntax.parse import parse


@method("loss", "hint")
@dataclass(frozen=True)
class Hint:
    """A term that is not complete on its own."""

    teachers: ClassVar[tuple[int, int]] = (1, 1)
    complete: ClassVar[bool] = False
    layer: str = setting(type="text", positional=True)


@method("metric", "depth_error")
@dataclass(frozen=True)
class DepthError:
    """Lower is better, and it has no unit."""

    role: ClassVar[str] = "quality"
    better: ClassVar[str] = "lower"
    unit: ClassVar[str] = ""
    source: ClassVar[str] = "predictions"


@method("metric", "psnr")
@dataclass(frozen=True)
class PSNR:
    """Higher is better, in dB."""

    role: ClassVar[str] = "quality"
    better: ClassVar[str] = "higher"
    unit: ClassVar[str] = "dB"
    source: ClassVar[str] = "predictions"


@method("criterion", "everything")
@dataclass(frozen=True)
class Everything:
    """A setting of each type."""

    unit: ClassVar[str] = "filter"
    needs: ClassVar[tuple[str, ...]] = ()

    number: Any = setting(0.5, type="number", low=0, high=1, open_low=True, ramp=True)
    integer: int = setting(1, type="integer", low=1)
    boolean: bool = setting(False, type="boolean")
    text: str = setting("", type="text")
    word: str = setting("a", type="word", choices=("a", "b"))
    duration: Any = setting(None, type="duration")
    time: Any = setting(None, type="time")
    size: Any = setting(None, type="bytes")
    numbers: tuple[float, ...] = setting((), type="numbers")
    inner: Any = setting(None, type="method", kind="criterion")
    rest: tuple[tuple[str, Any], ...] = setting((), type="any", extra=True)

    def __post_init__(self) -> None:
        if self.integer == 13:
            raise SettingError("integer", "13 brings bad luck", "write 12")
        if self.text == "x" and self.word == "b":
            raise SettingError("word", "`x` wants `a`")


MADE = {
    ("loss", "hint"): Hint,
    ("metric", "depth_error"): DepthError,
    ("metric", "psnr"): PSNR,
    ("criterion", "everything"): Everything,
}


@pytest.fixture(autouse=True)
def methods(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The catalogue with the methods of this file in it."""
    real_names, real_find = catalogue.names, catalogue.find

    def names(kind: str) -> tuple[str, ...]:
        return tuple(sorted({*real_names(kind), *(name for k, name in MADE if k == kind)}))

    for place in ("recipelang.catalogue", "recipelang.meaning.values"):
        monkeypatch.setattr(f"{place}.names", names)
    monkeypatch.setattr(catalogue, "find", lambda kind, name: MADE.get((kind, name)) or real_find(kind, name))
    yield


def operation(text: str) -> Any:
    return step(text).operation


def refused(text: str) -> list[tuple[str, str, str]]:
    with pytest.raises(RecipeError) as caught:
        check(parse(text))
    return [(d.code, text[d.span.start : d.span.end] if d.span else "", d.message) for d in caught.value.diagnostics]


def everything(settings: str) -> Any:
    return operation(f"prune 1 layers by everything({settings})").criterion


@pytest.mark.parametrize(
    ("written", "name", "value"),
    [
        ("number=50%", "number", 0.5),
        ("number=1e-3", "number", 0.001),
        ("integer=5K", "integer", 5000),
        ("boolean=true", "boolean", True),
        ('text="a b"', "text", "a b"),
        ("word=b", "word", "b"),
        ("duration=2 epochs", "duration", Duration(2, "epochs")),
        ("duration=500 steps", "duration", Duration(500, "steps")),
        ("time=12ms", "time", 0.012),
        ("size=10MB", "size", 10_000_000),
        ("numbers=[10, 20%, 0.5]", "numbers", (10.0, 0.2, 0.5)),
        ("inner=magnitude(p=2)", "inner", None),
        (
            'depth=3, name="x", flag=true, list=[1, a]',
            "rest",
            (("depth", 3), ("name", "x"), ("flag", True), ("list", (1, "a"))),
        ),
    ],
)
def test_settings_of_every_type(written: str, name: str, value: Any) -> None:
    got = getattr(everything(written), name)
    assert got == value if name != "inner" else (got.name, got.p) == ("magnitude", 2)
    assert type(got) is type(value) or name == "inner"


def test_a_ramp_is_accepted_where_it_may_be() -> None:
    assert everything("number=linear(1, to=0)").number.name == "linear"


@pytest.mark.parametrize(
    ("written", "code", "blamed"),
    [
        ("number=0", "RCP0303", "0"),
        ("number=1.5", "RCP0303", "1.5"),
        ("number=12ms", "RCP0302", "12ms"),
        ('number="a"', "RCP0301", '"a"'),
        ("integer=1.5", "RCP0301", "1.5"),
        ("integer=0", "RCP0303", "0"),
        ("integer=3 epochs", "RCP0302", "3 epochs"),
        ("integer=13", "RCP0307", "13"),
        ("boolean=1", "RCP0302", "1"),
        ("boolean=yes", "RCP0301", "yes"),
        ("text=a", "RCP0301", "a"),
        ("word=c", "RCP0301", "c"),
        ('word="a"', "RCP0301", '"a"'),
        ('text="x", word=b', "RCP0307", "b"),
        ("duration=5", "RCP0302", "5"),
        ("time=5", "RCP0302", "5"),
        ("size=5ms", "RCP0302", "5ms"),
        ("numbers=10", "RCP0302", "10"),
        ("numbers=[1, a]", "RCP0301", "a"),
        ("inner=3", "RCP0302", "3"),
        ("inner=kd", "RCP0203", "kd"),
        ("integer=cosine(1, to=0)", "RCP0308", "cosine(1, to=0)"),
        ("integer=2, integer=3", "RCP0305", "integer"),
        ("7", "RCP0306", "7"),
        ("depth=a(1)", "RCP0301", "a(1)"),
        ("depth=1, depth=2", "RCP0305", "depth"),
    ],
)
def test_settings_that_are_refused(written: str, code: str, blamed: str) -> None:
    assert [found[:2] for found in refused(f"prune 1 layers by everything({written})")] == [(code, blamed)]


def test_a_required_setting_that_is_missing() -> None:
    assert [found[:2] for found in refused("distill from healthy with hint")] == [("RCP0304", "hint")]


def test_an_incomplete_loss_gets_the_task_beside_it_and_the_plan_says_so() -> None:
    plan = check(parse('distill from healthy for 1 epochs with 0.5 * hint("layer2"), sgd'))
    step = list(steps_of(plan.nodes))[-1]
    assert step.text == 'distill from healthy for 1 epochs with 0.5 * hint("layer2") + 1 * task, sgd'
    terms: tuple[Term, ...] = step.operation.training.losses
    assert [(term.weight, term.loss.name) for term in terms] == [(0.5, "hint"), (1.0, "task")]


def test_a_complete_loss_in_the_sum_needs_no_task() -> None:
    terms = operation('distill from healthy with hint("a") + kd').training.losses
    assert [term.loss.name for term in terms] == ["hint", "kd"]


def test_weights_multiply_and_may_be_ramps() -> None:
    terms = operation("distill from healthy with 0.5 * 2 * kd + linear(1, to=0) * task").training.losses
    assert terms[0].weight == 1.0 and terms[1].weight.name == "linear"


def test_a_filter_criterion_has_no_score_for_a_weight() -> None:
    assert refused("sparsify nm 2:4 by everything")[0][::2] == (
        "RCP0413",
        "everything does not score single weights: it scores filters",
    )


def test_drop_and_rise_follow_what_is_better() -> None:
    assert refused("expect depth_error drop < 0.01") == [
        ("RCP0603", "drop", "lower is better for depth_error: a drop is an improvement")
    ]
    test = operation("expect depth_error rise < 0.01").condition
    assert (test.reading.form, test.bound, test.operator) == ("rise", 0.01, "<")


def test_levels_are_in_db() -> None:
    test = operation("expect psnr drop < 0.3dB").condition
    assert (test.reading.form, test.bound) == ("drop", 0.3)
    assert [found[:2] for found in refused("expect psnr drop < 3%")] == [("RCP0606", "3%")]
