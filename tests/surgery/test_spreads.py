"""`dfq`: what BatchNorm tells of activations, against drawn numbers and scipy."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.methods.quantizers.dfq import DFQ
from recipelang.plan import Selection
from recipelang.stages.quantize import _require
from recipelang.surgery.network import Network
from recipelang.surgery.spreads import Spread, spreads_of
from recipelang.verbs.quantize import Quantize

CLIPS = [(-math.inf, math.inf), (0.0, math.inf), (0.0, 6.0), (-1.0, 0.5)]


@pytest.mark.parametrize(("low", "high"), CLIPS)
def test_moments_are_those_of_drawn_numbers_and_of_an_integral(low: float, high: float) -> None:
    mean, deviation = torch.tensor([-3.0, -0.5, 0.0, 2.0, 7.0]).double(), torch.tensor([1, 2, 0.3, 1, 2]).double()
    found = Spread(mean, deviation).clipped(low, high).moments()
    drawn = (mean + deviation * torch.randn(400_000, 5, generator=torch.Generator().manual_seed(0)).double()).clamp(
        low, high
    )
    torch.testing.assert_close(found[0], drawn.mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(found[1], drawn.var(0), atol=0.05, rtol=0.02)
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    for c in range(5):
        m, s = float(mean[c]), float(deviation[c])
        inside = stats.norm(m, s).expect(lambda x: x, lb=low, ub=high)
        tails = sum(
            end * mass
            for end, mass in ((low, stats.norm.cdf(low, m, s)), (high, stats.norm.sf(high, m, s)))
            if math.isfinite(end)
        )
        assert float(found[0][c]) == pytest.approx(inside + tails, abs=1e-6)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 2, 1)
        self.an, self.bn, self.act, self.six = nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.ReLU(), nn.ReLU6()
        for norm in (self.an, self.bn):
            nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)

    def forward(self, x: Tensor) -> Any:
        x = self.act(self.an(self.a(x)))
        y = self.six(x + self.bn(self.b(x)))
        return self.c(self.c(y).sigmoid().mean(1, keepdim=True) * y)


def test_ranges_are_the_formula_and_the_rest_has_its_reason() -> None:
    module = Residual().eval()
    network = Network(module, {"kind": "test"}, (3, 6, 6))
    known, unknown = spreads_of(network)
    one = known["act:relu"]
    beta, gamma = module.an.bias.detach().double(), module.an.weight.detach().double().abs()
    assert one.ends(6) == pytest.approx((float((beta - 6 * gamma).clamp_min(0).min()), float((beta + 6 * gamma).max())))
    (total,) = (known[place] for place in known if place.endswith(":add"))
    torch.testing.assert_close(total.mean, one.moments()[0] + module.bn.bias.detach().double())
    torch.testing.assert_close(total.deviation.square(), one.moments()[1] + module.bn.weight.detach().double().square())
    assert known["six:hardtanh"].ends(100) == pytest.approx((0.0, 6.0))
    assert "input" in unknown and any(place.endswith(":mul") for place in unknown)
    whole = Quantize(("weights", "activations"), 8, DFQ())
    _, found = _require(whole, network)
    assert {"act:relu", "six:hardtanh"} <= set(found.activations) and "input" not in found.activations
    assert "without data the range of the network's input is not known" in found.inputs.values()


def test_a_network_without_batchnorm_is_refused() -> None:
    network = Network(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), {"kind": "test"}, (4,))
    with pytest.raises(Refusal) as refused:
        _require(Quantize(("weights", "activations"), 8, DFQ(), Selection()), network)
    assert refused.value.code == "RCP1439"
