"""A notebook with a network and data of its own: five lines, and a cell that is a recipe."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs nbclient")
nbclient = pytest.importorskip("nbclient", reason="needs nbclient")
pytest.importorskip("ipykernel", reason="needs the extra `jupyter`")

OWN = """
import torch
from torch import nn
from torch.utils.data import Dataset

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.body = nn.Sequential(*(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()) for _ in range(3)))
        self.head = nn.Linear(4, 2)

    def forward(self, images):
        return self.head(self.body(self.stem(images)).mean((2, 3)))

class Shades(Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, k):
        if k >= 40:
            raise IndexError(k)
        return torch.full((1, 8, 8), k % 2 + k / 100), k % 2

net, shades = Net(), Shades()
"""
FIVE = """
import recipelang
result = recipelang.run("prune 1 layer by imprint; distill from healthy for 1 epoch", model=net, data=shades)
print(result.table())
network = result.networks["main"].load()
network(torch.zeros(1, 1, 8, 8)).shape
"""
CELLS = (
    OWN,
    FIVE,
    "%load_ext recipelang",
    "%%recipe --as small\nmodel $net\ndata $shades\nprune 1 layer by imprint\nmeasure params\n",
    'tuple(small.load()(torch.zeros(1, 1, 8, 8)).shape), small.record["recipe"]["text"].startswith("let net = given(")',
)
#: jupyter_client says that a kernel listens on this machine, which is what is wanted
pytestmark = pytest.mark.filterwarnings("ignore")


def test_own_network_and_data_in_a_notebook(tmp_path: Path) -> None:
    os.environ.setdefault("IPYTHONDIR", str(tmp_path / "ipython"))
    book: Any = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS])
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(book, timeout=240, kernel_name="python3", resources=where).execute()
    printed, shape = book.cells[1].outputs
    assert "healthy" in printed.text and "main" in printed.text and printed.name == "stdout"
    assert shape.data["text/plain"] == "torch.Size([1, 2])"
    (report,) = [output for output in book.cells[3].outputs if output.output_type == "execute_result"]
    assert "<iframe" in report.data["text/html"]
    assert book.cells[4].outputs[0].data["text/plain"] == "((1, 2), True)"
