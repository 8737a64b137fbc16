"""What words are where they stand; `|` marks the place."""

from __future__ import annotations

import pytest

from recipelang import catalogue, verbs
from recipelang.editor.cards import card_at, method_card, signature_at, verb_card
from recipelang.syntax.grammar import CLAUSES


def card(marked: str) -> str | None:
    found = card_at(marked.replace("|", ""), marked.index("|"))
    return found.text if found else None


@pytest.mark.parametrize(
    ("marked", "title"),
    [
        ("pru|ne layers by imprint", "**prune** (verb)"),
        ("|prune layers", "**prune** (verb)"),
        ("prune lay|ers by imprint", "**layers** (unit"),
        ("prune 1 lay|er by imprint", "**layers** (unit"),
        ("prune layers b|y imprint", "**by** (clause of `prune`)"),
        ("keep b|y imprint", "**by** (clause)"),
        ("prune layers by im|print until", "**imprint** (criterion"),
        ("prune layers by imprint\n  until lat|ency < 0.7", "**latency** (metric"),
        ("accelerate by lat|ency", "**latency** (metric"),
        ("train for 3 ep|ochs", "**epochs (unit)**"),
        ("expect latency < 12m|s", "**ms (unit)**"),
        ("train for 3 epochs with s|gd(lr=0.1)", "**sgd** (optimizer"),
        ("train for 3 epochs with sgd(l|r=0.1)", "**lr** (setting of `sgd`)"),
        ("train for 3 epochs with sgd(lr=cos|ine(1e-3, to=0))", "**cosine** (ramp"),
        ("train for 3 epochs with sgd(lr=cosine(1e-3, t|o=0))", "**to** (setting of `cosine`)"),
        ("let t = adam|(lr=1)", "**adam** (optimizer"),
        ("expect top1 dr|op < 1%", "**drop (form of a metric)**"),
        ("expect he|althy.latency < 12ms", "**healthy (state)**"),
        ("measure top1 on v|al", "**val (split)**"),
        ("model torchvision.res|net18", "**torchvision** (model"),
        ("variant a {\n  finetune for 1 epoch wi|th sgd\n}", "**with** (clause of `finetune`)"),
        ("l|et a = 1", "**let**"),
        ("prune layers by imprint until latency < 0.7 an|d size < 1MB", "**and**"),
    ],
)
def test_the_card_of_a_word_is_that_of_its_place(marked: str, title: str) -> None:
    assert (card(marked) or "").startswith(title)


@pytest.mark.parametrize("marked", ["# pru|ne", 'export pt2 to "pru|ne"', "prune  |  layers", "|", "zz|z", "€|"])
def test_nothing_is_said_of_comments_strings_blanks_and_strange_words(marked: str) -> None:
    assert card(marked) is None


def test_every_verb_and_method_has_a_card() -> None:
    for name in verbs.names():
        assert (verb_card(name) or "").startswith(f"**{name}** (verb)")
    for kind in catalogue.FOLDERS:
        for name in catalogue.names(kind):
            method = catalogue.find(kind, name)
            assert method is not None
            shown = method_card(kind, method)
            assert all(f"`{s.name}`" in shown for s in catalogue.settings(method))


def test_every_clause_of_every_verb_has_a_card() -> None:
    for name in verbs.names():
        for word in CLAUSES:
            assert (card(f"{name} |{word} x") or "").startswith(f"**{word}** (clause")


def test_the_settings_of_the_call_that_is_typed() -> None:
    text = "train for 3 epochs with sgd(lr=0.1, momentum="
    found = signature_at(text, len(text))
    assert found is not None and found.active == 1
    assert found.label == "sgd(lr=0.01, momentum=0.9, weight_decay=0.0005, nesterov=false)"
    start, end, said = found.parts[1]
    assert found.label[start:end] == "momentum=0.9" and "from 0 to 1" in said
    inner = signature_at(text + "linear(", len(text) + 7)
    assert inner is not None and inner.label.startswith("linear(") and inner.active == 0
    assert signature_at("train for 3 epochs with (", 25) is None and signature_at("prune ", 6) is None
