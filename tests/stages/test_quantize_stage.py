"""`quantize` on small networks: bounded memory, mixed widths, activations without width, and lapq by the loss."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from contexts import Images, context, operation
from torch import Tensor, nn

from recipelang.budgets.conditions import Value, judge
from recipelang.errors import Refusal
from recipelang.stages.quantize import run
from recipelang.surgery.network import Network
from recipelang.surgery.restrictions.grid import Grid


class Dead(nn.Module):
    """Three layers; what enters the second is zero for every image."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.dead, self.last = nn.Conv2d(4, 6, 3), nn.Conv2d(6, 6, 3), nn.Linear(6, 3)

    def forward(self, images: Tensor) -> Tensor:
        seen = self.first(images)
        return self.last((seen + self.dead((seen.abs() * -1).relu()).mean()).mean((2, 3)))


def network() -> Network:
    return Network(Dead(), {"kind": "test"}, (4, 8, 8))


def quantized(text: str, tmp_path: Any, **changes: Any) -> Any:
    return run(operation(text), replace(context(network(), Images(), tmp_path), **changes))


def bits(outcome: Any) -> dict[str, int]:
    return {
        place: one.scheme.bits
        for place, each in outcome.network.restrictions.items()
        for one in each
        if isinstance(one, Grid)
    }


@pytest.mark.parametrize("method", ["minmax", "mse", "kl", "lapq(8, steps=10)"])
def test_an_activation_that_was_always_zero_stays_in_floating_point(method: str, tmp_path: Any) -> None:
    outcome = quantized(f"quantize weights, activations to 8 bits by {method} on train(samples=16)", tmp_path)
    assert "it was zero on all samples" in outcome.note
    assert not any(place.endswith("relu") for place in bits(outcome))
    assert {"first.weight", "dead.weight", "last.weight", "input"} <= bits(outcome).keys()


def test_a_search_of_widths_counts_no_activation_that_stays_in_floating_point(tmp_path: Any) -> None:
    def size(_: Any, network: Network) -> float:
        weights = dict(network.module.named_parameters())
        return sum(one.stored(weights[name]) for name in weights for one in network.restrictions.get(name, ()))

    def verdict(condition: Any, network: Network, surely: bool) -> Any:
        return judge(condition, lambda reading: Value.exactly(size(reading, network)), "surely" if surely else "likely")

    text = "quantize weights, activations until size < 400B with sensitivity(8)"
    outcome = quantized(text, tmp_path, read=size, judge=verdict)
    assert "it was zero on all samples" in outcome.note
    activations = [place for place in bits(outcome) if not place.endswith("weight")]
    assert not any(place.endswith("relu") for place in activations)
    (counted,) = (figure for figure in outcome.reached if figure.noun == "activation")
    assert counted.value == len(activations)


def test_a_second_statement_gives_the_first_and_last_layers_other_widths(tmp_path: Any) -> None:
    before = context(network(), Images(), tmp_path)
    few = run(operation("quantize weights, activations to 4 bits on train(samples=16)"), before).network
    more = operation("quantize weights, activations to 8 bits in first, last on train(samples=16)")
    found = bits(run(more, replace(before, network=few)))
    assert found["first.weight"] == found["input"] == found["last.weight"] == 8
    assert found["dead.weight"] == 4


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_infinities_are_refused_where_they_are(value: float, tmp_path: Any) -> None:
    broken = network()
    with torch.no_grad():
        broken.module.first.bias[0] = value  # type: ignore[union-attr, index]
    with pytest.raises(Refusal, match="NaN or infinite") as refused:
        run(operation("quantize activations to 8 bits on train(samples=16)"), context(broken, Images(), tmp_path))
    assert refused.value.code == "RCP1010"


def test_what_is_kept_of_activations_does_not_grow_with_the_images(tmp_path: Any, monkeypatch: Any) -> None:
    """An estimator sees the same number of values of 16 images and of 160."""
    from recipelang.stages import quantize

    class More(Images):
        def size(self, split: str) -> int:
            return 160

        def batches(self, split: str, **_: Any) -> Any:
            for _ in range(10):
                yield from super().batches(split)

    monkeypatch.setattr(quantize, "SEEN", 1000)
    counts = []
    spy = quantize.activation_grids

    def counting(seen: Any, *arguments: Any) -> Any:
        counts.append({place: one.values.numel() for place, one in seen.items()})
        return spy(seen, *arguments)

    monkeypatch.setattr(quantize, "activation_grids", counting)
    for data in (Images(), More()):
        quantized("quantize activations to 8 bits by mse on train(samples=160)", tmp_path, data=data)
    assert counts[0].keys() == counts[1].keys()
    assert all(count <= 1000 for count in counts[1].values()) and counts[1]["input"] == 1000
