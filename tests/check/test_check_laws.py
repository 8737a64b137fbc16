"""Laws of checking, over recipes that are put together and broken at random."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from recipelang.check import check
from recipelang.errors import RecipeError
from recipelang.plan import canonical, steps_of
from recipelang.syntax.parse import parse

CRITERIA = st.sampled_from(["taylor", "magnitude", "magnitude(p=2)", "random", "imprint(embedding=64)"])
TRAINED = st.sampled_from(
    ["", " for 2 epochs", " for 50 steps with sgd(lr=linear(1e-2, to=0))", " for 3 epochs with adamw"]
)
SURGERY = st.one_of(
    st.builds("prune {} layers by {}{}".format, st.integers(1, 5), CRITERIA, TRAINED),
    st.builds(
        "prune layers by {} until {} < {}%".format, CRITERIA, st.sampled_from(["latency", "flops"]), st.integers(1, 99)
    ),
    st.builds("prune {}% layers by {} while top1 drop < 2%".format, st.integers(1, 99), CRITERIA),
    st.builds("sparsify nm {}:8".format, st.integers(1, 7)),
)
TRAINING = st.sampled_from(
    [
        *("finetune for 2 epochs", "train for 1 epochs with adam(lr=1e-3)", "distill from healthy", "recalibrate"),
        *("distill from healthy for 3 epochs with 0.5 * kd(T=2) + 0.5 * task", "train from scratch for 1 epochs"),
    ]
)
OUTCOME = st.sampled_from(
    [
        "measure top1, latency(batch=8)",
        "expect top1 drop < 1% and size < 10MB",
        "export pt2",
        "report html",
        "keep as a",
    ]
)
LINEAR = st.lists(st.one_of(SURGERY, TRAINING, OUTCOME), min_size=1, max_size=6).filter(
    lambda lines: max(lines.count(line) for line in ("keep as a", "export pt2")) < 2
)
WORDS = st.sampled_from(
    [
        *("prune", "layers", "by", "until", "while", "latency", "<", "0.7", "top1", "drop", "1%", "{", "}", "$n", "in"),
        *("sweep", "n", "1..3", "variant", "repeat", "3 times", "sparsify", "nm", "2:4", "with", "kd(T=4)", "+", "*"),
        *(
            "sgd(lr=cosine(1, to=0))",
            "from",
            "healthy",
            "recovered",
            ",",
            "choose",
            "first",
            "control",
            "seeds",
            "\n",
            "as",
        ),
        *(
            '"fc"',
            "except",
            "for",
            "3 epochs",
            "on",
            "test",
            "expect",
            "and",
            "or",
            "model",
            "data",
            "let",
            "=",
            "over",
        ),
        *(
            "accelerate",
            "keep",
            "no",
            "recovery",
            "use",
            "measure",
            "size",
            "10MB",
            "(",
            ")",
            "a.latency",
            "12ms",
            "task",
        ),
    ]
)


@given(LINEAR)
@settings(max_examples=60)
def test_the_texts_of_a_plan_are_a_recipe_with_the_same_plan(lines: list[str]) -> None:
    plan = check(parse("\n".join(lines)))
    again = check(parse("\n".join(step.text for step in steps_of(plan.nodes))))
    assert [canonical(s.operation) for s in steps_of(again.nodes)] == [
        canonical(s.operation) for s in steps_of(plan.nodes)
    ]
    assert [s.text for s in steps_of(again.nodes)] == [s.text for s in steps_of(plan.nodes)]


@given(LINEAR, st.integers(0, 5), st.integers(1, 3))
@settings(max_examples=30)
def test_a_sweep_over_one_value_is_the_recipe_with_that_value(lines: list[str], at: int, n: int) -> None:
    at = min(at, len(lines))
    body = [*lines[:at], f"prune {n} layers by random", *lines[at:]]
    swept = "\n".join(["sweep n in " + str(n) + " {", *body, "}"]).replace(
        f"prune {n} layers by random", "prune $n layers by random"
    )
    straight = [s for s in steps_of(check(parse("\n".join(body))).nodes) if not s.implied]
    assert [s.text for s in steps_of(check(parse(swept)).nodes) if not s.implied] == [s.text for s in straight]


@given(st.lists(WORDS, max_size=40).map(" ".join))
@settings(max_examples=300)
def test_any_words_are_a_plan_or_diagnostics_in_order(text: str) -> None:
    try:
        check(parse(text))
    except RecipeError as error:
        starts = [d.span.start for d in error.diagnostics if d.span]
        assert error.diagnostics and starts == sorted(starts)
        assert all(
            d.message and d.code.startswith("RCP") and (d.span is None or d.span.end <= len(text))
            for d in error.diagnostics
        )


@given(LINEAR, st.data())
@settings(max_examples=150)
def test_a_broken_recipe_never_breaks_the_checker(lines: list[str], data: st.DataObject) -> None:
    words = "\n".join(lines).split(" ")
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(words) - 1))
        words[at : at + data.draw(st.integers(0, 1))] = [data.draw(WORDS)]
    try:
        check(parse(" ".join(words)))
    except RecipeError as error:
        assert error.diagnostics
