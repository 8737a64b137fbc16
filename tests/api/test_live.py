"""The bar in a cell."""

from __future__ import annotations

from typing import Any

import pytest

from recipelang.api import live


class Handle:
    """What IPython gives for a display that can be drawn again."""

    def __init__(self, drawn: list[dict[str, str]]) -> None:
        self.drawn = drawn

    def update(self, content: dict[str, str], raw: bool) -> None:
        assert raw
        self.drawn.append(content)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """Everything that is drawn, one after another; the clock moves by half a redraw with every look at it."""
    found: list[dict[str, str]] = []

    def display(content: dict[str, str], **how: Any) -> Handle:
        assert how == {"raw": True, "display_id": True}
        found.append(content)
        return Handle(found)

    now = iter(range(10_000))
    monkeypatch.setattr(live, "display", display)
    monkeypatch.setattr(live.Live, "every", 2)
    monkeypatch.setattr(live.time, "monotonic", lambda: next(now))
    return found


def test_one_display_shows_one_piece_of_work_after_another(drawn: list[dict[str, str]]) -> None:
    bar = live.Live()
    bar.start("training", 4)
    for _ in range(4):
        bar.advance(1, "loss 0.5")
    bar.start("measuring")
    bar.advance()
    bar.advance()
    bar.stop()
    bar.stop()
    assert [content["text/plain"] for content in drawn] == [
        "training 0 %",
        "training 50 % loss 0.5",
        "training 100 % loss 0.5",
        "measuring",
        "measuring 2 so far",
        "",
    ]
    assert drawn[1]["text/html"].startswith('<progress value="2" max="4" aria-label="training"></progress> training')
    assert drawn[-1] == {"text/html": "", "text/plain": ""}


def test_what_comes_from_a_recipe_is_no_markup(drawn: list[dict[str, str]]) -> None:
    live.Live().start('<script>"', 2)
    assert "<script>" not in drawn[0]["text/html"] and "&lt;script&gt;&quot;" in drawn[0]["text/html"]


def test_messages_are_lines_of_their_own(drawn: list[dict[str, str]], capsys: pytest.CaptureFixture[str]) -> None:
    live.Live().say("  model digits_resnet  (0.1 s)")
    assert capsys.readouterr().out == "  model digits_resnet  (0.1 s)\n" and drawn == []
