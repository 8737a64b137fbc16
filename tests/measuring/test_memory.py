"""Peak memory of small networks, counted by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.errors import Refusal, SettingError
from recipelang.measuring.memory import Peak, peak, peak_of_cuda
from recipelang.methods.metrics.memory import Memory
from recipelang.surgery.network import Network


def of(*layers: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*layers).eval()


def test_weights_input_and_the_two_sides_of_an_operation() -> None:
    module = of(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    weights, images = 4 * (4 * 8 + 8 + 8 * 2 + 2), 4 * 3 * 4
    hidden = 4 * 3 * 8  # before and after the ReLU, both alive while it computes
    assert peak(module, torch.randn(3, 4)) == Peak(weights + images, 2 * hidden)


def test_operations_in_place_and_views_add_nothing() -> None:
    module = of(
        nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.ReLU(inplace=True), nn.Flatten(), nn.Unflatten(1, (4, 36))
    )
    found = peak(module, torch.randn(2, 1, 6, 6))
    assert found.made == 4 * 2 * 4 * 36 and found.held == 4 * (4 * 9 + 2 * 36)


class Residual(nn.Module):
    """What a shortcut holds is alive until the sum."""

    def __init__(self, again: bool = True) -> None:
        super().__init__()
        self.a, self.b, self.again = nn.Linear(8, 8, bias=False), nn.Linear(8, 16, bias=False), again

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        wide = self.b(x)
        narrow = wide[:, :8].clone()
        del wide
        return x + narrow if self.again else narrow


def test_a_shortcut_is_alive_until_its_sum() -> None:
    """x 8, wide 16, narrow 8 together; the sum itself has x, narrow and its result."""
    assert peak(Residual(), torch.randn(5, 8)).made == 4 * 5 * (8 + 16 + 8)


def test_a_shared_weight_and_its_views_count_once() -> None:
    first, second = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
    second.weight = first.weight
    assert peak(of(first, second), torch.randn(1, 8)).held == 4 * (64 + 8)
    assert peak(of(first, nn.Linear(8, 8, bias=False)), torch.randn(1, 8)).held == 4 * (128 + 8)


def test_the_same_at_every_call_and_more_for_more_images() -> None:
    module = of(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )
    one, four = (peak(module, torch.randn(batch, 3, 12, 12)) for batch in (1, 4))
    assert one == peak(module, torch.randn(1, 3, 12, 12))
    assert four.made == 4 * one.made and four.held - one.held == 3 * 4 * 3 * 144


def test_an_attention_whose_scores_are_larger_than_its_tokens() -> None:
    class Attention(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            scores = x @ x.mT  # 32 by 32 for 32 tokens of 4
            return scores.softmax(-1) @ x

    found = peak(of(Attention()), torch.randn(1, 32, 4))
    assert found.made == 4 * (2 * 32 * 32 + 32 * 4), "the variable `scores` is alive until the function returns"


class Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
            raise RuntimeError("not traceable")
        return x


def test_a_network_that_cannot_be_watched_is_refused() -> None:
    with pytest.raises(Refusal) as refused:
        peak(Broken(), torch.randn(1, 4))
    assert refused.value.code == "RCP0730" and "`memory`" in refused.value.help


def test_tensors_without_storage_are_named() -> None:
    class Sparse(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.sparse.mm(x.to_sparse(), torch.ones(4, 2))

    network = Network(of(Sparse()), {}, (4,))
    assert (
        Memory(batch=3).measure(network.module, network, (4,)).note == "not counted: tensors of layout torch.sparse_coo"
    )


def test_precision_halves_weights_and_activations() -> None:
    module = of(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    network = Network(module, {}, (16,))
    full, half = (Memory(8, precision).measure(module, network, (16,)) for precision in ("float32", "bfloat16"))
    assert half.value == full.value / 2 and full.low == full.high == full.value
    assert not Memory().machine and Memory(device="cuda").machine
    with pytest.raises(SettingError):
        Memory(device="tpu")


def test_a_gpu_is_asked_for_its_own_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", asked.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 1500)
    calls: list[int] = []
    module = of(nn.Identity())
    module.register_forward_hook(lambda *_: calls.append(len(asked)))
    assert peak_of_cuda(module, torch.randn(1, 4), 400) == 1100
    assert calls == [0, 1], "the first call is not counted"
    with pytest.raises(Refusal) as refused:
        Memory(device="cuda:9").measure(module, Network(module, {}, (4,)), (4,))
    assert refused.value.code == "RCP1001"
