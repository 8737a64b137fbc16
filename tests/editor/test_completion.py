"""What may be typed where; `|` marks the place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipelang import catalogue, verbs
from recipelang.check import check
from recipelang.editor.completion import Choices, card_of, choices_at
from recipelang.errors import RecipeError
from recipelang.syntax.grammar import scan
from recipelang.syntax.parse import read

RECIPES = sorted((Path(__file__).parent.parent.parent / "recipes").rglob("*.rcp"))
SWEEP = "sweep lr in 1e-2, 1e-3 {\n  train for 1 epoch with sgd(lr=|)\n}"


def offered(marked: str) -> Choices:
    return choices_at(
        marked.replace("|", ""),
        marked.index("|"),
        modules=lambda: [("conv1", "Conv2d"), ("layer1.0", "BasicBlock")],
        files=lambda: ["base.rcp"],
    )


def labels(marked: str, *sorts: str) -> list[str]:
    return [c.label for c in offered(marked).items if not sorts or c.sort in sorts]


@pytest.mark.parametrize(
    ("marked", "some", "none"),
    [
        ("|", "prune let variant", "by layers"),
        ("prune layers by imprint\n|", "finetune until while", "by from"),
        ("prune layers by imprint;|", "finetune", "until"),
        ("variant a {\n  |\n}", "prune keep", "by"),
        ("variant a { keep as x }\n|", "choose", "by until"),
        ("prune |", "layers filters by", "sgd from"),
        ("prune 2 |", "layers filters %", "layer imprint"),
        ("prune 1 |", "layer filter", "layers"),
        ("prune layers |", "by until except", "to filters"),
        ("prune layers by imp|", "imprint taylor magnitude", "sgd by layers"),
        ("prune layers by imprint by|", "until", "by"),
        ("prune layers by imprint until |", "latency top1 healthy", "sgd until"),
        ("prune layers by imprint until top1 |", "drop", "rise sgd"),
        ("prune layers by imprint until loss |", "rise", "drop"),
        ("prune layers by imprint until latency |", "while", "drop rise"),
        ("prune layers by imprint until latency < 12|", "ms s %", "MB epochs"),
        ("prune layers by imprint until size < 12|", "MB %", "ms"),
        ("prune layers by imprint until latency < 0.7 |", "and or while", "until latency"),
        ("train for 3 |", "epochs steps", "rounds bits"),
        ("train for 1 |", "epoch step", "epochs"),
        ("prune filters by taylor over 5 |", "rounds", "epochs"),
        ("quantize weights to 8 |", "bits", "epochs"),
        ("train for 3 epochs with |", "sgd adam task slimming", "imprint resnet20"),
        ("train for 3 epochs with sgd(|", "lr momentum", "sgd"),
        ("train for 3 epochs with sgd(lr=0.1, |", "momentum", "lr"),
        ("train for 3 epochs with sgd(lr=|", "cosine linear", "sgd lr momentum"),
        ("train for 3 epochs with sgd(nesterov=|", "true false", "cosine"),
        ("prune layers by imprint(similarity=|", "cosine distance inner", "true"),
        ("measure latency(runtime=|", "onnxruntime torch", "sgd"),
        ("expect top1 drop(|", "from", "lr"),
        ("expect top1 drop(from=|", "healthy control", "recovered"),
        ("train from |", "scratch", "healthy"),
        ("accelerate by |", "latency memory", "top1"),
        ("no |", "recovery", "prune"),
        ("choose |", "first by", "prune"),
        ("let t = |", "sgd imprint resnet20", "prune"),
        ("let |", "", "sgd prune"),
        ("keep as |", "", "healthy prune"),
        ("model |", "resnet20 torchvision", "digits"),
        ("model torchvision.|", "resnet18", "resnet20 latency"),
        ("data |", "digits folder", "resnet20"),
        ("measure top1 on |", "train val test", "healthy"),
        ("data digits as more\nmeasure top1 on |", "more val", "healthy"),
        ("keep as a\ndistill from |", "healthy a", "recovered sgd"),
        ("sparsify nm 2:4\ndistill from |", "healthy recovered", ""),
        ("distill from |\nkeep as a", "healthy", "a"),
        ("keep as a\nexpect a.|", "latency top1", "a"),
        ("variant a { keep as x }\nexpect |", "a latency", "x"),
        ("repeat 2 times { keep as x }\ndistill from |", "x", ""),
        ("variant a {\n  keep as x\n  start from |\n}", "x", "a"),
        ("let a = sgd\ntrain for 1 epoch with $|", "$a sgd", ""),
        ("train for 1 epoch with $|\nlet a = sgd", "", "$a"),
        (SWEEP, "$lr cosine", "lr"),
        ("variant a { let b = 1 }\ntrain for 1 epoch with |", "sgd", "$b"),
        ("prune layers by imprint in |", "first last type", "conv1"),
        ("prune layers by imprint in type(|", "Conv2d BasicBlock", "conv1"),
        ('prune layers by imprint in "|', "conv1 layer1.0", "first"),
        ('prune layers by imprint in "la|"', "layer1.0", ""),
        ("let a = 1\nlet b = |", "$a", "$b"),
        ("sweep a in 1, |", "", "$a"),
        ("sweep a in 1, 2 { prune |", "$a", ""),
        ('use "|', "base.rcp", "conv1"),
        ('export pt2 to "|', "", "base.rcp conv1"),
        ("# prune |", "", "layers"),
        ("prune layers by imprint # |", "", "until"),
    ],
)
def test_what_fits_is_offered_and_nothing_else(marked: str, some: str, none: str) -> None:
    found = labels(marked)
    assert set(some.split()) <= set(found), found
    assert not set(none.split()) & set(found), found
    assert len(found) == len(set(found))


def test_what_is_typed_is_replaced_up_to_its_end() -> None:
    found = offered("prune layers by im|pri until latency < 0.7")
    assert (found.start, found.end) == (16, 21)
    unit = offered("expect latency < 12m|")
    assert (unit.start, unit.end) == (19, 20)
    (epochs,) = [c for c in offered("train for 3|").items if c.label == "epochs"]
    assert epochs.insert == " epochs"
    (quoted,) = [c for c in offered('prune layers in "co|').items if c.label == "conv1"]
    assert quoted.insert == 'conv1"'


def test_what_the_statement_would_refuse_comes_last_with_the_reason() -> None:
    items = offered("train for 3 epochs with |").items
    wrong = [c for c in items if c.wrong]
    assert {"kd", "mis"} <= {c.label for c in wrong} and "compares with a teacher" in wrong[0].wrong
    assert items[-len(wrong) :] == tuple(wrong)
    ranking = {c.label: c.wrong for c in offered("prune filters by |").items}
    assert "does not rank filters" in ranking["imprint"] and not ranking["taylor"]
    task = {c.label: c.wrong for c in offered("prune layers by taylor until |\ntask superresolution(scale=2)").items}
    assert "task" in task["top1"] and not task["psnr"] and not task["latency"]


def test_in_a_very_long_statement_nothing_is_tried() -> None:
    text = "prune layers by imprint until " + "latency < 0.7 and " * 500
    assert "latency" in labels(text + "|") and not any(c.wrong for c in offered(text + "|").items)


def swept(text: str, line: int) -> bool:
    """Whether a line lists the values of a sweep, which may be words of any setting."""
    return text.split("\n")[line - 1].lstrip().startswith("sweep")


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_every_word_of_every_recipe_was_offered_where_it_stands(file: Path) -> None:
    """Verbs, clauses, methods, settings and names: typed one after another, each was among the choices."""
    text = file.read_text(encoding="utf-8")
    recipe, _ = read(text)
    missing = []
    words = [word for word in scan(text) if word.type != "COMMENT"]
    ahead = [*words[1:], words[-1]]
    for before, word, after in zip([words[-1], *words], words, ahead, strict=False):
        named = (
            before.type in ("LET", "AS") or before.text in ("variant", "sweep", ".", "type") or swept(text, word.line)
        )
        if word.type == "NAME" and not named and not (before.text == "(" and after.text == ")"):
            found = [c.label for c in choices_at(text[: word.start], word.start).items]
            if word.text not in found and not (before.text == "," and after.text == "="):
                missing.append(f"{word.line}:{word.text}")
    assert recipe.body.items and missing == []


@pytest.mark.parametrize("name", verbs.names())
def test_every_method_that_is_offered_without_a_reason_is_accepted(name: str) -> None:
    verb = verbs.find(name)
    assert verb is not None
    if verb.block:
        return
    for word in ("", *(clause.word for clause in verb.clauses)):
        typed = f"{name} {word} "
        for choice in choices_at(typed, len(typed)).items:
            if choice.sort != "method" or choice.wrong:
                continue
            try:
                check(read(typed + choice.label)[0])
            except RecipeError as error:
                assert not [d for d in error.diagnostics if d.code in ("RCP0202", "RCP0203", "RCP0413", "RCP0437")]


def test_every_choice_of_a_verb_method_clause_or_setting_has_a_card() -> None:
    for marked in ("|", "prune |", "prune layers by |", "prune 1 |", "train for 1 epoch with sgd(|", "distill from |"):
        assert all(card_of(choice) for choice in offered(marked).items)


@given(st.text(st.sampled_from('prune layers by sgd(=,.$"{}[]#\n\r 12m%é😀'), max_size=40), st.integers(0, 40))
def test_no_text_is_too_strange(text: str, offset: int) -> None:
    found = choices_at(text, min(offset, len(text)))
    assert 0 <= found.start <= found.end <= len(text)
    assert set(catalogue.FOLDERS) >= {c.owner for c in found.items if c.sort == "method"}
