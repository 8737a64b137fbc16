"""Where the network of a lane goes."""

from __future__ import annotations

import pytest

from recipelang.run.lanes import Lane


def test_plain_names_are_folders_as_they_are() -> None:
    assert Lane().folder == "main"
    assert Lane(path=("gentle",), seed=2, seeded=True).folder == "gentle/seed-2"
    assert Lane(path=("criterion=taylor", "n=2")).folder == "criterion=taylor,n=2"


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "", 'x="a b"', "n" * 300, "\\", "a\0b"])
def test_no_name_leaves_the_output_folder(name: str) -> None:
    folder = Lane(path=("v", name)).folder
    assert "/" not in folder and "\0" not in folder and not folder.startswith(".") and len(folder) < 120


def test_names_that_differ_only_in_what_a_folder_cannot_hold_get_folders_of_their_own() -> None:
    assert len({Lane(path=(name,)).folder for name in ("x=a/b", "x=a_b", "x=a b")}) == 3
