"""`recipe migrate` on the command line: where the recipe goes, what is told, and the exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipelang.cli import main

FIXTURES = Path(__file__).parent.parent / "migrating" / "fixtures"


def ran(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["migrate", *arguments])
    return int(end.value.code or 0)


def test_a_complete_translation_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(str(FIXTURES / "sparseml_gradual.yaml")) == 0
    told = capsys.readouterr()
    assert told.out.startswith("# Migrated from sparseml_gradual.yaml (SparseML)")
    assert "to fill in" in told.err and "not translated" not in told.err


def test_a_partial_one_ends_with_5_and_lists_lines(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file, out = FIXTURES / "sparseml_groups.yaml", tmp_path / "new" / "r.rcp"
    assert ran(str(file), "-o", str(out)) == 5
    told = capsys.readouterr()
    assert f"{file}:31: not translated: `MFACPruningModifier`" in told.err and told.out.strip() == str(out)
    assert ran(str(file), "-o", str(out)) == 2
    assert "RCP1205" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        main(["check", str(out)])
    assert not end.value.code


def test_a_file_that_is_none_of_them_ends_with_1_under_its_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("modifiers:\n  - !GMPruningModifier {start_epoch: 5, end_epoch: 2}\n")
    assert ran(str(file)) == 1
    told = capsys.readouterr().err
    assert "RCP1263" in told and "r.yaml:2:5" in told and "^^^" in told
    assert ran(str(tmp_path / "absent.yaml")) == 2
