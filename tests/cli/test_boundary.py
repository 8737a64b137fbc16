"""Every way in which a command can end has an exit code and a message; none is a traceback."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from recipelang.commands.boundary import coloured, guarded
from recipelang.errors import Diagnostic, RecipeError, Refusal, Span, StepFailed

SPAN = Span(6, 12, 1, 7, 1, 13)


def raising(error: BaseException) -> Callable[[], int]:
    def work() -> int:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (RecipeError([Diagnostic("RCP0201", "no such word", SPAN, "write `layers`")], "prune layerz"), 1, "RCP0201"),
        (StepFailed([Diagnostic("RCP0904", "out of reach", SPAN)], "prune layers"), 3, "out of reach"),
        (Refusal("RCP0801", "no such folder", "check the path"), 3, "help: check the path"),
        (click.UsageError("no such option"), 2, "no such option"),
        (KeyboardInterrupt(), 130, "recipe run a.rcp --out 'my runs'"),
        (OSError(errno.ENOSPC, "No space left on device", "out/x"), 3, "the disk is full at `out/x`"),
        (OSError(errno.EROFS, "Read-only file system", "out"), 3, "does not allow access at `out`"),
        (PermissionError(errno.EACCES, "Permission denied", "out"), 3, "RCP1207"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x"), 3, "RCP1209"),
        (MemoryError(), 3, "RCP1208"),
    ],
)
def test_an_error_becomes_a_message_and_a_code(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(raising(error), "recipe run a.rcp --out 'my runs'") == code
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""
    assert "Traceback" not in captured.err


def test_links_in_a_circle_are_the_machines_trouble(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "loop").symlink_to("loop")

    def follow() -> None:
        (tmp_path / "loop").resolve()
        (tmp_path / "loop").stat()  # where `resolve` does not mind

    assert guarded(follow, "recipe run a.rcp --out loop") == 3
    assert "RCP1209" in (said := capsys.readouterr().err) and "loop`: Too many levels of symbolic links" in said


def test_a_mistake_is_shown_under_its_word(capsys: pytest.CaptureFixture[str]) -> None:
    mistake = Diagnostic("RCP0401", "prune removes no `layerz`", SPAN, "write `layers`", "a.rcp")
    assert guarded(raising(RecipeError([mistake], "prune layerz")), "recipe check a.rcp") == 1
    assert " | prune layerz\n" in (shown := capsys.readouterr().err)
    assert " |       ^^^^^^\n" in shown


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (4, 4), (5, 5)])
def test_a_command_says_how_it_went(result: int | None, code: int) -> None:
    assert guarded(lambda: result, "recipe") == code


def test_a_bug_is_owned_up_to_and_its_traceback_kept(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert guarded(raising(KeyError("layer1")), "recipe run a.rcp") == 70
    said = capsys.readouterr().err
    assert "this is a bug in recipelang" in said
    assert "Traceback" not in said
    (kept,) = tmp_path.iterdir()
    assert str(kept) in said
    assert re.match(r"recipe run a\.rcp\n\nTraceback(.|\n)*KeyError: 'layer1'", kept.read_text())


def test_a_reader_that_goes_away_is_no_error() -> None:
    script = (
        "import sys\nfrom recipelang.commands.boundary import guarded\n"
        "def work():\n    while True: print('x' * 1000)\n"
        "sys.exit(guarded(work, 'recipe list'))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stderr
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    terminal, pipe = Terminal(), open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert coloured(terminal)  # type: ignore[arg-type]
    assert not coloured(pipe)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not coloured(terminal)  # type: ignore[arg-type]
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not coloured(terminal)  # type: ignore[arg-type]
    pipe.close()
