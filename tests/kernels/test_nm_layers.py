"""Layers with packed weights on a CPU, where they compute with the weight unpacked once."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.kernels.nm.format import unpack
from recipelang.kernels.nm.layers import SparseLinear, SparsePointwise
from recipelang.kernels.nm.operations import Way, from_text, to_text
from recipelang.kernels.nm.problem import activate
from recipelang.kernels.nm.reference import nm_mask


def linear(outputs: int = 24, inputs: int = 40, *, bias: bool = True, seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    layer = nn.Linear(inputs, outputs, bias=bias).requires_grad_(False)
    layer.weight.mul_(nm_mask(layer.weight.abs(), 2, 4))
    return layer


def pointwise(outputs: int = 24, inputs: int = 16, **settings: Any) -> nn.Conv2d:
    torch.manual_seed(0)
    layer = nn.Conv2d(inputs, outputs, settings.pop("kernel", 1), **settings).requires_grad_(False)
    layer.weight.mul_(nm_mask(layer.weight.abs(), 2, 4))
    return layer


def x(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).to(dtype)


@pytest.mark.parametrize("shape", [(40,), (3, 40), (2, 5, 40), (2, 0, 40)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_packed_layer_answers_as_the_dense_one(shape: tuple[int, ...], bias: bool) -> None:
    dense = linear(bias=bias)
    torch.testing.assert_close(SparseLinear.from_linear(dense)(x(*shape)), dense(x(*shape)), rtol=0, atol=0)


@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_tanh", "silu"])
def test_an_activation_is_applied(activation: str) -> None:
    dense = linear()
    packed = SparseLinear.from_linear(dense, activation=activation)
    torch.testing.assert_close(packed(x(3, 40)), activate(dense(x(3, 40)), activation))


def test_int8_values_compute_with_rounded_weights() -> None:
    dense = linear()
    packed = SparseLinear.from_linear(dense, int8=True)
    rounded = unpack(packed.packed, torch.float32)
    scale = dense.weight.abs().amax(1, keepdim=True) / 127
    assert bool(((rounded - dense.weight).abs() <= scale / 2 * 1.001).all())
    torch.testing.assert_close(packed(x(3, 40)), nn.functional.linear(x(3, 40), rounded, dense.bias))


def test_a_pointwise_convolution_is_a_product_over_pixels() -> None:
    dense = pointwise()
    images = x(2, 16, 5, 7).contiguous(memory_format=torch.channels_last)
    answer = SparsePointwise.from_convolution(dense)(images)
    torch.testing.assert_close(answer, dense(images), rtol=1e-5, atol=1e-5)
    assert answer.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(SparsePointwise.from_convolution(dense)(images.contiguous()), answer)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"kernel": 3}, "a 3×3 convolution"),
        ({"stride": 2}, "strided"),
        ({"padding": 1}, "padded or grouped"),
        ({"groups": 2}, "padded or grouped"),
    ],
)
def test_other_convolutions_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refusal, match=reason) as refused:
        SparsePointwise.from_convolution(pointwise(**settings))
    assert refused.value.code == "RCP1304"


def test_a_weight_that_is_not_2_4_is_refused() -> None:
    dense = nn.Linear(40, 24).requires_grad_(False)
    with pytest.raises(Refusal) as refused:
        SparseLinear.from_linear(dense)
    assert refused.value.code == "RCP1301"


# ----------------------------------------------------------------------------------------------------- the state
@pytest.mark.parametrize("int8", [False, True])
def test_the_state_is_the_canonical_form_and_nothing_else(int8: bool) -> None:
    packed = SparseLinear.from_linear(linear().half(), int8=int8)
    state = packed.state_dict()
    assert {name: (tuple(t.shape), t.dtype) for name, t in state.items()} == {
        "values": ((24, 20), torch.int8 if int8 else torch.float16),
        "meta": ((24, 2), torch.int32),
        **({"scales": ((24,), torch.float32)} if int8 else {}),
        "bias": ((24,), torch.float16),
    }


@pytest.mark.parametrize("int8", [False, True])
def test_a_saved_state_gives_the_same_layer(int8: bool) -> None:
    one = SparseLinear.from_linear(linear(), int8=int8)
    other = SparseLinear.from_linear(linear(seed=5), int8=int8)
    before = other(x(3, 40))
    other.load_state_dict(load(save(one.state_dict())))
    assert torch.equal(other(x(3, 40)), one(x(3, 40)))
    assert not torch.equal(other(x(3, 40)), before)


@pytest.mark.parametrize("int8", [False, True])
def test_a_cast_keeps_the_weight_and_its_scales(int8: bool) -> None:
    layer = SparseLinear.from_linear(linear(), int8=int8)
    expected = unpack(layer.packed, torch.float32)
    scales, meta = layer.scales, layer.meta
    layer.to(torch.bfloat16)
    assert layer.dtype == torch.bfloat16
    assert layer.meta.dtype == torch.int32 and torch.equal(layer.meta, meta)
    if int8:
        assert layer.scales is not None and scales is not None and torch.equal(layer.scales, scales)
    y = layer(x(3, 40, dtype=torch.bfloat16))
    bias = layer.bias
    assert bias is not None and bias.dtype == y.dtype == torch.bfloat16
    dense = nn.functional.linear(x(3, 40, dtype=torch.bfloat16), expected.to(torch.bfloat16), bias)
    torch.testing.assert_close(y, dense)


def test_it_says_what_it_is() -> None:
    assert "40, 24, 2:4 int8, activation=relu, by dense" in repr(
        SparseLinear.from_linear(linear(), int8=True, activation="relu")
    )


# ------------------------------------------------------------------------------------------------ as part of torch
class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = SparseLinear.from_linear(linear(), activation="relu")
        self.second = SparseLinear.from_linear(linear(8, 24), int8=True)

    def forward(self, images: Tensor) -> Tensor:
        return self.second(self.first(images))


@pytest.mark.filterwarnings("ignore:The given buffer is not writable")  # torch reading its own file
def test_torch_export_keeps_the_operation_whole_and_the_batch_free() -> None:
    net = Net().eval()
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(net, (x(3, 40),), dynamic_shapes=({0: batch},))
    names = [str(node.target) for node in program.graph.nodes]
    assert names.count("recipelang.nm_linear.default") == 2
    stored = io.BytesIO()
    torch.export.save(program, stored)
    again = torch.export.load(io.BytesIO(stored.getvalue())).module()
    for rows in (1, 7):
        torch.testing.assert_close(again(x(rows, 40)), net(x(rows, 40)))


def test_torch_compile_takes_it_in_one_graph() -> None:
    net = Net().eval()
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True, dynamic=True)
    with torch.no_grad():
        for rows in (3, 7):
            torch.testing.assert_close(compiled(x(rows, 40)), net(x(rows, 40)))


def test_the_operation_keeps_torchs_rules() -> None:
    layer = SparseLinear.from_linear(linear())
    operands = [getattr(layer, f"operand{i}") for i in range(layer._count)]
    arguments = (x(3, 40), operands, layer.bias, 24, False, "none", layer._text)
    torch.library.opcheck(
        torch.ops.recipelang.nm_linear.default, arguments, test_utils=("test_schema", "test_faketensor")
    )


def test_a_gradient_is_refused() -> None:
    layer = SparseLinear.from_linear(linear())
    with pytest.raises(Refusal) as refused:
        layer(x(3, 40).requires_grad_())
    assert refused.value.code == "RCP1303"
    with torch.no_grad():
        assert layer(x(3, 40).requires_grad_()).shape == (3, 24)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (x(3, 36), "40 inputs"),
        (x(3, 40, dtype=torch.float16), "given 40, float16"),
        (torch.empty(3, 40, device="meta"), "on meta"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(given: Tensor, words: str) -> None:
    with pytest.raises(Refusal, match=words) as refused:
        SparseLinear.from_linear(linear())(given)
    assert refused.value.code == "RCP1304"


# -------------------------------------------------------------------------------------------------------- its ways
def test_ways_survive_as_text() -> None:
    ways = (Way("mma.sp", {"TN": 2, "U": 4}, 16, (0, 2)), Way("dense", {}, None, (2, 1)))
    assert from_text(to_text(ways)) == ways


def test_where_no_way_can_the_reasons_are_told() -> None:
    layer = SparseLinear.from_linear(linear().half())
    layer.use((Way("mma.sp", {}, 16), Way("portable", {}, None)))
    with pytest.raises(Refusal) as refused:
        layer(x(3, 40, dtype=torch.float16))
    assert refused.value.code == "RCP1304"
    assert "CPU" in refused.value.message


def test_ways_of_one_layout_share_the_weight() -> None:
    layer = SparseLinear.from_linear(linear(64, 64).half())
    layer.use((Way("mma.sp", {}, 16), Way("unpacked", {}, None)))
    alone = layer._count
    layer.use((Way("mma.sp", {}, 16), Way("dense", {}, None)))
    assert layer._count == alone + 1


@pytest.mark.parametrize("int8", [False, True])
def test_what_is_unpacked_for_large_batches_is_the_weight(int8: bool) -> None:
    dense = linear(24, 72).half()
    layer = SparseLinear.from_linear(dense, int8=int8)
    expected = layer(x(200, 72, dtype=torch.float16))
    layer.use((Way("mma.sp", {}, 16), Way("unpacked", {}, None)))
    torch.testing.assert_close(layer(x(200, 72, dtype=torch.float16)), expected)
