"""What a caller from Python reads: arguments, where the command line has options, and what can be done from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import recipelang
from recipelang.errors import Diagnostic, render, typed
from recipelang.voiced import in_python
from tests.api.program import Net


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("use `--data …`, or leave out both", "use `data=…`, or leave out both"),
        ("with --out and --store, see `x`", "with `out=…` and `store=…`, see `x`"),
        ("if you trust it, add `--trust`", "if you trust it, add `trust=True`"),
        ("choose another `--out`", "choose another `out=…`"),
        ("write `--data 'NAME(…)'`", 'write `data="NAME(…)"`'),
        ("write `--device cuda:0`, `--threads 4`", 'write `device="cuda:0"`, `threads=4`'),
        ("`--set lr=0.1`", "`sets={…}`"),
        ("`--fail-if 'top1'`, `--dataset x`, no option", "`--fail-if 'top1'`, `--dataset x`, no option"),
    ],
)
def test_options_are_arguments(said: str, expected: str) -> None:
    found = in_python(Diagnostic("RCP0001", said, None, said))
    assert (found.message, found.help) == (expected, expected)


@pytest.mark.parametrize(
    ("option", "word", "expected"),
    [
        ("--data labels.csv", "labels.csv", 'data="labels.csv"'),
        ('--data csv("x.csv")', "x.csv", "data='csv(\"x.csv\")'"),
        ("--data digits", "data", 'data="digits"'),
        ('--model given("Net")', "given", 'model=given("Net")'),
        ("--control", "--control", "control=True"),
        ("--set lr=x", "lr", "--set lr=x"),
    ],
)
def test_a_place_in_an_option_is_one_in_the_argument(option: str, word: str, expected: str) -> None:
    start = option.index(word)
    span = in_python(Diagnostic("RCP0001", "wrong", typed(option, start, start + len(word)))).span
    assert span is not None and span.typed == expected
    assert span.typed[span.start : span.end] == word.replace("--control", "control=True")
    assert (span.column, span.end_column) == (span.start + 1, span.end + 1)


def said(**given: Any) -> str:
    with pytest.raises(recipelang.RecipeError) as refused:
        recipelang.run("measure params", threads=1, **given)
    text = str(refused.value)
    assert "--" not in text.replace("-->", "") and "<command line>" not in text
    assert text.strip() == "\n\n".join(render(one, "") for one in refused.value.diagnostics)
    return text


def test_one_of_model_and_data_alone(net: Net) -> None:
    assert "help: write `data digits`, use `data=…`, or leave out both" in said(model=net)
    assert "help: write `model resnet20`, use `model=…`, or leave out both" in said(data="digits")


def test_numbers_of_classes_of_a_network_of_the_program(net: Net) -> None:
    """There is no `classes=` that a program could write; what the help says is then done, both ways."""
    text = said(model=net, data="digits")
    assert "RCP0708" in text and "classes=" not in text
    assert "`net.fc = torch.nn.Linear(net.fc.in_features, 10)`" in text and "a function that builds it" in text
    net.head = nn.Linear(net.head.in_features, 10)
    assert recipelang.run("measure params", model=net, data="digits", threads=1).metrics
    assert recipelang.run("measure params", model=Net, data="digits", threads=1).metrics
    single = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    assert "RCP0713" in (text := said(model=single, data="digits")) and "classes=" not in text


def test_names_of_classes_of_data_of_the_program(net: Net) -> None:
    class Named(list):  # type: ignore[type-arg]
        classes = ("dark", "bright")

    images = torch.rand(40, 1, 8, 8)
    text = said(model=net, data=Named((images[k], k % 3) for k in range(40)))
    assert "RCP0845" in text and """the training data's attribute `classes = ("cat", "dog")`""" in text


def test_code_needs_trust(net: Net) -> None:
    Path("net.py").write_text("def build(): ...\n")
    assert "add `trust=True`" in said(model='python("net.py:build")', data="digits")
