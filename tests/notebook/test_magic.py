"""`%%recipe` in a session: what is shown, what fails, and what later cells find."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import CapturedIO, capture_output

from recipelang.api.finished import Result
from recipelang.notebook.told import CellFailed

SMALL = "data digits\nmodel digits_resnet\nprune 1 layer by magnitude\nmeasure params\n"


def ran(shell: InteractiveShell, cell: str) -> tuple[Any, CapturedIO]:
    """(result of the cell, what it printed and displayed)."""
    with capture_output() as seen:
        result = shell.run_cell(cell)
    return result, seen


def lines(result: Any) -> str:
    """What a failed cell shows, without colours."""
    assert isinstance(result.error_in_exec, CellFailed)
    return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(result.error_in_exec._render_traceback_()))


def test_a_wrong_recipe_shows_its_mistakes_at_the_lines_of_the_cell(shell: InteractiveShell) -> None:
    result, seen = ran(shell, "%%recipe\n\nprune layers by imprnt\nmeasure top7\n")
    said = lines(result)
    assert "--> cell:3:17" in said and "3 | prune layers by imprnt\n  |                 ^^^^^^" in said
    assert "did you mean `imprint`" in said and "--> cell:4:9" in said
    assert "Traceback" not in seen.stdout and "imprnt" in seen.stdout  # where IPython prints an error


def test_a_cell_is_checked_alone(shell: InteractiveShell, tmp_path: Path) -> None:
    result, seen = ran(shell, "%%recipe check\n" + SMALL)
    assert result.success and seen.stdout == "cell: ok, 4 statements\n"
    assert not (tmp_path / "runs").exists()


def test_a_plan_is_printed_and_nothing_runs(shell: InteractiveShell, tmp_path: Path) -> None:
    result, seen = ran(shell, "%%recipe plan\n" + SMALL)
    assert result.success and result.result is None
    assert "prune 1 layer by magnitude" in seen.stdout
    assert not (tmp_path / "runs").exists()


def test_a_plan_that_will_fail_fails_the_cell(shell: InteractiveShell) -> None:
    result, _ = ran(shell, "%%recipe plan\n" + SMALL.replace("1 layer", "99 layers"))
    assert "cell:4" in lines(result)


def test_a_run_gives_the_report_and_the_network(shell: InteractiveShell) -> None:
    result, seen = ran(shell, "%%recipe --as small\n" + SMALL)
    assert result.success, seen.stderr
    small = shell.user_ns["small"]
    assert isinstance(small, Result) and result.result is small
    assert small.folder == Path("runs/small-1") and small.exit_code == 0 and small.record["variants"]
    shown = small._repr_mimebundle_()
    (page,) = re.findall(r'^<iframe [^>]* srcdoc="([^"]*)"', shown["text/html"])
    assert html.unescape(page) == (small.folder / "report.html").read_text(encoding="utf-8")
    assert "healthy" in shown["text/plain"] and shown["text/plain"].endswith("runs/small-1")
    assert "prune 1 layer by magnitude" in seen.stderr and "2 steps: 0 from the store" in seen.stdout
    network = small.load()
    assert network.classes
    again, seen = ran(shell, "%%recipe --as small\n" + SMALL)
    assert "2 from the store, 0 done" in seen.stdout and again.result.folder == Path("runs/small-2")


def test_the_frame_keeps_the_page_apart(shell: InteractiveShell) -> None:
    from recipelang.api.page import framed

    frame = framed('<p title="a">&amp;</p><script>1</script>"><img>')
    assert re.fullmatch(
        r'<iframe title="report" sandbox="allow-scripts" srcdoc="[^"<>]*" style="[^"]*"></iframe>', frame
    )
    assert html.unescape(frame.split('srcdoc="')[1].split('"')[0]) == '<p title="a">&amp;</p><script>1</script>"><img>'


def test_a_variable_of_the_notebook_is_bound_in_the_recipe(shell: InteractiveShell) -> None:
    shell.run_cell("limit, spare = '99%', object()")
    result, seen = ran(shell, "%%recipe\n" + SMALL.replace("prune 1 layer by magnitude", "expect params < $limit"))
    assert "not met: `expect params < 99%`" in lines(result)
    text = Path("runs/cell-1/recipe.rcp").read_text(encoding="utf-8")
    assert text.startswith("let limit = 99%\ndata digits\n")


def test_what_the_recipe_binds_itself_is_its_own(shell: InteractiveShell) -> None:
    shell.run_cell("rate = object()")
    result, _ = ran(shell, "%%recipe check\n" + SMALL + "let rate = 0.1\ntrain for 1 step with sgd(lr=$rate)\n")
    assert result.success


def test_a_variable_that_is_no_value_is_refused_at_its_place(shell: InteractiveShell) -> None:
    shell.run_cell("rate = object()")
    result, _ = ran(shell, "%%recipe check\n" + SMALL + "train for 1 step with sgd(lr=$rate)\n")
    assert "RCP1250" in lines(result) and "--> cell:6:30" in lines(result) and "is a `object`" in lines(result)


def test_a_value_that_does_not_fit_is_shown_with_the_line_that_binds_it(shell: InteractiveShell) -> None:
    shell.run_cell("limit = 'much'")
    result, _ = ran(shell, "%%recipe check\n" + SMALL + "expect params < $limit\n")
    assert '1 | let limit = "much"\n' in lines(result)


def test_a_name_that_nothing_binds_is_the_mistake_of_the_recipe(shell: InteractiveShell) -> None:
    result, _ = ran(shell, "%%recipe check\n" + SMALL + "train for 1 step with sgd(lr=$rate)\n")
    assert "RCP0206" in lines(result)


def test_an_expectation_that_is_not_met_shows_the_report_and_fails(shell: InteractiveShell) -> None:
    result, seen = ran(shell, "%%recipe --as kept\n" + SMALL + "expect params < 10%\n")
    assert "not met: `expect params < 10%` (line 6, main): params 0.958×" in lines(result)
    assert "healthy" in seen.stdout and shell.user_ns["kept"].exit_code == 4


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--sed 1", "No such option"),
        ("check --smoke", "`--smoke` changes nothing of `%%recipe check`"),
        ("plan --as x", "`--as` changes nothing of `%%recipe plan`"),
        ("walk", "walk"),
        ("--as 2x", "not a name for a variable"),
        ("--as class", "not a name for a variable"),
        ("--set 'a=1", "the options cannot be read"),
        ("--seeds one", "not a list of distinct whole numbers"),
        ("run file.rcp", "unexpected extra argument"),
    ],
)
def test_wrong_options_are_told(shell: InteractiveShell, line: str, said: str) -> None:
    result, _ = ran(shell, f"%%recipe {line}\n{SMALL}")
    assert said in lines(result)


def test_an_empty_cell_is_an_empty_recipe(shell: InteractiveShell) -> None:
    result, _ = ran(shell, "%%recipe\n\n")
    assert "RCP1203" in lines(result)


def test_help_lists_the_options(shell: InteractiveShell) -> None:
    result, seen = ran(shell, "%%recipe --help\nprune")
    assert result.success and "--as NAME" in seen.stdout and "--seeds" in seen.stdout


def test_an_interruption_says_that_the_cell_continues(shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch) -> None:
    from recipelang.run import engine

    def stopped(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "execute", stopped)
    result, _ = ran(shell, "%%recipe\n" + SMALL)
    assert lines(result).startswith("interrupted. What is finished is stored")


def test_a_bug_keeps_its_traceback(shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch) -> None:
    from recipelang.run import engine

    def broken(*arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(engine, "execute", broken)
    result, _ = ran(shell, "%%recipe\n" + SMALL)
    assert isinstance(result.error_in_exec, ZeroDivisionError)


def test_the_notebook_keeps_its_threads(shell: InteractiveShell) -> None:
    import torch

    before = torch.get_num_threads()
    result, _ = ran(shell, f"%%recipe --threads {before + 1}\n{SMALL}")
    assert result.success and torch.get_num_threads() == before


def test_the_extension_can_be_unloaded(shell: InteractiveShell) -> None:
    shell.run_cell("%unload_ext recipelang")
    assert shell.find_cell_magic("recipe") is None


def test_loading_the_extension_does_not_load_torch() -> None:
    import subprocess
    import sys

    program = (
        "import sys\nfrom IPython.core.interactiveshell import InteractiveShell\ns = InteractiveShell()\n"
        "s.history_manager.enabled = False\n"
        "s.run_cell('%load_ext recipelang')\n"
        "assert s.run_cell('%%recipe check\\nprune 1 layer by imprint').success\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
