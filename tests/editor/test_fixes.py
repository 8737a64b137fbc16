"""Fixes of mistakes: what a help line offers, where it helps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recipelang.editor import fixes as module
from recipelang.editor.analysis import Analysis, analyse
from recipelang.editor.fixes import fixes
from recipelang.editor.formatting import applied

CASES = Path(__file__).parent.parent / "cases"


def look(text: str) -> Analysis:
    return analyse(text, "r.rcp")


def results(text: str, code: str = "") -> list[str]:
    """The texts after each fix of the first mistake with a code."""
    found = look(text)
    wrong = next(d for d in found.diagnostics if d.code.startswith(code))
    return [applied(text, fix.edits) for fix in fixes(found, wrong, look)]


PRUNE = "prune layers by imprint until latency < 0.7\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prune layers by imprnt until latency < 0.7", "prune layers by imprint until latency < 0.7"),
        ("prun layers by imprint until latency < 0.7", "prune layers by imprint until latency < 0.7"),
        ("prune layers by imprint untill latency < 0.7", "prune layers by imprint until latency < 0.7"),
        ("prune layers untill latency < 0.7", "prune layers until latency < 0.7"),
        ("prune layers by imprint, until latency < 0.7", "prune layers by imprint until latency < 0.7"),
        ("prune layers by imprint until latency = 0.7", "prune layers by imprint until latency < 0.7"),
        ("prune layers by imprint until latency =< 0.7", "prune layers by imprint until latency <= 0.7"),
        ("prune layers by imprint until latency > 0.7", "prune layers by imprint until latency < 0.7"),
        ("prune layers by imprint until latency drop > 30%", "prune layers by imprint until latency < 70%"),
        ("prune layers by imprint until 0.7 > latency", "prune layers by imprint until latency < 0.7"),
        ("prune layers by imprint until size < 10 megabytes", "prune layers by imprint until size < 10MB"),
        ("prune 2 layers in layer3.* by imprint", 'prune 2 layers in "layer3.*" by imprint'),
        ("prune 2 layers by imprint in layer[1].conv", 'prune 2 layers by imprint in "layer[1].conv"'),
        ('prune 2 layers by imprint in "fc", a/b', 'prune 2 layers by imprint in "fc", "a/b"'),
        ("prune 2 layers by taylor by random", "prune 2 layers by taylor"),
        ("prune 2 layers and 3 filters by taylor", "prune 2 layers, 3 filters by taylor"),
        ("train for 3 epochs with sgd(lrr=0.1)", "train for 3 epochs with sgd(lr=0.1)"),
        ("train for 3 epochs with sgd(lr: 0.1)", "train for 3 epochs with sgd(lr= 0.1)"),
        ("train for 3 epochs with sgd(lr=0.1", "train for 3 epochs with sgd(lr=0.1)"),
        ("train for 3 epochs with sgd(lr=0.1]", "train for 3 epochs with sgd(lr=0.1)"),
        ("train for 3 epochs with sgd(lr=0.1 momentum=0)", "train for 3 epochs with sgd(lr=0.1, momentum=0)"),
        ("train for 3 epochs with sgd(lr=3 epochs)", "train for 3 epochs with sgd(lr=0.01)"),
        ("train for 3 epochs with sgd(lr=.1)", "train for 3 epochs with sgd(lr=0.1)"),
        ("train for 3 epocs", "train for 3 epochs"),
        ("train for 3", "train for 3 epochs"),
        ("train 3 epochs", "train for 3 epochs"),
        ("export pt2 to 'deploy'", 'export pt2 to "deploy"'),
        ("export pt2 to deploy", 'export pt2 to "deploy"'),
        ("measure top1, latency,", "measure top1, latency"),
        ("measure top1, top1", "measure top1"),
        ("measure top1 latency", "measure top1, latency"),
        ("measure top1 }", "measure top1 "),
        ("keep as first-try", "keep as first_try"),
        ("measure top1 on val(samples=3)", "measure top1 on val"),
        (f"{PRUNE}expect top1 drop 3%", f"{PRUNE}expect top1 drop < 3%"),
        (f"{PRUNE}expect top1 drop(from=control) < 1%\nfinetune for 1 epoch", "control"),
        ("sparsify weights 90% by magnitude", "sparsify weights to 90% by magnitude"),
        ("sparsify nm 2:4\ndistill form healthy", "sparsify nm 2:4\ndistill from healthy"),
        ("sparsify nm 2:4\ndistill from healty", "sparsify nm 2:4\ndistill from healthy"),
        ("variant a {\n  prune 1 layer by imprint\n", "variant a {\n  prune 1 layer by imprint\n}\n"),
        ("let a = sgd\ntrain for 1 epoch\n", "train for 1 epoch\n"),
        (f"variant a {{\n  {PRUNE}}}\ntran for 1 epoch", f"variant a {{\n  {PRUNE}}}\ntrain for 1 epoch"),
        ("let a = sgd\ntrain for 1 epoch with $b\n", "let a = sgd\ntrain for 1 epoch with $a\n"),
    ],
)
def test_the_first_fix_is_what_was_meant(text: str, expected: str) -> None:
    offered = results(text)
    assert offered and (offered[0] == expected or (expected == "control" and "control\n" in offered[0]))


def test_a_line_moves_where_it_belongs() -> None:
    text = "sparsify nm 2:4 # first\nprune filters by taylor until flops < 0.5 # second\n"
    assert results(text, "RCP05") == ["prune filters by taylor until flops < 0.5 # second\nsparsify nm 2:4 # first\n"]


@pytest.mark.parametrize(
    "text",
    ["prune layers by $ until latency < 0.7", "prune 2 layers by latency", "repeat 3 times { }", "zzzz"],
)
def test_nothing_is_offered_where_no_reading_helps(text: str) -> None:
    assert results(text) == []


def test_in_a_long_recipe_names_are_fixed_untried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_TRIED", 10)
    text = "prune layers by imprnt until latency < 0.7\ntrain for 3 epocs\n"
    found = look(text)
    name, unit = found.diagnostics

    def never(text: str) -> Analysis:
        raise AssertionError("it is analysed again")

    assert [fix.title for fix in fixes(found, name, never)] == ["Change to `imprint`"]
    assert fixes(found, unit, never) == ()


def test_a_text_that_is_slow_to_read_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def again(text: str) -> Analysis:
        tried.append(text)
        monkeypatch.setattr("time.process_time", lambda: float("inf"))
        return look(text)

    found = look("prune 2 layers by latency")
    fixes(found, found.diagnostics[0], lambda text: tried.append(text) or look(text))  # type: ignore[func-returns-value]
    assert len(tried) > 1
    tried.clear()
    fixes(found, found.diagnostics[0], again)
    assert len(tried) == 1


def texts() -> list[str]:
    """The recipe of every case of the tests of messages."""
    parts = [
        part.split("\n", 1)[1]
        for file in (*sorted((CASES / "check").glob("*.txt")), CASES / "syntax" / "mistakes.txt")
        for part in re.split(r"(?:^|\n)=== ", file.read_text(encoding="utf-8"))[1:]
    ]
    return [re.split(r"--- ?\w*\n", part)[0] for part in parts]


def test_every_fix_of_every_known_mistake_resolves_it() -> None:
    """A third of all messages of the tests; half of them have a fix, and none of these makes matters worse."""
    found = fixed = 0
    for text in texts()[::3]:
        before = look(text)
        for wrong in before.diagnostics:
            offered = fixes(before, wrong, look)
            found, fixed = found + 1, fixed + bool(offered)
            for fix in offered:
                after = look(applied(text, fix.edits))
                same = [d for d in after.diagnostics if (d.code, d.message) == (wrong.code, wrong.message)]
                assert len(same) < sum((d.code, d.message) == (wrong.code, wrong.message) for d in before.diagnostics)
                unread = [d for d in after.diagnostics if d.code.startswith("RCP01")]
                assert len(unread) <= sum(d.code.startswith("RCP01") for d in before.diagnostics)
    assert found > 100 and fixed > 0.45 * found
