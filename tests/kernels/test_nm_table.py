"""Measured times on disk: read again, never trusted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recipelang.kernels.nm.table import Table
from recipelang.kernels.nm.trials import Trial

ABOUT = {"device": "Test GPU", "version": 1}


def test_a_table_is_read_by_the_next_process(tmp_path: Path) -> None:
    found = [Trial("dense", {}, 1e-6), Trial("mma.sp", {"TN": 2}, None, "it failed: x")]
    Table(tmp_path / "t.json", ABOUT).keep("key", found)
    assert Table(tmp_path / "t.json", ABOUT).find("key") == tuple(found)
    assert Table(tmp_path / "t.json", ABOUT).find("other") is None


def test_two_processes_keep_both_their_findings(tmp_path: Path) -> None:
    first, second = (Table(tmp_path / "t.json", ABOUT) for _ in range(2))
    assert first.find("a") is second.find("b") is None
    first.keep("a", [Trial("dense", {}, 1.0)])
    second.keep("b", [Trial("dense", {}, 2.0)])
    together = Table(tmp_path / "t.json", ABOUT)
    assert together.find("a") and together.find("b")


def test_times_of_another_device_or_version_are_not_read(tmp_path: Path) -> None:
    Table(tmp_path / "t.json", ABOUT).keep("key", [Trial("dense", {}, 1.0)])
    assert Table(tmp_path / "t.json", ABOUT | {"version": 2}).find("key") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"about": 1}',
        '{"entries": {}}',
        "\x00",
        json.dumps({"about": ABOUT, "entries": {"key": [{"kernel": "x"}]}}),
        json.dumps({"about": ABOUT, "entries": {"key": 3}}),
        "[" * 100_000,
    ],
)
def test_a_damaged_table_is_measured_again(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(text)
    table = Table(path, ABOUT)
    assert table.find("key") is None
    table.keep("key", [Trial("dense", {}, 1.0)])
    assert Table(path, ABOUT).find("key") == (Trial("dense", {}, 1.0),)


def test_a_table_that_cannot_be_written_is_kept_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    table = Table(tmp_path / "file" / "t.json", ABOUT)
    table.keep("key", [Trial("dense", {}, 1.0)])
    assert table.find("key") == (Trial("dense", {}, 1.0),)
