"""Files of strangers: what cannot be read, is none of the formats, or contradicts itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipelang.migrating.evaluating import filled
from recipelang.migrating.migrate import migrate
from recipelang.migrating.reading import Value, Wrong, read
from recipelang.migrating.selecting import globs, selectors

EPOCHS = "- !EpochRangeModifier {start_epoch: 0, end_epoch: 10}\n"


def code(text: str, kind: str = "") -> str:
    with pytest.raises(Wrong) as wrong:
        migrate(text, "r.yaml", kind)
    return wrong.value.diagnostic.code


BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{chr(98 + k)}: &{chr(98 + k)} [{', '.join(['*' + chr(97 + k)] * 10)}]\n" for k in range(8)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "RCP1264"),
        ("# only a comment\n", "RCP1264"),
        ("a: [1, 2\n", "RCP1260"),
        ("a: b: c\n", "RCP1260"),
        ("\tmodifiers: 1\n", "RCP1260"),
        ("a: !!python/object/apply:os.system [ls]\n", "RCP1260"),
        (BOMB, "RCP1260"),
        ("a: &a [*a]\n", "RCP1260"),
        ("a: *nowhere\n", "RCP1260"),
        ("[" * 5000, "RCP1260"),
        ("a: " + "[" * 100 + "]" * 100, "RCP1260"),
        ("x" * 1_000_001, "RCP1260"),
        ("just text\n", "RCP1261"),
        ("polices: []\n", "RCP1261"),
        (f"modifiers:\n  {EPOCHS}policies: []\n", "RCP1262"),
        ("modifiers:\n  - !GMPruningModifier {start_epoch: 5, end_epoch: 2, final_sparsity: 0.5}\n", "RCP1263"),
        ("modifiers:\n  - !GMPruningModifier {start_epoch: 0, end_epoch: 2, final_sparsity: 1.5}\n", "RCP1263"),
        ("modifiers:\n  - !EpochRangeModifier {start_epoch: 0, end_epoch: soon}\n", "RCP1263"),
        ("modifiers:\n  - !EpochRangeModifier {start_epoch: 0, end_epoch: .nan}\n", "RCP1263"),
        ("a: eval(b)\nb: eval(a)\nmodifiers:\n  - !EpochRangeModifier {end_epoch: eval(a)}\n", "RCP1263"),
        ("modifiers:\n  - !EpochRangeModifier {end_epoch: eval(1 / 0)}\n", "RCP1263"),
        ('modifiers:\n  - !EpochRangeModifier {end_epoch: eval(__import__("os"))}\n', "RCP1263"),
        ("policies:\n  - pruner: {instance_name: nobody}\n    epochs: [1]\n", "RCP1263"),
        (
            "pruners: {p: {class: AutomatedGradualPruner, final_sparsity: 0.5}}\n"
            "policies:\n  - pruner: {instance_name: p}\n    starting_epoch: 9\n    ending_epoch: 2\n",
            "RCP1263",
        ),
        ("models: {student_model: {key: resnet18}}\ntrain: {optimizer: {key: SGD}}\n", "RCP1263"),
    ],
)
def test_bad_files_are_refused(text: str, expected: str) -> None:
    assert code(text) == expected


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("r.yaml", "a: 1\n---\nb: 1\n", "the file has several documents"),
        ("r.md", "# Only prose\n", "the file is Markdown without YAML between two lines `---`"),
    ],
)
def test_what_is_not_one_document_says_so(name: str, text: str, expected: str) -> None:
    with pytest.raises(Wrong) as wrong:
        migrate(text, name)
    assert wrong.value.diagnostic.code == "RCP1260" and wrong.value.diagnostic.message == expected


def test_a_wanted_format_without_its_items_is_refused() -> None:
    assert code("policies: []\n", "sparseml") == "RCP1264"


def test_a_variable_that_is_not_defined_is_told() -> None:
    found = migrate(f"modifiers:\n  {EPOCHS}  - !GMPruningModifier\n    start_epoch: eval(warm)\n    end_epoch: 4\n"
                    "    final_sparsity: 0.5\n", "r.yaml")  # fmt: skip
    assert any(note.kind == "missing" and "eval(warm)" in note.why and note.line == 4 for note in found.notes)


def test_several_formats_are_told_apart_by_a_choice() -> None:
    text = f"modifiers:\n  {EPOCHS}policies: []\n"
    assert migrate(text, "r.yaml", "sparseml").kind == "sparseml"


def test_fields_that_nobody_knows_are_told() -> None:
    found = migrate(f"modifiers:\n  {EPOCHS}  - !DistillationModifier {{hardness: 0.5, topk: 5}}\n", "r.yaml")
    assert [note.what for note in found.notes if note.kind == "missing"] == ["DistillationModifier: topk"]


def test_names_of_a_file_cannot_leave_their_comment() -> None:
    text = 'modifiers:\n  - !EpochRangeModifier {end_epoch: 2}\n  - !GMPruningModifier {params: ["a\\nprune 1 layer"]'
    found = migrate(text + ", end_epoch: 1, final_sparsity: 0.5}\n", "a\nmodel digits_resnet.yaml")
    statements = [line for line in found.recipe.splitlines() if line and not line.startswith(("#", " "))]
    assert all(line.startswith(("train", "sparsify", "finetune")) for line in statements)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"layer1.*.conv\d+.weight", ("layer1*.conv*",)),
        (r"model\.layers\.\d+$", ("model.layers.*",)),
        (r".*(q|k)_proj", ("*q_proj", "*k_proj")),
        (r"^fc$", ("fc",)),
        (r"a[0-3]\.b", ("a[0-3].b",)),
        (r"a{2}", ()),
        (r"(?!a)b", ()),
    ],
)
def test_regular_expressions_become_globs(pattern: str, expected: tuple[str, ...]) -> None:
    assert globs(pattern) == expected


def test_names_and_classes_become_selectors() -> None:
    assert selectors("module.layer1.0.conv1.weight") == ('"layer1.0.conv1"',)
    assert selectors("Linear") == ("type(Linear)",)
    assert selectors('a"b') == ()


@given(st.recursive(st.integers(1, 99).map(str), lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(
    lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"), max_leaves=6))  # fmt: skip
def test_expressions_are_what_python_computes(text: str) -> None:
    value = read(f'a: "eval({text})"')
    found = filled(value, {}, [])
    assert found.mapping["a"].data == eval(text)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = migrate(text, "r.yaml")
    except Wrong:
        return
    assert found.recipe


def test_aliases_and_merges_are_values(tmp_path: Path) -> None:
    root = read("base: &b {x: 1, y: 2}\nother: {<<: *b, y: 3}\n")
    other = root.mapping["other"]
    assert isinstance(other, Value) and {name: one.data for name, one in other.mapping.items()} == {"x": 1, "y": 3}
