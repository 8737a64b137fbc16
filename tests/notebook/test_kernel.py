"""A notebook with a kernel of its own: the bar moves, the report is shown, and a wrong cell stops the notebook."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs nbclient")
nbclient = pytest.importorskip("nbclient", reason="needs nbclient")
pytest.importorskip("ipykernel", reason="needs the extra `jupyter`")

CELLS = (
    "%load_ext recipelang",
    "%%recipe --as small\ndata digits\nmodel digits_resnet\ntrain for 1 epoch with sgd(lr=0.1)\nmeasure params\n",
    "type(small.load()).__name__",
    "%%recipe\nprune layers by imprnt\n",
)
CHROMIUM = Path("/usr/bin/chromium")
#: jupyter_client says that a kernel listens on this machine, which is what is wanted
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The notebook after it has run, with every message that its kernel sent in `metadata.sent`."""
    folder = tmp_path_factory.mktemp("notebook")
    os.environ.setdefault("IPYTHONDIR", str(folder / "ipython"))
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS])
    sent: list[Any] = []

    class Client(nbclient.NotebookClient):
        def process_message(self, message: Any, cell: Any, index: int) -> Any:
            sent.append(message)
            return super().process_message(message, cell, index)

    client = Client(book, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="imprnt"):
        client.execute()
    book.metadata["sent"] = sent
    return book


def test_the_bar_moves_in_place(notebook: Any) -> None:
    kinds = ("display_data", "update_display_data")
    sent = [m["content"] for m in notebook.metadata["sent"] if m["msg_type"] in kinds]
    bars = [content for content in sent if "<progress" in content["data"].get("text/html", "")]
    assert bars and len({content["transient"]["display_id"] for content in bars}) == 1
    shown = [output for output in notebook.cells[1].outputs if output.output_type == "display_data"]
    assert [output.data["text/html"] for output in shown] == [""], "what is over is not left behind"


def test_the_report_is_in_the_cell(notebook: Any) -> None:
    (result,) = [output for output in notebook.cells[1].outputs if output.output_type == "execute_result"]
    assert "<iframe" in result.data["text/html"] and "healthy" in result.data["text/plain"]
    assert "\x1b" not in result.data["text/plain"]
    assert notebook.cells[2].outputs[0].data["text/plain"] == "'Predictor'"


def test_a_wrong_cell_stops_the_notebook_without_a_traceback(notebook: Any) -> None:
    (wrong,) = notebook.cells[3].outputs
    assert wrong.ename == "CellFailed" and "did you mean `imprint`" in "".join(wrong.traceback)
    assert "Traceback" not in "".join(wrong.traceback)


@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium")
def test_chromium_shows_the_report_in_its_frame(notebook: Any) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    (result,) = [output for output in notebook.cells[1].outputs if output.output_type == "execute_result"]
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.set_content(f"<!doctype html><title>notebook</title><body>{result.data['text/html']}</body>")
        frame = page.frame_locator("iframe")
        assert frame.get_by_text("healthy").first.is_visible()
        assert page.evaluate("document.querySelector('iframe').contentDocument") is None, "the page is kept apart"
        assert said == []
        browser.close()
