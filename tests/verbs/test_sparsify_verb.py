"""What `sparsify` refuses before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

from recipelang import catalogue
from recipelang.catalogue import method
from recipelang.check import check
from recipelang.errors import RecipeError
from recipelang.syntax.parse import parse


@method("pattern", "scattered")
@dataclass(frozen=True)
class Scattered:
    """A pattern without groups."""

    restriction: ClassVar[str] = ""
    target: ClassVar[str] = ""


@pytest.fixture(autouse=True)
def scattered(monkeypatch: pytest.MonkeyPatch) -> None:
    names, find = catalogue.names, catalogue.find
    own = {"pattern": ("scattered",)}
    monkeypatch.setattr(catalogue, "names", lambda kind: (*names(kind), *own.get(kind, ())))
    monkeypatch.setattr(catalogue, "find", lambda kind, name: Scattered if name == "scattered" else find(kind, name))


def codes(text: str) -> list[tuple[str, str]]:
    try:
        check(parse(text))
    except RecipeError as error:
        return [(d.code, text[d.span.start : d.span.end] if d.span else "") for d in error.diagnostics]
    return []


def test_a_criterion_that_corrects_needs_a_pattern_with_groups() -> None:
    assert codes("sparsify scattered by sparsegpt(damp=0.1)") == [("RCP0413", "sparsegpt(damp=0.1)")]
    assert codes("sparsify scattered by wanda") == codes("sparsify nm 2:4 by sparsegpt(damp=0.1)") == []


def test_settings_have_a_range_and_layers_go_by_scores() -> None:
    assert codes("sparsify nm 2:4 by sparsegpt(damp=0)") == [("RCP0303", "0")]
    assert codes("sparsify nm 2:4 by sparsegpt(block=0)") == [("RCP0303", "0")]
    assert codes("prune 2 layers by sparsegpt(block=64)") == codes("prune 2 layers by wanda") == []


def test_a_pattern_that_no_hardware_asks_for_gives_no_recovered() -> None:
    teachers = "\ndistill from healthy, recovered"
    assert [code for code, _ in codes("sparsify scattered by magnitude" + teachers)] == ["RCP0501"]
    assert codes("sparsify nm 2:4" + teachers) == []
