"""Plain lines where there is no terminal: nothing is silent for long."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from recipelang.run import progress


def test_many_short_pieces_of_work_are_told_of_like_a_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    stream = io.StringIO()
    plain = progress.Plain(stream)
    for piece in range(1, 11):
        plain.start(f"piece {piece}", 2)
        for _ in range(2):
            now[0] += 5.0
            plain.advance()
        plain.stop()
    told = [line.strip() for line in stream.getvalue().splitlines()]
    assert told == ["piece 3: 2/2", "piece 6: 2/2", "piece 9: 2/2"]


def test_what_is_said_ends_the_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    stream = io.StringIO()
    plain = progress.Plain(stream)
    plain.start("training", 4)
    now[0] = 25.0
    plain.say("a line")
    now[0] = 35.0
    plain.advance()
    assert stream.getvalue() == "a line\n"
    now[0] = 56.0
    plain.advance(note="loss 0.3")
    assert stream.getvalue().splitlines()[-1] == "    training: 2/4 loss 0.3"
