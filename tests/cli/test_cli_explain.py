"""`recipe explain` knows every word that can stand in a recipe, and an editor shows the same cards."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from recipelang import catalogue, verbs, vocabulary
from recipelang.cli import main
from recipelang.editor.cards import card_at
from recipelang.meaning.verb import SORTS
from recipelang.syntax.grammar import RESERVED, scan
from recipelang.syntax.roles import Role, roles
from recipelang.syntax.tables import tables
from recipelang.words import PHRASES, SIGNS

ROOT = Path(__file__).parents[2]
LANGUAGE = (ROOT / "docs" / "language.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```recipe\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: after these words a recipe gives a name of its own
NAMING = re.compile(r"\b(?:let|variant|sweep|as|from)\s+(\w+)|,\s*(short)\b|\b(\w+)\.(?:latency|top1|params)")
#: what only names of networks and classes are: they follow a dot or stand in `type( )`
FOREIGN = re.compile(r"\b(?:torchvision|timm)\.(\w+)|\btype\((\w+)\)")


def recipe(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return int(left.value.code or 0)


def recipes() -> Iterator[str]:
    for page in ("docs/language.md", "docs/quantization.md", "docs/kernels.md", "README.md"):
        yield from BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
    for file in sorted((ROOT / "recipes").rglob("*.rcp")):
        yield file.read_text(encoding="utf-8")
    yield from (verb.example for name in verbs.names() if (verb := verbs.find(name)))


def own_names(text: str) -> set[str]:
    """Names that the recipe, or a library, gives."""
    return {name for pattern in (NAMING, FOREIGN) for found in pattern.findall(text) for name in found if name}


def test_every_word_of_every_recipe_is_explained() -> None:
    missing = set()
    for text in recipes():
        own = own_names(text)
        for token, role in roles(text):
            if token.text.strip() and role is not Role.COMMENT and token.text not in own:
                missing |= {token.text} if vocabulary.explain(token.text) is None else set()
    assert not missing


def test_every_terminal_of_the_grammar_is_explained() -> None:
    """A word of each terminal; one that is new has no example here, and the test says so."""
    examples = {
        **{word.upper(): word for word in RESERVED},
        **{"NAME": "prune", "PARAMETER": "$tune", "STRING": '"fc"', "COMPARE": "<=", "PATTERN": "2:4", "RANGE": "0..3"},
        **{"NUMBER": "12", "_END": ";", "COMMENT": "# why", "COMMA": ",", "EQUAL": "=", "PLUS": "+", "STAR": "*"},
        **{"DOT": ".", "LPAR": "(", "RPAR": ")", "LSQB": "[", "RSQB": "]", "LBRACE": "{", "RBRACE": "}"},
    }
    for terminal in tables().terminals.keys() - {"BLANK", "RETURN"}:
        word = examples[terminal]
        assert [token.type for token in scan(word)] == [terminal]
        assert vocabulary.explain(word), terminal


def test_every_word_that_a_verb_accepts_is_explained() -> None:
    for name in verbs.names():
        verb = verbs.find(name)
        assert verb is not None
        words = {*verb.words, *(word for clause in verb.clauses for word in clause.words)}
        kinds = {*verb.accepts, *(kind for clause in verb.clauses for kind in clause.accepts)} - set(SORTS)
        assert all(vocabulary.explain(word) for word in {*words, *kinds, name}), name


def test_every_setting_and_its_values_are_explained() -> None:
    for kind in catalogue.FOLDERS:
        for name in catalogue.names(kind):
            method = catalogue.find(kind, name)
            for s in catalogue.settings(method) if method else ():
                for word in (s.name, *s.choices):
                    assert vocabulary.explain(word), (name, word)


def test_what_the_tables_of_the_manual_write_is_explained() -> None:
    rows = [line.split("|")[1] for line in LANGUAGE.splitlines() if line.startswith("| `")]
    written = [phrase for row in rows for phrase in re.findall(r"`([^`]+)`", row)]
    assert len(written) > 15
    for phrase in written:
        known = phrase.replace("pruned.", "").replace("layers.latency", "latency")  # names of that recipe
        known = re.sub(r"\b[abc]\b,?", "", known)  # values that are made up
        assert vocabulary.explain(known), phrase


@pytest.mark.parametrize(
    ("words", "says"),
    [
        *((sign, f"{sign} (sign)") for sign in SIGNS),
        *((phrase, f"{phrase} (words together)") for phrase in PHRASES),
        *(("until while", "until … while"), ("(", "( )"), ("{}", "{ }"), ("latency < 0.7", "< (sign)")),
        *(("12ms", "ms (unit)"), ("3 epochs", "epochs (unit)"), ("0.7", "number (as"), ("2:4", "pattern 2:4")),
        *(("lr", "(lr=…)"), ("standard", "`augment=standard`"), ("layer", "layers (unit"), ("type", "Linear")),
        *(
            ("torchvision.resnet18", "A classification network of"),
            ("torchvision.resnet81", None),
            ("$tune", "`let`"),
            ("0..4", "0, 1, 2, 3 and 4"),
        ),
    ],
)
def test_signs_and_several_words(words: str, says: str | None) -> None:
    told = vocabulary.explain(words)
    assert (told is None) if says is None else says in (told or "")


@pytest.mark.parametrize(
    ("words", "strange", "close"),
    [
        ("epohs", "epohs", "epochs"),
        ("batc", "batc", "batch"),
        ("latency < prnue", "prnue", "prune"),
        ("lrr", "lrr", "lr"),
    ],
)
def test_a_misspelt_word_is_named_with_the_nearest(words: str, strange: str, close: str, capsys) -> None:  # type: ignore[no-untyped-def]
    assert recipe("explain", words) == 2
    told = capsys.readouterr().err
    assert f"`{strange}` is neither" in told and f"did you mean `{close}`?" in told


def test_without_a_word_everything_is_listed_by_kind(capsys) -> None:  # type: ignore[no-untyped-def]
    assert recipe("explain") == 0
    told = capsys.readouterr().out
    for word in ("prune", "until", "healthy", "drop", "ms", "<", "ablate", "until … while", "error codes"):
        assert word in told
    assert recipe("explain", "--json") == 0
    assert set(json.loads(capsys.readouterr().out)["words"]) == vocabulary.known()


@pytest.mark.parametrize(
    ("marked", "word"),
    [
        ("expect latency |< 0.7", "<"),
        ("distill from healthy with 0.7 |* kd", "*"),
        ("sparsify nm 2|:4", "2:4"),
        ("seeds 0|..2", "0..2"),
        ("finetune for 1 epoch with $t|une", "$tune"),
        ("data digits(augment=st|andard)", "standard"),
        ("prune 1 layer by imprint except fi|rst", "first"),
    ],
)
def test_an_editor_shows_the_same_cards(marked: str, word: str) -> None:
    card = card_at(marked.replace("|", ""), marked.index("|"))
    told = vocabulary.explain(word) or ""
    assert card is not None
    assert card.text.replace("**", "").strip() == told.strip()


def test_a_data_set_of_torchvision_has_the_cards_of_torchvision() -> None:
    assert vocabulary.explain("torchvision.FashionMNIST") == vocabulary.explain("torchvision.resnet18") is not None


def test_capital_letters_are_a_misspelling(capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe("explain", "PRUNE") == 2
    assert "did you mean `prune`?" in capsys.readouterr().err
