"""Transformers on grids: attention unfolds, weights in groups, ranges that are computed, and what stays in floats."""

from __future__ import annotations

import numpy
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from recipelang.catalogue import find
from recipelang.kinds import Deployment, Observed
from recipelang.plan import Selection, Selector
from recipelang.surgery.deployed import deployed
from recipelang.surgery.headed import Headed
from recipelang.surgery.network import Network
from recipelang.surgery.quantizing import activation_grids, attending, places_of, weight_grids
from recipelang.surgery.restrictions.dynamic import Dynamic
from recipelang.surgery.tracing import example_input

LAYERS = "encoder.layers.encoder_layer_"


@pytest.fixture(scope="module")
def vit() -> Network:
    torch.manual_seed(0)
    module = VisionTransformer(16, 8, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=5)
    with torch.no_grad():
        module.heads[0].weight.normal_()
    return Network(module.eval(), {}, (3, 16, 16), classes=tuple("abcde"))


def by_dynamic(network: Network) -> Network:
    quantizer = find("quantizer", "dynamic")()  # type: ignore[misc]
    found = places_of(network, Selection(), ("weights", "activations"), quantizer)
    unseen = Observed(torch.zeros(()), torch.zeros(()))
    grids = weight_grids(network, found.weights, 8, quantizer)
    return network.restricted(grids | activation_grids(dict.fromkeys(found.activations, unseen), 8, quantizer))


@pytest.mark.parametrize("seed", range(5))
def test_a_range_that_is_computed_is_that_of_the_operator(seed: int) -> None:
    onnx = pytest.importorskip("onnx", reason='needs pip install "recipelang[onnxruntime]"')
    from onnx.reference import ReferenceEvaluator

    value = torch.randn(3, 7, generator=torch.Generator().manual_seed(seed)) * 10**seed + seed % 2 * 30
    names = ["y", "s", "z"]
    node = onnx.helper.make_node("DynamicQuantizeLinear", ["x"], names)
    given = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [3, 7])
    made = [
        onnx.helper.make_tensor_value_info(name, getattr(onnx.TensorProto, kind), None)
        for name, kind in zip(names, ("UINT8", "FLOAT", "UINT8"), strict=True)
    ]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [given], made))
    codes, scale, zero = ReferenceEvaluator(model).run(None, {"x": value.numpy()})
    expected = (codes.astype(numpy.float32) - zero) * scale
    assert torch.allclose(Dynamic().apply(value), torch.from_numpy(expected), rtol=1e-5)


def test_zeros_stay_and_gradients_pass() -> None:
    value = torch.tensor([0.0, -1.0, 2.0, 0.004], requires_grad=True)
    found = Dynamic().apply(value)
    assert found[0] == 0 and not torch.equal(found, value)
    found.sum().backward()
    assert value.grad is not None and value.grad.tolist() == [1.0] * 4
    assert torch.equal(Dynamic().apply(torch.zeros(4)), torch.zeros(4))


def test_attention_is_unfolded_so_that_its_products_are_seen(vit: Network) -> None:
    seen = attending(vit, Selection())
    assert [edit.kind for edit in seen.edits] == ["unfold_attention"]
    assert isinstance(seen.module.get_submodule(f"{LAYERS}0.self_attention"), Headed)
    assert not isinstance(vit.module.get_submodule(f"{LAYERS}0.self_attention"), Headed), "the network before stays"
    images = example_input(vit, 2)
    assert torch.allclose(seen.module(images), vit.module(images), atol=1e-5)
    before, after = (places_of(one, Selection(), ("weights", "activations")) for one in (vit, seen))
    assert "attention computes its input by itself" in before.inputs.values() and not after.inputs
    assert len(after.activations) > len(before.activations)
    last = Selection((Selector("glob", "heads.*"),))
    assert attending(vit, last) is vit, "no attention is selected"
    part = Selection((Selector("glob", f"{LAYERS}1.*"),))
    assert attending(vit, part).edits[0].paths == (f"{LAYERS}1.self_attention",)  # type: ignore[attr-defined]


def test_dynamic_quantizes_linear_layers_alone_just_where_they_read(vit: Network) -> None:
    network = by_dynamic(attending(vit, Selection()))
    weights = [place for place in network.restrictions if ":" not in place]
    assert "conv_proj.weight" not in weights and f"{LAYERS}0.self_attention.in_proj_weight" in weights
    assert len(weights) == 9 and len(network.restrictions) == 18
    found = places_of(attending(vit, Selection()), Selection(), ("weights",), find("quantizer", "dynamic")())  # type: ignore[misc]
    assert found.floating == {"conv_proj.weight": "the weight of a convolution layer"}


def test_the_program_multiplies_integers_in_every_linear_layer(vit: Network) -> None:
    pytest.importorskip("onnx", reason='needs pip install "recipelang[onnxruntime]"')
    pytest.importorskip("onnxruntime", reason='needs pip install "recipelang[onnxruntime]"')
    from recipelang.runtimes.onnx_executable import prepare

    network = by_dynamic(attending(vit, Selection()))
    ready = prepare(network, Deployment(batch=1))
    rows = {row.layer: row.executes for row in ready.execution()}
    assert rows.pop("conv_proj") == "dense" and set(rows.values()) == {"int8"} and len(rows) == 9
    images = example_input(network, 1)
    assert torch.allclose(
        ready(images), deployed(network)(images), atol=0.05 * float(deployed(network)(images).abs().max())
    )


class Recurrent(nn.Module):
    """A text-like transformer of torch's own encoder layers, without any convolution."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 2, 64, batch_first=True, dropout=0.0)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        """B×1×tokens×channels → B×5."""
        return self.head(self.encoder(x.squeeze(1)).mean(1))


def test_torchs_own_encoder_layers_are_quantized_too() -> None:
    torch.manual_seed(0)
    network = Network(Recurrent().eval(), {}, (1, 6, 32), classes=tuple("abcde"))
    seen = attending(network, Selection())
    quantized = by_dynamic(seen)
    assert len([place for place in quantized.restrictions if ":" not in place]) == 9
    images = example_input(network, 2)
    plain, answer = network.module(images), deployed(quantized)(images)
    assert not torch.equal(plain, answer) and torch.allclose(plain, answer, atol=0.1)
