"""In a recipe, the notebook's key offers words of recipes; elsewhere it does what it did before."""

from __future__ import annotations

import warnings

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell


def offered(shell: InteractiveShell, cell: str) -> list[str]:
    """The cell as each offer would leave it; `|` is the cursor."""
    offset = cell.index("|")
    text = cell.replace("|", "")
    with provisionalcompleter(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an IPython without jedi says so
        found = list(shell.Completer.completions(text, offset))
    return [text[: one.start] + one.text + text[one.end :] for one in found]


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [
        ("%%recipe\nprune filters by magn|", "%%recipe\nprune filters by magnitude"),
        ("%%recipe --as x\ndata digits\npru|", "%%recipe --as x\ndata digits\nprune"),
        ("%%recipe\nlet tune = sgd(lr=0.1)\ntrain for 2 epochs with $tu|", "train for 2 epochs with $tune"),
        ("%%recipe\nprune layers by imprint unt|\nmeasure top1", "prune layers by imprint until\nmeasure top1"),
        ("\n \n%%recipe\nmeasure top1\nprune filters by magn|", "measure top1\nprune filters by magnitude"),
        ("%%recipe\nprune filters by |", "%%recipe\nprune filters by taylor"),
    ],
)
def test_words_of_the_recipe_are_offered(shell: InteractiveShell, cell: str, wanted: str) -> None:
    found = offered(shell, cell)
    assert [text for text in found if text.rstrip().endswith(wanted)], found


def test_names_of_python_are_not_offered_in_a_recipe(shell: InteractiveShell) -> None:
    shell.run_cell("magnify = 1")
    assert all("magnify" not in text for text in offered(shell, "%%recipe\nprune filters by magn|"))


@pytest.mark.parametrize("cell", ["magn|", "%%time\nmagn|", "x = 1\nmagn|"])
def test_other_cells_are_completed_as_before(shell: InteractiveShell, cell: str) -> None:
    shell.run_cell("magnify = 1")
    found = offered(shell, cell)
    assert [text for text in found if text.endswith("magnify")] and all("magnitude" not in text for text in found)


def test_unloading_takes_it_away(shell: InteractiveShell) -> None:
    shell.run_cell("%unload_ext recipelang")
    assert all("magnitude" not in text for text in offered(shell, "%%recipe\nprune filters by magn|"))


def test_variables_of_the_notebook_are_offered_after_a_dollar(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that a recipe can hold; a `let` of the recipe itself is offered once."""
    monkeypatch.setattr("recipelang.notebook.completion.get_ipython", lambda: shell)
    shell.run_cell("rate, ratios, own, _private = 0.1, [1, 2], object(), 3")
    found = offered(shell, "%%recipe\nlet rate = 0.2\ntrain for 2 epochs with sgd(lr=$ra|)")
    assert [text.count("$rate)") for text in found if "$rate" in text] == [1]
    assert any("$ratios)" in text for text in found)
    found = offered(shell, "%%recipe\ntrain for 2 epochs with sgd(lr=$|)")
    assert any("$rate)" in text for text in found)
    assert not any("$own" in text or "$_private" in text or "$exit" in text for text in found)
