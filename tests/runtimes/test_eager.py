"""Torch as a runtime: precisions, compilation, and how layers execute without sparse kernels."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.kernels.nm.reference import nm_mask
from recipelang.kinds import Deployment, LayerExecution
from recipelang.methods.patterns.nm import NM
from recipelang.runtimes.eager import execution, prepare
from recipelang.surgery.deployed import deployed
from recipelang.surgery.edits import RemoveLayer, apply_edits
from recipelang.surgery.masks import sparsify
from recipelang.surgery.network import Accelerated, Network
from recipelang.surgery.parity import relative_difference
from recipelang.surgery.tracing import example_input


def test_how_layers_execute(digits: Network) -> None:
    smaller = apply_edits(digits, [RemoveLayer("layer1.2", ("layer1.2",))])
    weight = smaller.module.linear.weight.detach()
    sparse = sparsify(smaller, NM(), {"linear.weight": weight.abs()})
    assert torch.equal(sparse.masks["linear.weight"].keep, nm_mask(weight.abs(), 2, 4))
    rows = {row.layer: row for row in execution(sparse)}
    assert rows["layer1.2"].executes == "removed"
    assert rows["layer1.1.conv1"] == LayerExecution("layer1.1.conv1", (16, 16, 3, 3), "dense", "no mask")
    assert rows["linear"].executes == "masked only" and "accelerate" in rows["linear"].why
    asked = {row.layer: row for row in execution(replace(sparse, accelerated=Accelerated(("linear",), (), "latency")))}
    assert "a CPU has no sparse matrix units" in asked["linear"].why


class Places(nn.Module):
    """Adds float32 constants, whatever its input is."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2).transpose(1, 2)
        return self.head(x + torch.linspace(-1, 1, x.shape[1], device=x.device)[:, None]).mean(1)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize("accelerated", [False, True])
def test_a_precision_that_the_network_cannot_compute_in_is_refused(precision: str, accelerated: bool) -> None:
    network = Network(Places(), {}, (3, 8, 8))
    if accelerated:
        network = replace(network, accelerated=Accelerated((), ("dense",), "latency"))
    assert prepare(network)(torch.randn(2, 3, 8, 8)).shape == (2, 5)
    with pytest.raises(Refusal) as caught:
        prepare(network, Deployment(precision=precision))
    assert caught.value.code == "RCP0726"
    assert caught.value.message.startswith(f"the network cannot compute in {precision}: RuntimeError: mat1 and mat2")


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_precisions_that_it_can_compute_in(precision: str, digits: Network) -> None:
    ready = prepare(digits, Deployment(precision=precision))
    images = example_input(digits, 3)
    with torch.no_grad():
        found = ready(images.to(getattr(torch, precision)))
        assert relative_difference(found.float(), deployed(digits)(images)) < 0.05


def test_a_network_that_cannot_be_compiled_here_is_refused(digits: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    def backend(*_: object) -> None:
        raise OSError("no working C++ compiler found")

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda module, **_: real(module, backend=backend))
    with pytest.raises(
        Refusal, match="torch.compile cannot compile the network here: OSError: no working C"
    ) as refused:
        prepare(digits, Deployment(compiled=True))
    assert refused.value.code == "RCP1013" and "compiled=true" in refused.value.help
