"""The benchmark of quantized networks does what it says: every place gets a grid, and calls are timed in rounds."""

from __future__ import annotations

import torch
from residual_block import plain

from benchmarks.quantization import NETWORKS, REMOVED, ROUNDS, healthy, quantized, timed
from recipelang.runtimes.onnx_integers import grids
from recipelang.surgery.candidates import find_layers
from recipelang.surgery.tracing import example_input


def test_a_network_is_quantized_by_the_stage_itself() -> None:
    images = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    found = grids(quantized(plain(), images, "mse"))
    assert {"stem.weight", "one.weight", "two.weight", "linear.weight", "input"} <= set(found)
    assert all(grid.scheme.bits == 8 for grid in found.values())


def test_calls_take_turns() -> None:
    made: list[str] = []
    times = timed({("a", ""): lambda x: made.append("a"), ("b", ""): lambda x: made.append("b")}, torch.zeros(1))
    assert [len(each) for each in times.values()] == [ROUNDS, ROUNDS]
    assert made.count("a") > ROUNDS and made.count("b") > ROUNDS


def test_the_blocks_that_are_removed_can_be() -> None:
    network = healthy("resnet56")
    able = {one.name for one in find_layers(network.module, example_input(network))}
    assert {f"layer{block}" for block in REMOVED} <= able and len(able) == 25
    assert NETWORKS["resnet56"][2] == {"int8": 0.45, "both": 0.31}
