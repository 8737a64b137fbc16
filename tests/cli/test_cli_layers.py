"""`recipe layers` of networks of every task."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recipelang.cli import main


def rows(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, object]]:
    with pytest.raises(SystemExit) as left:
        main(["layers", "--json", *arguments])
    assert not left.value.code
    return {row["layer"]: row for row in json.loads(capsys.readouterr().out)["layers"]}


def test_a_network_of_another_task_needs_no_word_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(capsys, "srresnet(blocks=2, filters=4)")
    assert found["last"]["shape"] == [3, 4, 9, 9] and found["blocks.1"]["removable"] == "residual"
    grey = rows(
        capsys, "srresnet(blocks=2, filters=4)", "--data", "digit_sheets(scale=3)", "--task", "superresolution(scale=3)"
    )
    assert grey["last"]["shape"] == [1, 4, 9, 9]


def test_the_task_of_own_code_is_named_or_that_of_its_data(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = "from torch import nn\ndef build():\n"
    code += "    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.PixelShuffle(2))\n"
    (tmp_path / "net.py").write_text(code + "    net.input_shape = (1, 12, 12)\n    return net\n")
    for more in (("--data", "digit_sheets"), ("--task", "superresolution")):
        assert rows(capsys, 'python("net.py:build")', "--trust", *more)["0"]["shape"] == [4, 1, 3, 3]
    with pytest.raises(SystemExit) as left:
        main(["layers", "--trust", 'python("net.py:build")'])
    assert left.value.code and "superresolution" not in capsys.readouterr().out
