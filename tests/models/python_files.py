"""Networks in Python files that a test writes: their texts, what builds them, and the files that count for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from recipelang.catalogue import find
from recipelang.kinds import ModelRequest

NET = "from torch import nn\nimport torch\n"
#: a network of one parameter-free scale and a head; `SCALE` comes from an import
BUILD = """
class Scale(nn.Module):
    def forward(self, x):
        return x * SCALE

def build(classes=2):
    return nn.Sequential(Scale(), nn.Flatten(), nn.Linear(4, classes))
"""
LAZY = """
def build(classes=2):
    class Scale(nn.Module):
        def forward(self, x):
            IMPORT
            return x * SCALE
    return nn.Sequential(Scale(), nn.Flatten(), nn.Linear(4, classes))
"""


def build(where: str, folder: Path, **settings: Any) -> Any:
    """The network of `FILE:FUNCTION` in a folder, for 1×2×2 images of two classes, trusted."""
    request = ModelRequest(("a", "b"), (1, 2, 2), resolve=lambda text: folder / text, trust=True)
    return find("model", "python")(where=where, **settings).build(request)  # type: ignore[call-arg, attr-defined]


def scale(network: Any) -> float:
    """By what the network multiplies its input."""
    return float(network.module[0](torch.ones(1)))


def names(folder: Path, where: str) -> list[str]:
    """The files that belong to the network's key, relative to the folder."""
    method = find("model", "python")(where=where)  # type: ignore[call-arg]
    return [str(p.relative_to(folder)) for p in method.files(lambda text: folder / text)]
