"""A small network, and what people save of it: state dicts under prefixes, in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.kinds import ModelRequest
from recipelang.surgery.assembly import assemble
from recipelang.surgery.checkpoints import read_weights
from recipelang.surgery.network import Network

State = dict[str, Tensor]
#: what two networks are compared on
IMAGES = torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(9))


def net(seed: int = 1, classes: int = 5) -> nn.Sequential:
    """A convolution and a linear layer whose BatchNorm has statistics of its own; another seed, other weights."""
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(24, classes))
    module[1].running_mean.uniform_(-1, 1)
    module[1].weight.data.uniform_(0.5, 2)
    return module.eval()


def load(path: Path, at: str = "") -> Network:
    """The network with the weights of a file, as a recipe builds it."""
    request = ModelRequest(input_shape=(3, 4, 4))
    return assemble(net(seed=2), request, model="x", settings={}, input_shape=(3, 4, 4), weights=read_weights(path, at))


def saved(tmp_path: Path, value: Any, name: str = "w.pt") -> Path:
    """A file of what `torch.save` is given."""
    torch.save(value, tmp_path / name)
    return tmp_path / name


def under(prefix: str, state: State) -> State:
    """The state dict of a network that a wrapper holds under this prefix."""
    return {prefix + name: tensor for name, tensor in state.items()}
