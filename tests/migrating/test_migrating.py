"""Every fixture becomes a formatted recipe that `recipe check` accepts, and says what it does not translate."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recipelang.check import check
from recipelang.migrating.migrate import FORMATS, Migration, migrate
from recipelang.syntax.format import format as formatted
from recipelang.syntax.parse import read

FIXTURES = sorted((Path(__file__).parent / "fixtures").glob("*.yaml"))
KINDS = {"sparseml": "sparseml", "llm": "llmcompressor", "distiller": "distiller", "torchdistill": "torchdistill"}


def migrated(name: str) -> Migration:
    file = Path(__file__).parent / "fixtures" / f"{name}.yaml"
    return migrate(file.read_text(encoding="utf-8"), file.name)


def body(found: Migration) -> str:
    """The statements, one a line, without comments."""
    lines = [line.partition("  #")[0] for line in found.recipe.splitlines() if not line.startswith("#")]
    return re.sub(r"\n +", " ", "\n".join(line for line in lines if line.strip()))


@pytest.mark.parametrize("file", FIXTURES, ids=lambda file: file.stem)
def test_a_migrated_recipe_is_checked_and_formatted(file: Path) -> None:
    found = migrate(file.read_text(encoding="utf-8"), file.name)
    tree, mistakes = read(found.recipe)
    assert not mistakes and tree.body.items
    check(tree, read=lambda path: "")
    assert formatted(found.recipe) == found.recipe
    assert found.kind == KINDS[file.stem.partition("_")[0]]
    for note in found.notes:
        told = " ".join(re.sub(r"^# ( |-)? ?", "", line) for line in found.recipe.splitlines() if line.startswith("#"))
        assert note.told()[:40] in re.sub(r"\s+", " ", told)


def test_there_are_fixtures_of_every_format() -> None:
    assert {KINDS[file.stem.partition("_")[0]] for file in FIXTURES} == set(FORMATS)


def test_variables_windows_and_regular_expressions() -> None:
    assert body(migrated("sparseml_gradual")).splitlines() == [
        "train for 2 epochs with sgd(lr=0.005)",
        "sparsify weights to 90% over agp(start=5%, every=0.5 epochs) for 6 epochs with global, sgd(lr=0.005)"
        ' in "layer[12]*.conv*", "stem.conv"',
        "finetune for 4 epochs with sgd(lr=cosine(0.005, to=5e-5))",
    ]
    assert migrated("sparseml_gradual").complete


def test_items_that_differ_only_in_their_layers_are_one_statement() -> None:
    statements = body(migrated("sparseml_groups")).splitlines()
    assert statements[0].endswith('in "encoder.0.query", "encoder.0.key"')
    assert sum("to 80%" in line for line in statements) == 1
    # the law of the learning rate from epoch 1 to 10 is a line through the values that the parts have
    rates = [re.search(r"linear\(([^,]+), to=([^)]+)\)", line) for line in statements if "linear" in line]
    for rate, (start, end) in zip(rates, [(1, 6), (2, 6), (6, 8), (8, 10)], strict=True):
        assert rate is not None
        assert float(rate[1]) == pytest.approx(1e-4 * (10 - start) / 9, rel=1e-4)
        assert float(rate[2]) == pytest.approx(1e-4 * (10 - end) / 9, rel=1e-4, abs=1e-12)


def test_what_is_not_here_is_told_with_its_line_and_the_nearest() -> None:
    notes = {note.what: note for note in migrated("sparseml_groups").notes if note.kind == "missing"}
    assert notes["MFACPruningModifier"].line == 31 and "obd" in notes["MFACPruningModifier"].nearest
    assert "did you mean `GMPruningModifier`" in notes["GMPruningModfier"].why
    assert "TrainableParamsModifier" in notes
    unlike = migrate("modifiers:\n  - !FancyModifier {start_epoch: 0}\n", "r.yaml").notes[0]
    assert unlike.what == "FancyModifier" and unlike.why == "unknown" and not unlike.nearest
    assert not migrated("sparseml_groups").complete


def test_steps_of_a_schedule_are_milestones() -> None:
    steps = "train for 30 epochs with sgd(lr=multistep(0.1, factor=0.2, at=[10, 20]))"
    assert body(migrated("sparseml_steps")) == steps
    structured = body(migrated("sparseml_structured"))
    assert "lr=multistep(0.05, factor=0.8, at=[1, 2, 3])" in structured
    assert f"multistep({0.05 * 0.8**4:.6g}, factor=0.8, at=[1])" in structured
    assert structured.startswith('prune 2 layers by magnitude in "block.1", "block.3"')


def test_one_shot_stages_keep_their_order() -> None:
    assert body(migrated("llm_sparse_quantized")).splitlines() == [
        'sparsify nm 2:4 by sparsegpt(damp=0.02) in type(Linear) except "*head"',
        "quantize weights to 4 bits by minmax(per=group, group=64) with gptq(order=energy) in type(Linear)"
        ' except "lm_head"',
    ]


def test_schemes_become_grids() -> None:
    statements = body(migrated("llm_schemes")).splitlines()
    assert 'quantize weights, activations to 8 bits by dynamic in type(Linear) except "head"' in statements
    assert 'quantize weights to 4 bits by mse(form=affine) in "model.layers.[0-3].*"' in statements
    missing = [note.what for note in migrated("llm_schemes").notes if note.kind == "missing"]
    assert missing[:2] == ["SmoothQuantModifier", "QuantizationModifier"] and any("AWQ" in what for what in missing)


def test_what_check_refuses_is_a_comment() -> None:
    found = migrated("llm_wanda")
    assert body(found) == "sparsify weights to 60% by wanda"
    (note,) = (note for note in found.notes if note.kind == "missing")
    assert "60% of these weights are zero already" in note.why and note.line == 5


def test_policies_and_the_command_line_in_a_comment() -> None:
    statements = body(migrated("distiller_filters")).splitlines()
    assert statements[0].startswith(
        "prune 50% filters by magnitude(p=1) over agp(start=10%, every=2 epochs) for 20 epochs with sgd(lr=0.2)"
    )
    assert statements[1].startswith("sparsify weights to 70% over agp(start=5%, every=2 epochs) for 20 epochs")
    assert "multistep(0.2, factor=0.1, at=[5])" in statements[1]
    assert statements[-1] == "finetune for 20 epochs with sgd(lr=multistep(0.02, factor=0.1, at=[10]))"


def test_sensitivities_are_shares_of_a_normal_distribution() -> None:
    import torch

    weights = torch.randn(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shares = dict(re.findall(r"to ([\d.]+)% .*?in \"([\w.]+)\"", body(migrated("distiller_sensitivity"))))
    for share, layer in shares.items():
        factor = {"features.module.0": 0.25, "classifier.1": 0.875, "layer1.0.conv1": 0.5}[layer]
        assert float(share) == pytest.approx(100 * float((weights.abs() < factor).double().mean()), abs=0.3)
    assert len(shares) == 3


def test_a_learning_rate_policy_that_begins_late_catches_up() -> None:
    # epochs 0 to 4 have 0.1; the step at the end of epoch 4 is to 0.1 · 0.9⁵
    assert f"lr=linear(0.1, to={0.1 * 0.9**9:.6g})" in body(migrated("distiller_sensitivity"))


def test_the_weight_of_labels_becomes_that_of_the_teacher() -> None:
    assert body(migrated("torchdistill_kd")).splitlines()[-1] == (
        "distill from teacher for 40 epochs with kd(T=4, alpha=0.7), sgd(lr=multistep(0.1, factor=0.1, at=[20, 30]), "
        "momentum=0.9, weight_decay=0.0001)"
    )


def test_stages_of_hints_and_attention() -> None:
    statements = body(migrated("torchdistill_stages")).splitlines()
    assert statements[2] == 'data folder("~/photos", size=192, batch=32)'
    assert 'fitnet(student="layer1", teacher="layer1") + 0 * task, adam(lr=multistep(0.001' in statements[3]
    assert 'task + 1000 * at(beta=1, student="layer3, layer4", teacher="layer3, layer4")' in statements[4]
    assert "0.8 * crd(beta=1)" in statements[4] and migrated("torchdistill_stages").complete


def test_a_stage_that_trains_no_student_is_told_and_losses_with_parts_are_translated() -> None:
    found = migrated("torchdistill_factors")
    teacher, last = body(found).splitlines()[1::2]
    assert teacher == 'model torchvision.resnet34(weights="./photos-teacher.pt") as teacher'
    assert last == (
        "distill from teacher for 9 epochs with task + 1000 * ft(beta=1) + relational(distances=1, angles=2, "
        'student="layer4", teacher="layer4") + 0.8 * crd(beta=1, negatives=512, temperature=0.1, width=64), '
        "sgd(lr=0.1, momentum=0.9, weight_decay=0.0001)"
    )
    told = {note.what for note in found.notes if note.kind == "differs"}
    assert {"student: requires_grad", "FTLoss: p", "RKDLoss"} <= told and found.complete


def test_markdown_with_a_recipe_in_its_front_matter() -> None:
    inside = (Path(__file__).parent / "fixtures" / "sparseml_gradual.yaml").read_text(encoding="utf-8")
    found = migrate(f"<!--\n---- a licence\n-->\n\n---\n{inside}\n---\n# A card\n- a: b: c\n", "recipe.md")
    assert body(found) == body(migrated("sparseml_gradual"))
    lines = {note.line for note in migrated("sparseml_gradual").notes if note.line}
    assert {note.line for note in found.notes if note.line} == {line + 5 for line in lines}


def test_keys_of_the_first_versions_are_read() -> None:
    statements = body(migrated("torchdistill_old")).splitlines()
    assert statements[0] == 'model torchvision.mobilenet_v2(weights="DEFAULT", classes=12)'
    assert statements[-1] == (
        'distill from teacher for 12 epochs with 0.5 * task + 3000 * sp(gamma=1) except "features.0"'
    )
