"""What a user's network raises is a refusal with its message; what this program raises remains a bug."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.surgery.network import Network
from recipelang.surgery.raised import raised_by
from recipelang.surgery.tracing import hooked

CODE = """
import torch
from torch import nn

class NoDerivative(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()
    @staticmethod
    def backward(ctx, gradient):
        raise NotImplementedError("no derivative")  # line 11

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 2)
    def forward(self, x):
        if len(x) % 2:
            raise IndexError("an odd batch")  # line 19
        return self.head(NoDerivative.apply(x))
"""


@pytest.fixture
def network(tmp_path: Path) -> Network:
    (tmp_path / "odd.py").write_text(CODE)
    spec = importlib.util.spec_from_file_location("odd", tmp_path / "odd.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Network(module.Net(), {"files": {"odd.py": "0"}}, (4, 1, 1))


def test_what_forward_raises_is_a_refusal_that_names_the_line(network: Network) -> None:
    with pytest.raises(Refusal) as caught, raised_by(network, "measure top1"):
        network.module(torch.ones(3, 4))
    assert caught.value.code == "RCP0733"
    assert "`measure top1` at line 19 of `odd.py`: IndexError: an odd batch" in caught.value.message


def test_what_a_derivative_raises_is_one_too(network: Network) -> None:
    with (
        pytest.raises(Refusal, match="`train` at line 11 of `odd.py`: NotImplementedError: no derivative"),
        raised_by(network, "train"),
    ):
        network.module(torch.ones(2, 4, requires_grad=True)).sum().backward()


def test_what_torch_raises_inside_the_network_is_one_too(network: Network) -> None:
    with pytest.raises(Refusal, match="RuntimeError: mat1 and mat2"), raised_by(network, "train"):
        network.module(torch.ones(2, 5))


def _buggy_hook(module: nn.Module, args: Any, output: Tensor) -> None:
    raise KeyError("ours")


def test_bugs_of_ours_and_of_library_networks_stay_bugs(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipelang.surgery.raised._HERE", Path(__file__).parent)  # where the hook is
    with pytest.raises(KeyError), raised_by(network, "train"):
        raise KeyError("outside of any network")
    with (
        hooked([network.module.register_forward_hook(_buggy_hook)]),
        pytest.raises(KeyError),
        raised_by(network, "train"),
    ):
        network.module(torch.ones(2, 4))
    with pytest.raises(IndexError), raised_by(Network(network.module, {}, (4, 1, 1)), "train"):
        network.module(torch.ones(3, 4))


def test_refusals_and_a_lack_of_memory_pass(network: Network) -> None:
    with pytest.raises(Refusal, match="as it was"), raised_by(network, "train"):
        raise Refusal("RCP0713", "as it was")

    class Full(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise MemoryError

    with pytest.raises(MemoryError), raised_by(network, "train"):
        Full()(torch.ones(1))
