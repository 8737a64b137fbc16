"""A small network of token ids and its data, as files of a user."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recipelang.catalogue import find
from recipelang.images.access import reading
from recipelang.kinds import ModelRequest, inputs_of, names_of

IDS, LENGTH = 24, 8
DATA = f"""
import torch
from torch.utils.data import TensorDataset

def build():
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, 3, (90,), generator=generator)
    ids = torch.randint(1, {IDS}, (90, {LENGTH}), generator=generator)
    ids[:, -1] = {IDS - 1}
    ids[torch.arange(90) % 4 == 0, 5:] = 0  # padding
    ids[:, 0] = 1 + label
    return TensorDataset(ids, label)
"""
NET = f"""
import torch
from torch import nn

class Attention(nn.Module):
    def __init__(self, width, heads=4):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x, mask):
        q, k, v = self.qkv(x).reshape(x.shape[0], x.shape[1], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        x = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.proj(x.transpose(1, 2).flatten(2))

class Layer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width)
        self.up, self.down = nn.Linear(width, 24), nn.Linear(24, width)

    def forward(self, x, mask):
        x = x + self.attention(self.before(x), mask)
        return x + self.down(self.up(self.between(x)).relu())

class Mix(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv, self.norm = nn.Conv1d(width, 12, 3, padding=1), nn.BatchNorm1d(12)
        self.back = nn.Conv1d(12, width, 1)

    def forward(self, x):
        return x + self.back(self.norm(self.conv(x)).relu())

class Texts(nn.Module):
    def __init__(self, classes, width=16):
        super().__init__()
        self.tokens, self.places = nn.Embedding({IDS}, width, padding_idx=0), nn.Embedding({LENGTH}, width)
        self.mix = Mix(width)
        self.layers = nn.ModuleList(Layer(width) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, ids):
        x = self.tokens(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        x = self.mix(x.transpose(1, 2)).transpose(1, 2)
        mask = (ids != 0)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, mask)
        kept = (ids != 0).unsqueeze(-1).to(x.dtype)
        return self.head((self.norm(x) * kept).sum(1) / kept.sum(1).clamp_min(1))

def build(classes=3):
    return Texts(classes)
"""


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """folder, data and network of token ids."""
    folder: Path = tmp_path_factory.mktemp("texts")
    (folder / "data.py").write_text(DATA)
    (folder / "net.py").write_text(NET)
    return opened(folder)


def opened(folder: Path, **request: Any) -> SimpleNamespace:
    """The data and the network of a folder."""
    with reading(trust=True):
        data: Any = find("data", "python")("data.py:build", batch=16).open(lambda text: folder / text)  # type: ignore[misc]
    asked = ModelRequest(names_of(data), data.input_shape, lambda text: folder / text, True, inputs=inputs_of(data))
    network = find("model", "python")("net.py:build").build(asked)  # type: ignore[misc]
    return SimpleNamespace(folder=folder, data=data, network=network)
