"""The package contains what the repository contains: folders, data files, one version."""

from __future__ import annotations

import fnmatch
import tomllib
from pathlib import Path

import pytest

import recipelang

ROOT = Path(__file__).parent.parent
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TOOL = CONFIG["tool"]["setuptools"]
DATA_FOLDERS = {"recipelang.grammar": "grammar", "recipelang.recipes": "recipes", "recipelang.reports": "reports"}


def test_the_package_list_is_the_folders() -> None:
    own = {".".join(file.parent.relative_to(ROOT).parts) for file in (ROOT / "recipelang").rglob("__init__.py")}
    assert set(TOOL["packages"]) == own | set(DATA_FOLDERS)
    assert TOOL["packages"] == sorted(TOOL["packages"])


def test_every_folder_with_python_is_a_package() -> None:
    folders = {file.parent for file in (ROOT / "recipelang").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_the_data_folders_are_mapped() -> None:
    assert TOOL["package-dir"] == {"recipelang": "recipelang", **DATA_FOLDERS}


@pytest.mark.parametrize("package", ["recipelang", *DATA_FOLDERS])
def test_every_data_file_is_packaged(package: str) -> None:
    folder = ROOT / DATA_FOLDERS.get(package, package)
    globs = TOOL["package-data"][package]
    left_out = [
        str(file.relative_to(folder))
        for file in folder.rglob("*")
        if file.is_file()
        and file.suffix not in {".py", ".pyc"}
        and not any(fnmatch.fnmatch(str(file.relative_to(folder)), glob.replace("**/", "*")) for glob in globs)
    ]
    assert left_out == []


def test_data_folders_hold_no_code_but_what_recipes_name() -> None:
    """As `python("transformer.py:Transformer")`: the networks of recipes are data here."""
    for folder in DATA_FOLDERS.values():
        for file in (ROOT / folder).rglob("*.py"):
            beside = [one.read_text(encoding="utf-8") for one in file.parent.glob("*.rcp")]
            named = any(f'python("{file.name}:' in recipe for recipe in beside)
            assert named or file == ROOT / folder / "__init__.py", file
        assert (ROOT / folder / "__init__.py").exists(), "without it an editable install does not find the folder"


def test_there_is_one_version() -> None:
    assert TOOL["dynamic"]["version"] == {"attr": "recipelang.__version__"}
    assert f"## {recipelang.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
