"""Answers of programs held against the simulated network: ties that multiply are told from what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.runtimes import onnx_compared
from recipelang.runtimes.onnx_compared import AS_WRITTEN, OPTIMISED, distance, flat_answers, verify
from recipelang.surgery.deployed import deployed
from recipelang.surgery.network import Network
from recipelang.surgery.places import calls_of
from recipelang.surgery.restrictions.dynamic import Dynamic
from recipelang.surgery.tracing import example_input

Call = Callable[[Tensor], Any]


class Fixed(nn.Module):
    """A layer whose code says float32."""

    def forward(self, x: Tensor) -> Tensor:
        return x @ torch.eye(x.shape[-1])


def layers(deep: int, wide: int, *more: nn.Module) -> Network:
    """Linear layers with norms; what the norms return is on grids of 8 bits whose ranges are computed."""
    torch.manual_seed(0)
    made = chain.from_iterable((nn.Linear(wide, wide), nn.LayerNorm(wide), nn.GELU()) for _ in range(deep))
    network = Network(nn.Sequential(*made, *more).eval(), {}, (16, wide))
    places = [place for place in calls_of(network.module, example_input(network)) if place.endswith(":layer_norm")]
    assert len(places) == deep
    return network.restricted({place: Dynamic() for place in places})


def apart(network: Network, call: Call) -> float:
    """The distance of answers from the simulated network's, as a part of that between the latter and float32."""
    inputs = [example_input(network, 8)]
    simulated = flat_answers(deployed(network), inputs)
    rounding = distance(simulated, flat_answers(deployed(replace(network, restrictions={})), inputs))
    return distance(flat_answers(call, inputs), simulated) / rounding


def in_float64(network: Network) -> Call:
    """The simulated network, with other sums."""
    module = deployed(network).double()
    return lambda inputs: module(inputs.double())


def reflected(network: Network) -> Call:
    """As far from the simulated network as float32 is, on its other side: what no order of sums gives by itself."""
    simulated, exact = deployed(network), deployed(replace(network, restrictions={}))
    return lambda inputs: 2 * simulated(inputs) - exact(inputs)


def test_ties_that_a_deep_network_multiplies_are_not_an_error_of_the_runtime() -> None:
    """The simulation in float64 is not nearer to that in float32, and neither is wrong."""
    network = layers(80, 256)
    call = in_float64(network)
    assert AS_WRITTEN < apart(network, call) < OPTIMISED
    verify(network, "onnxruntime", call, (8,), lambda: call)
    with pytest.raises(Refusal, match=r"onnxruntime's answers are .* from the network's") as caught:
        verify(network, "onnxruntime", call, (8,), lambda: lambda inputs: call(inputs).roll(1, -1))
    assert caught.value.code == "RCP1028"


@pytest.mark.parametrize("more", [(), (Fixed(),)], ids=["float64", "float32 alone"])
def test_the_closer_bound_stays_where_sums_move_little(more: tuple[nn.Module, ...]) -> None:
    """And where the network does not compute in float64, so that nobody can say how much they move."""
    network = layers(2, 16, *more)
    simulated, call = deployed(network), reflected(network)
    assert apart(network, call) == pytest.approx(1, rel=1e-3)
    verify(network, "onnxruntime", call, (8,), lambda: simulated)
    with pytest.raises(Refusal, match="is allowed") as caught:
        verify(network, "onnxruntime", simulated, (8,), lambda: call)
    assert caught.value.code == "RCP1028"


def test_sums_are_moved_only_where_the_closer_bound_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second simulation takes time."""
    network = layers(2, 16)
    monkeypatch.setattr(onnx_compared, "_moved_by_sums", None)
    verify(network, "onnxruntime", deployed(network), (8,), lambda: deployed(network))
