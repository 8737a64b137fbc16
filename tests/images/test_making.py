"""Opening many files: Python's collector waits, and is afterwards as it was."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from recipelang.errors import Refusal
from recipelang.images import files
from recipelang.images.listed import Columns, open_listed
from recipelang.images.table import read_table
from recipelang.making import many_objects


@pytest.fixture(autouse=True)
def collecting() -> Iterator[None]:
    before = gc.isenabled()
    gc.enable()
    yield
    (gc.enable if before else gc.disable)()


def test_inside_nothing_is_collected() -> None:
    with many_objects():
        assert not gc.isenabled()
        with many_objects():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_what_was_off_stays_off() -> None:
    gc.disable()
    with many_objects():
        pass
    assert not gc.isenabled()


def test_a_refusal_turns_it_on_again(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="does not exist"):
        read_table(tmp_path / "nowhere.csv")
    assert gc.isenabled()


def test_a_table_of_images_is_opened_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    def look_at(*_: object) -> None:
        seen.append(gc.isenabled())
        raise Refusal("RCP0805", "seen")

    monkeypatch.setattr(files, "look_at", look_at)
    (tmp_path / "labels.csv").write_text("path,label\na.png,x\nb.png,y\n")
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    with pytest.raises(Refusal, match="seen"):
        open_listed(
            tmp_path / "labels.csv",
            None,
            Columns(),
            size=(8, 8),
            batch=2,
            split=(0.8, 0.1, 0.1),
            seed=0,
            augment=False,
            channels=3,
            bits=None,
            skip=False,
        )
    assert seen == [False] and gc.isenabled()
