"""Checking and formatting take time in proportion to the text, and what multiplies is refused before it grows.

Nothing here looks at a clock: calls of functions are counted, and of twice the text there must be about twice as many.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from recipelang.check import check
from recipelang.errors import RecipeError, nearest, render
from recipelang.meaning.unfold import MOST_STATEMENTS
from recipelang.plan import steps_of
from recipelang.profile import MOST_MISTAKES, parse_profile
from recipelang.syntax.format import format
from recipelang.syntax.parse import LONGEST, MOST_ERRORS, read

pytestmark = pytest.mark.slow

HEAD = "model resnet20\ndata digits\n"
PRUNE = "prune layers by imprint until latency < 0.7"


def many(count: int, text: str, between: str = "\n") -> str:
    """The text `count` times; `@` is the number of each."""
    return between.join(text.replace("@", str(i)) for i in range(count))


SHAPES: dict[str, Callable[[int], str]] = {
    "statements": lambda n: HEAD + many(n, "train for 1 epoch"),
    "tests joined by and": lambda n: f"{HEAD}{PRUNE} and " + many(n, "latency < 0.7", " and "),
    "tests joined by or": lambda n: f"{HEAD}{PRUNE} or " + many(n, "latency < 0.7", " or "),
    "tests with other bounds": lambda n: f"{HEAD}expect " + many(n, "flops < 1@M", " and "),
    "expectations in a list": lambda n: f"{HEAD}expect " + many(n, "latency < 0.7", ", "),
    "statements that expect": lambda n: HEAD + many(n, "expect latency < 0.7"),
    "values of a sweep": lambda n: f"{HEAD}sweep k in {many(n, '1@', ', ')} {{\n  prune $k layers by taylor\n}}",
    "names in `in`": lambda n: f"{HEAD}{PRUNE} in " + many(n, '"a@"', ", "),
    "seeds": lambda n: f"{HEAD}seeds " + many(n, "@", ", "),
    "variants": lambda n: HEAD + many(n, "variant v@ {\n  prune 1 layer by imprint\n}"),
    "variants with names": lambda n: HEAD + many(n, "variant v@ {\n  keep as k@\n}"),
    "variants after names": lambda n: HEAD + many(n, "keep as k@") + "\n" + many(n, "variant v@ {\n  keep as l@\n}"),
    "variants that restrict": lambda n: (
        HEAD + many(n, "variant v@ {\n  prune 1 layer by imprint\n  sparsify nm 2:4\n}") + many(n, "\nmeasure top1")
    ),
    "choices": lambda n: HEAD + many(n, "variant v@ {\n  prune 1 layer by imprint\n}\nchoose by top1"),
    "repeats": lambda n: HEAD + many(n, "repeat 2 times {\n  prune 1 layer by imprint\n}"),
    "restrictions": lambda n: HEAD + many(n, "prune 1 layer by imprint\nsparsify nm 2:4"),
    "values": lambda n: HEAD + many(n, "let v@ = 0.@") + "\n" + many(n, "train for 1 epoch with sgd(lr=$v@)"),
    "values of values": lambda n: HEAD + "let v = 1\n" + many(n, "let v = $v"),
    "values never used": lambda n: HEAD + many(n, "let v@ = 1"),
    "settings": lambda n: 'data digits\nmodel python("net.py:build", ' + many(n, "x@=1", ", ") + ")",
    "a list": lambda n: f"{HEAD}train for {n + 2} epochs with sgd(lr=multistep(0.1, at=[{many(n, '1@', ', ')}]))",
    "terms of a sum": lambda n: f"{HEAD}train for 1 epoch with " + many(n, "task", " + "),
    "factors of a product": lambda n: f"{HEAD}train for 1 epoch with {many(n, '1', ' * ')} * task",
    "states": lambda n: HEAD + many(n, "keep as k@") + "\n" + many(n, "distill from k@ for 1 epoch"),
    "data sets": lambda n: HEAD + many(n, "data digits as d@") + "\n" + many(n, "measure top1 on d@"),
    "comments": lambda n: HEAD + many(n, "train for 1 epoch  # @"),
    "wrong verbs": lambda n: HEAD + many(n, "trian@ for 1 epoch"),
    "wrong settings": lambda n: f"{HEAD}train for 1 epoch with sgd({many(n, 'x@=1', ', ')})",
    "names not bound": lambda n: HEAD + many(n, "let v@ = 1") + "\n" + many(n, "train for 1 epoch with sgd(lr=$w@)"),
    "misspelt clauses": lambda n: HEAD + many(n, "prune 1 layer buy imprint"),
    "words side by side": lambda n: f"{HEAD}measure " + many(n, "top1", " "),
    "one long name": lambda n: f"{HEAD}train for 1 epoch with {'x' * 50 * n}",
}  # fmt: skip


def calls(work: Callable[[], Any]) -> int:
    """How many functions are called, and generators resumed, while the work is done."""
    counted = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    except RecipeError:
        pass
    finally:
        sys.setprofile(None)
    return counted


def checked(text: str) -> None:
    tree, mistakes = read(text)
    check(tree, mistakes=mistakes)


@pytest.mark.parametrize("work", (checked, format), ids=("check", "fmt"))
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_twice_the_text_takes_about_twice_the_work(shape: Callable[[int], str], work: Callable[[str], Any]) -> None:
    calls(lambda: work(shape(3)))  # what is loaded and built once
    one, two = calls(lambda: work(shape(150))), calls(lambda: work(shape(300)))
    assert two < 2.3 * one


def refused(text: str, **options: Any) -> set[str]:
    """The codes that a text is refused with."""
    with pytest.raises(RecipeError) as caught:
        tree, mistakes = read(text)
        check(tree, mistakes=mistakes, **options)
    found = caught.value.diagnostics
    assert all(len(render(d, text)) < 4000 for d in found)
    return {d.code for d in found}


DOUBLING = "let v = 1\n" + "let v = [$v, $v]\n" * 25


@pytest.mark.parametrize(
    "text",
    (
        f"{HEAD}{DOUBLING}",
        f"{HEAD}let v = 1\n" + many(19, "let v = [$v, $v]") + "\ntrain for 1 epoch with sgd(lr=$v)" * 2,
        f"{HEAD}let v = task\n" + many(40, "let v = $v + $v"),
        f"{HEAD}let v = 2\n" + many(40, "let v = $v * $v"),
        f"{HEAD}let v = [1]\n" + many(40, "let v = [$v]"),
        f"{HEAD}let v = kd\n" + many(2000, "let v = kd(T=$v)"),
        f"{HEAD}let v = \"{'x' * 60_000}\"\nsweep n in 1..900 {{\n  prune $n layers by taylor in $v, $v\n}}",
        f"{HEAD}let v = [{many(20_000, '1', ',')}]\nsweep n in 1..900 {{\n  train for 1 epoch with sgd(lr=$v)\n}}",
    ),
    ids=("unused", "used", "sums", "products", "lists", "calls", "texts", "lists in a sweep"),
)  # fmt: skip
def test_values_that_multiply_are_refused_before_they_are_put_in(text: str) -> None:
    assert "RCP0416" in refused(text)


def test_values_that_multiply_in_a_file_that_is_used() -> None:
    assert refused(f'{HEAD}use "a.rcp"\nprune 1 layer by imprint', read=lambda path: DOUBLING) == {"RCP0416"}


def test_sweeps_in_sweeps_are_refused_when_they_make_too_many_statements() -> None:
    nested = "".join(f"sweep {name} in 1..900 {{\n" for name in "abc")
    assert refused(f"{HEAD}{nested}prune 1 layer by imprint\n}}}}}}") == {"RCP0415"}


def test_as_many_statements_as_a_recipe_may_have() -> None:
    tree, _ = read(HEAD + "measure top1\n" * (MOST_STATEMENTS - 2) + "let unused = 1\n" * 1000)
    assert sum(1 for _ in steps_of(check(tree).nodes)) == MOST_STATEMENTS


def test_files_that_use_files_have_a_length_together() -> None:
    pages = {f"{i}.rcp": f'use "{i + 1}.rcp"\n' + "# " + "x" * 30_000 for i in range(12)}
    pages["12.rcp"] = "measure top1"
    assert refused(f'{HEAD}use "0.rcp"', read=pages.__getitem__) == {"RCP0211"}


@pytest.mark.parametrize(
    "text",
    (
        HEAD + "train for for\n" * 10_000,
        HEAD + "train (\n" * 10_000,
        HEAD + "train )\n" * 10_000,
        HEAD + "@ " * 90_000,
        HEAD + "}\n" * 20_000,
        HEAD + "variant v { " * 10_000,
        HEAD + "train for 9999999999999999 epochs\n" * 5_000,
        "x" * (LONGEST + 1),
        "#" + "x" * 1_000_000,
    ),
    ids=("clauses", "open", "closed", "strays", "braces", "blocks", "numbers", "a word", "a line"),
)
def test_a_text_of_nothing_but_mistakes_is_read_a_few_times_at_most(text: str) -> None:
    mistakes = read(text)[1]
    assert 1 <= len(mistakes) <= MOST_ERRORS
    assert refused(text) >= {mistakes[0].code}


def test_a_profile_of_nothing_but_mistakes(tmp_path: Any) -> None:
    for text in (
        many(20_000, "unknown@: 1"),
        "data:\n" + many(20_000, "  n@: [1]"),
        "aliases: {" + many(20_000, "a@: 1", ", ") + "}",
        "[" * 20_000,
        "# " + "x" * 1_000_000,
        "a: &a [x]\n" + many(40, "a@: &a [*a, *a]"),
    ):
        with pytest.raises(RecipeError) as caught:
            parse_profile(text, tmp_path / "recipe.yaml")
        assert 1 <= len(caught.value.diagnostics) <= MOST_MISTAKES


def test_the_nearest_of_very_many_names() -> None:
    names = [f"name{i}" for i in range(50_000)]
    assert nearest("name31415x", names) == "name31415"
    assert nearest("x" * 100_000, ["x" * 99_999]) is None
    assert calls(lambda: nearest("name31415x", names)) < 20 * len(names)
