"""Packed layers in a deployed network. The CPU plays the part of a GPU: kernels in plain torch, times from a script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from gpuless.pretended import Pretended
from torch import Tensor, nn
from torch.nn import functional

from recipelang.errors import Refusal
from recipelang.kernels.nm import registry
from recipelang.kernels.nm.format import unpack
from recipelang.kernels.nm.layers import SparseLinear, SparsePointwise
from recipelang.kernels.nm.problem import activate
from recipelang.kinds import Deployment
from recipelang.methods.patterns.nm import NM
from recipelang.runtimes.eager import execution, placed, prepare
from recipelang.runtimes.layers import VERIFIED_IMAGES
from recipelang.surgery.deployed import deployed
from recipelang.surgery.masks import eligible, sparsify
from recipelang.surgery.network import Accelerated, Network

Arrange = Callable[..., list[str]]
FLOAT32 = "sparse kernels compute in float16 or bfloat16, not in float32"
HALF = Deployment("cpu", "bfloat16", batch=2)


class Net(nn.Module):
    """Convolutions 1×1 and 3×3, a ReLU that is used twice, linear layers, of one of which only the weight is used."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.point = nn.Conv2d(16, 24, 1)
        self.wide = nn.Conv2d(24, 24, 3, padding=1)
        self.fc1 = nn.Linear(24, 32)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(32, 24)
        self.own = nn.Linear(24, 24)
        self.last = nn.ReLU(inplace=True)
        self.head = nn.Linear(24, 4)

    def forward(self, images: Tensor) -> Tensor:
        x = self.relu(self.norm(self.stem(images)))
        x = self.relu(self.point(x))
        x = self.wide(x).flatten(2).mean(2)
        x = x + self.fc2(self.act(self.fc1(x)))
        x = x + functional.linear(x, self.own.weight, self.own.bias)
        return self.head(self.last(x))


LAYERS = ["point", "wide", "fc1", "fc2", "own", "head"]


def network(goal: str = "latency", kernels: Sequence[str] = ("dense", "mma.sp"), *, int8: bool = False) -> Network:
    torch.manual_seed(0)
    plain = Network(Net().eval(), {"model": "test", "settings": {}}, (3, 8, 8), classes=tuple("abcd"))
    weights = dict(plain.module.named_parameters())
    able, _ = eligible(plain, NM())
    masked = sparsify(plain, NM(), {name: weights[name].detach().abs() for name in able})
    return replace(masked, accelerated=Accelerated(tuple(LAYERS), kernels, goal, int8))


def test_layers_are_packed_where_it_pays_and_the_others_say_why(pretended_gpu: Arrange) -> None:
    pretended_gpu()
    one = network()
    ready = placed(one, HALF)
    module = ready.module
    assert type(module.point) is SparsePointwise
    assert [type(part) for part in (module.fc1, module.fc2, module.head)] == [SparseLinear] * 3
    assert [type(part) for part in (module.wide, module.own)] == [nn.Conv2d, nn.Linear]
    found = {name.removesuffix(".weight"): (way.executes, way.why) for name, way in ready.ways.items()}
    assert found["fc1"] == ("mma.sp 2:4", "2.00 times as fast: 1000000.0 µs against 2000000.0 µs dense")
    assert "3×3 convolution" in found["wide"][1]
    assert "never calls the layer" in found["own"][1]
    rows = {row.layer: row.executes for row in ready.execution()}
    assert rows == {"stem": "dense", "point": "mma.sp 2:4", "wide": "masked only", "fc1": "mma.sp 2:4",
                    "fc2": "mma.sp 2:4", "own": "masked only", "head": "mma.sp 2:4"}  # fmt: skip


def test_the_answer_stays(pretended_gpu: Arrange) -> None:
    pretended_gpu()
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    one = network()
    dense = deployed(replace(one, accelerated=None))(images)
    packed = placed(one, HALF)(images.bfloat16()).float()
    assert float((packed - dense).norm() / dense.norm()) < 0.02


def test_activations_are_fused_where_nothing_else_reads_the_layer(pretended_gpu: Arrange) -> None:
    pretended_gpu()
    ready = placed(network(), HALF)
    module = ready.module
    assert module.fc1.activation == "gelu"
    assert type(module.act) is nn.Identity
    # The ReLU after `point` works twice in the network, and the one before the head reads a sum.
    assert module.point.activation == "none"
    assert type(module.relu) is type(module.last) is nn.ReLU
    assert module.relu.inplace


def test_a_network_without_accelerate_is_left_alone(pretended_gpu: Arrange) -> None:
    asked = pretended_gpu()
    ready = placed(replace(network(), accelerated=None), HALF)
    module = ready.module
    assert not any(isinstance(part, SparseLinear) for part in module.modules())
    assert asked == []


def test_where_dense_is_faster_the_layers_stay_as_they_are(pretended_gpu: Arrange) -> None:
    pretended_gpu(sparse=1.98)
    ready = placed(network(), HALF)
    module = ready.module
    assert not any(isinstance(part, SparseLinear) for part in module.modules())
    assert {way.executes for way in ready.ways.values()} == {"dense"}
    assert any("not 3 % faster" in way.why for way in ready.ways.values())


def test_what_stays_dense_is_not_compared(
    pretended_gpu: Arrange, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a CPU that would take the longest of all where predictions are made in large batches."""
    calls: list[tuple[torch.dtype, int]] = []
    forward = Net.forward

    def watched(self: Net, images: Tensor) -> Tensor:
        calls.append((images.dtype, len(images)))
        return forward(self, images)

    monkeypatch.setattr(Net, "forward", watched)
    for seconds, how, compared in (
        (1.0, HALF, True),
        (5.0, HALF, False),
        (1.0, replace(HALF, precision="float32"), False),
    ):
        pretended_gpu(sparse=seconds)
        monkeypatch.setenv("RECIPELANG_CACHE", str(tmp_path / str(seconds)))
        calls.clear()
        placed(network(), how)
        assert ((torch.float32, VERIFIED_IMAGES) in calls) is compared


def test_equal_shapes_are_measured_once_and_a_table_is_read_again(pretended_gpu: Arrange) -> None:
    asked = pretended_gpu()
    placed(network(), HALF)
    first = len(asked)
    placed(network(), HALF)
    assert 0 < first == len(asked)


def test_a_wrong_kernel_never_enters_the_network(pretended_gpu: Arrange) -> None:
    pretended_gpu(kernel=Pretended(spoil=lambda y: y * 1.05))
    ready = placed(network(), HALF)
    module = ready.module
    assert any("its result was wrong" in way.why for way in ready.ways.values())
    assert not any(isinstance(part, SparseLinear) for part in module.modules())


def test_a_kernel_that_goes_wrong_later_is_refused(pretended_gpu: Arrange, monkeypatch: pytest.MonkeyPatch) -> None:
    pretended_gpu()
    monkeypatch.setitem(registry.KERNELS, "mma.sp", Pretended("mma.sp", spoil=lambda y: y * 1.2))  # type: ignore[arg-type]
    with pytest.raises(Refusal) as refused:
        placed(network(), HALF)
    assert refused.value.code == "RCP1306"


class Deep(nn.Module):
    """Sixteen residual blocks and two classes: an answer in bfloat16 differs from one rounding to another."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 2)
        self.norms = nn.ModuleList(nn.LayerNorm(32) for _ in range(16))
        self.wide = nn.ModuleList(nn.Linear(32, 64) for _ in range(16))
        self.narrow = nn.ModuleList(nn.Linear(64, 32) for _ in range(16))
        self.head = nn.Linear(32, 2)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images).flatten(1)
        for norm, wide, narrow in zip(self.norms, self.wide, self.narrow, strict=True):
            x = x + narrow(functional.gelu(wide(norm(x))))
        return self.head(x)


class Parts(Pretended):
    """A correct kernel that rounds differently from dense: the inputs in four parts, each rounded."""

    def run(self, x: Tensor, operands: tuple[Tensor, ...], bias: Tensor | None, problem: Any, tiles: Any) -> Tensor:
        total = x.new_zeros(x.shape[0], operands[0].shape[0])
        for k in torch.arange(x.shape[1]).chunk(4):
            total = total + functional.linear(x[:, k], operands[0][:, k])
        return activate(total if bias is None else total + bias, problem.activation)


def test_a_right_kernel_that_rounds_otherwise_is_never_refused(pretended_gpu: Arrange) -> None:
    pretended_gpu(kernel=Parts())
    for seed in range(25):
        torch.manual_seed(seed)
        plain = Network(Deep().eval(), {"model": "test", "settings": {}}, (3, 2, 2), classes=("a", "b"))
        weights = dict(plain.module.named_parameters())
        masked = sparsify(plain, NM(), {name: weights[name].detach().abs() for name in eligible(plain, NM())[0]})
        layers = [name.removesuffix(".weight") for name in masked.masks]
        settings = Accelerated(tuple(layers), ("dense", "mma.sp"), "latency")
        module = placed(replace(masked, accelerated=settings), Deployment("cpu", "bfloat16", batch=1)).module
        assert sum(isinstance(part, SparseLinear) for part in module.modules()) >= 32


def test_larger_batches_than_it_was_chosen_for_run_dense(pretended_gpu: Arrange) -> None:
    pretended_gpu(kernel=Pretended(most=200))
    one = network()
    ready = placed(one, HALF)
    module = ready.module
    images = torch.randn(9, 3, 8, 8).bfloat16()
    dense = placed(replace(one, accelerated=None), HALF)
    torch.testing.assert_close(module(images), dense(images), rtol=0.1, atol=0.05)


def test_for_memory_no_dense_weight_is_kept(pretended_gpu: Arrange) -> None:
    pretended_gpu(sparse=50.0)
    ready = placed(network("memory"), HALF)
    module = ready.module
    kernels = {way.kernel for part in module.modules() if isinstance(part, SparseLinear) for way in part._ways}
    assert "mma.sp" in kernels
    assert "dense" not in kernels


def test_float32_stays_dense_with_the_reason(pretended_gpu: Arrange) -> None:
    asked = pretended_gpu()
    ready = placed(network(), replace(HALF, precision="float32"))
    assert {way.why for path, way in ready.ways.items() if path.startswith("fc")} == {FLOAT32}
    assert asked == []


def test_int8_rounds_the_weights_on_every_device() -> None:
    one, rounded = network(), network(int8=True)
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    plain, coarse = deployed(one), deployed(rounded)
    assert not torch.equal(plain.fc1.weight, coarse.fc1.weight)
    assert torch.equal(plain.stem.weight, coarse.stem.weight)
    for path in LAYERS:
        weight, kept = coarse.get_submodule(path).weight, plain.get_submodule(path).weight
        assert bool(((weight != 0) <= (kept != 0)).all())
        levels = weight / (kept.abs().flatten(1).amax(1) / 127).reshape(-1, *[1] * (weight.ndim - 1))
        torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)
    assert float((plain(images) - coarse(images)).abs().max()) > 0
    torch.testing.assert_close(plain(images), coarse(images), rtol=0.1, atol=0.05)


def test_int8_values_are_packed_without_rounding_twice(pretended_gpu: Arrange) -> None:
    pretended_gpu()
    rounded = network(int8=True)
    ready = placed(rounded, HALF)
    module = ready.module
    assert module.fc1.int8
    assert ready.ways["fc1.weight"].executes == "mma.sp 2:4 int8"
    expected = deployed(replace(rounded)).fc1.weight
    torch.testing.assert_close(unpack(module.fc1.packed, torch.float32), expected, rtol=0.01, atol=1e-6)


def test_a_demand_that_nothing_meets_is_refused(pretended_gpu: Arrange) -> None:
    pretended_gpu()
    demanding = network(kernels=("mma.sp",))
    single = replace(HALF, precision="float32")
    with pytest.raises(Refusal, match=FLOAT32) as refused:
        prepare(demanding, single)
    assert refused.value.code == "RCP1305"
    prepare(demanding, HALF)
    prepare(network(), single)


def test_on_a_cpu_layers_are_masked_only_and_say_why() -> None:
    one = network()
    rows = {row.layer: (row.executes, row.why) for row in prepare(one).execution()}
    assert rows["fc1"] == (
        "masked only",
        "a CPU has no sparse matrix units: packed weights are unpacked once and run dense",
    )
    assert rows["stem"] == ("dense", "no mask")
    weights = dict(one.module.named_parameters())
    fewer = sparsify(one, NM(1, 4), {"fc1.weight": weights["fc1.weight"].detach().abs()})
    more = sparsify(one, NM(3, 4), {"fc1.weight": torch.rand_like(weights["fc1.weight"])})
    more.module.fc1.weight.data.copy_(more.masks["fc1.weight"].keep)
    whys = [{row.layer: row.why for row in execution(net)}["fc1"] for net in (fewer, more)]
    assert "a CPU has no" in whys[0], "1:4 is 2:4 with more zeros"
    assert whys[1] == "hardware executes 2:4, and the layer is 3:4"
    left_out = replace(one, accelerated=replace(one.accelerated, layers=("fc1",)))
    assert {row.layer: row.why for row in execution(left_out)}["fc2"] == "`accelerate` leaves it out"


class Attending(nn.Module):
    """Attention over the pixels, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, images: Tensor) -> Tensor:
        x = images.flatten(2).transpose(1, 2)
        return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))


def attending(*, int8: bool = False) -> Network:
    torch.manual_seed(0)
    plain = Network(Attending().eval(), {"model": "test", "settings": {}}, (16, 3, 3), classes=tuple("abcd"))
    weights = dict(plain.module.named_parameters())
    masked = sparsify(plain, NM(), {name: weights[name].detach().abs() for name in eligible(plain, NM())[0]})
    layers = ["attention", "attention.out_proj", "head"]
    settings = Accelerated(tuple(layers), ("dense", "mma.sp"), "latency", int8)
    return replace(masked, accelerated=settings)


def test_attention_executes_as_sparse_too(pretended_gpu: Arrange) -> None:
    pretended_gpu()
    one = attending()
    ready = placed(one, HALF)
    module = ready.module
    rows = {row.layer: row.executes for row in ready.execution()}
    assert rows == dict.fromkeys(("attention.in_proj_weight", "attention.out_proj", "head"), "mma.sp 2:4")
    images = torch.randn(2, 16, 3, 3, generator=torch.Generator().manual_seed(3))
    dense = placed(replace(one, accelerated=None), replace(HALF, precision="float32"))(images)
    assert float((module(images.bfloat16()).float() - dense).norm() / dense.norm()) < 0.02


def test_healthy_is_unfolded_as_well_and_on_a_cpu_nobody_is(pretended_gpu: Arrange) -> None:
    healthy = replace(attending(), accelerated=None)
    assert type(deployed(healthy).attention) is nn.MultiheadAttention
    pretended_gpu()
    assert type(placed(healthy, HALF).module.attention) is not nn.MultiheadAttention


def test_attention_is_rounded_to_int8_on_a_cpu() -> None:
    plain, coarse = deployed(attending()), deployed(attending(int8=True))
    assert not torch.equal(plain.attention.in_proj_weight, coarse.attention.in_proj_weight)
    torch.testing.assert_close(plain.attention.in_proj_weight, coarse.attention.in_proj_weight, atol=0.01, rtol=0)
