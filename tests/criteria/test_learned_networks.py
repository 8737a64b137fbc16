"""Criteria that train or sample something of their own, on networks of every sort: each scores what it can, the same
again, and changes nothing."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.methods.criteria.dcp import DCP
from recipelang.methods.criteria.gaussian import Gaussian
from recipelang.methods.criteria.pfp import PFP
from recipelang.methods.criteria.scop import SCOP
from recipelang.methods.units.filters import Filters
from recipelang.methods.units.heads import Heads
from recipelang.methods.units.layers import Layers
from recipelang.methods.units.neurons import Neurons
from recipelang.scoring.ranking import rank
from recipelang.surgery.network import Network

CRITERIA = {
    "gaussian": Gaussian(steps=3, samples=8, batch=4),
    "scop": SCOP(steps=3, samples=8, batch=4),
    "dcp": DCP(rounds=2, steps=2, samples=8, batch=4),
    "pfp": PFP(rows=16),
    "pfp(draw=top)": PFP(draw="top", rows=16),
}


class Residual(nn.Module):
    """A sum of several makers, read at several places, with norms; a squeeze that is not coupled by weights."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.inner, self.last = nn.Conv2d(6, 5, 3, padding=1), nn.Conv2d(5, 6, 1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x)).relu_()
        return self.head((x + self.last(self.inner(x).relu())).mean((2, 3)))


class Depthwise(nn.Module):
    """Inverted residual: widen, depthwise, narrow; then a grouped convolution and a flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.widen, self.depth = nn.Conv2d(1, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.narrow, self.grouped = nn.Conv2d(8, 6, 1), nn.Conv2d(6, 4, 3, stride=4, groups=2)
        self.head = nn.Linear(4 * 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.narrow(nn.functional.hardswish(self.depth(nn.functional.relu6(self.widen(x)))))
        return self.head(self.grouped(x).tanh().flatten(1))


class Tokens(nn.Module):
    """A transformer of patches: heads, and neurons of its MLP."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 12, 4, stride=4)
        self.norm, self.qkv, self.out = nn.LayerNorm(12), nn.Linear(12, 36), nn.Linear(12, 12)
        self.second, self.up, self.down = nn.LayerNorm(12), nn.Linear(12, 16), nn.Linear(16, 12)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).mT
        q, k, v = self.qkv(self.norm(x)).reshape(len(x), -1, 3, 3, 4).permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.out(y.transpose(1, 2).reshape(x.shape))
        x = x + self.down(nn.functional.gelu(self.up(self.second(x))))
        return self.head(x.mean(1))


class Encoder(nn.Module):
    """torch's own attention and MLP, which run as one fused function unless that is disabled."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 12, 4, stride=4)
        self.layer = nn.TransformerEncoderLayer(12, 3, 16, batch_first=True, norm_first=True)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.patches(x).flatten(2).mT).mean(1))


class Twice(nn.Module):
    """A module that is called twice, and channels of two branches side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.same = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.left, self.right = nn.Conv2d(4, 5, 1), nn.Conv2d(4, 3, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.same(self.same(self.stem(x).relu()).relu()).relu()
        return self.head(torch.cat([self.left(x), self.right(x)], 1).relu().mean((2, 3)))


MLP = [nn.Flatten(), nn.Linear(64, 10), nn.ReLU(), nn.Linear(10, 7), nn.Sigmoid(), nn.Linear(7, 4)]
#: network, unit → groups that every one of the criteria scores
NETWORKS: dict[str, tuple[Any, Any, set[str]]] = {
    "residual": (Residual, Filters(round=1), {"stem", "inner"}),
    "depthwise": (Depthwise, Filters(round=1), {"widen", "narrow", "grouped"}),
    "neurons": (Tokens, Neurons(round=1), {"up"}),
    "heads": (Tokens, Heads(), {"qkv"}),
    "encoder's neurons": (Encoder, Neurons(round=1), {"layer.linear1"}),
    "encoder's heads": (Encoder, Heads(), {"layer.self_attn"}),
    "twice": (Twice, Filters(round=1), {"left", "right"}),
    "mlp": (lambda: nn.Sequential(*copy.deepcopy(MLP)), Neurons(round=1), {"1", "3"}),
}


@pytest.mark.parametrize("name", CRITERIA)
@pytest.mark.parametrize("kind", NETWORKS)
def test_on_networks_of_every_sort(name: str, kind: str, learned: Any) -> None:
    """Every group has scores for each of its parts, a repeat gives the same, and the network is as it was."""
    criterion: Any = CRITERIA[name]
    build, unit, groups = NETWORKS[kind]
    torch.manual_seed(0)
    network, data = Network(build().eval(), {}, (1, 8, 8)), learned.images()
    before = {key: value.clone() for key, value in network.module.state_dict().items()}
    evidence = learned.evidence(network, data, criterion, unit)
    scores = criterion.score(evidence)
    assert groups <= set(scores)
    for group, score in scores.items():
        assert tuple(score.shape) == evidence.shapes[group]
        assert bool(torch.isfinite(score).all())
        assert not score.requires_grad
    again = criterion.score(learned.evidence(network, data, criterion, unit))
    assert all(torch.equal(scores[group], again[group]) for group in scores)
    for key, value in evidence._evidence.module.state_dict().items():
        assert torch.equal(value, before[key]), "evidence is not to be changed"
    steps = rank(criterion, unit, learned.evidence(network, data, criterion, unit), evidence._evidence.groups).steps
    assert {step.group for step in steps} == {group for group in scores if evidence.shapes[group][0] > 1}


class Picks(nn.Module):
    """Every neuron is one pixel of the image, and the head looks for the classes among them."""

    def __init__(self) -> None:
        super().__init__()
        self.pick, self.head = nn.Linear(64, 8, bias=False), nn.Linear(8, 4)
        with torch.no_grad():
            self.pick.weight.copy_(torch.eye(64)[:8] + 1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pick(x.flatten(1)).tanh())


@pytest.mark.parametrize(
    "criterion",
    [Gaussian(steps=80, samples=96, weight=1e-5), SCOP(steps=60, samples=96), DCP(rounds=8, samples=96)],
    ids=["gaussian", "scop", "dcp"],
)
def test_what_tells_the_classes_apart_is_most_important(criterion: Any, learned: Any, lab: Any) -> None:
    """Pixel 5 has the class in it, the others are noise that a trained head reads a little."""
    torch.manual_seed(0)
    images, labels = torch.randn(96, 1, 8, 8), torch.arange(96) % 4
    images.flatten(1)[:, 5] = labels * 2.0 - 3 + 0.3 * torch.randn(96)
    module = Picks()
    optimizer = torch.optim.Adam(module.head.parameters(), lr=0.05, weight_decay=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(images), labels).backward()
        optimizer.step()
    network = Network(module.eval(), {}, (1, 8, 8))
    data = lab.Images({"train": (images, labels)}, 4)
    scores = criterion.score(learned.evidence(network, data, criterion, Neurons(round=1)))["pick"]
    assert int(scores.argmax()) == 5


@pytest.mark.parametrize("name", ["gaussian", "scop"])
def test_layers_take_the_mean_over_their_outputs(name: str, learned: Any, lab: Any) -> None:
    criterion: Any = CRITERIA[name]
    network, data = Network(lab.small(3).eval(), {}, (1, 8, 8)), learned.images()
    evidence = learned.evidence(network, data, criterion, Layers())
    scores = criterion.score(evidence)
    assert set(scores) == {f"{k}.conv.weight" for k in (1, 2, 3)}
    found = {s.group: s.score for s in rank(criterion, Layers(), evidence, evidence._evidence.groups).steps}
    assert found == {k: pytest.approx(float(scores[f"{k}.conv.weight"].mean()), rel=1e-5) for k in "123"}


class Interrupted(Exception):
    pass


class Stopping:
    """Progress that fails in the middle of the work."""

    def __init__(self) -> None:
        self.steps = 0

    def start(self, what: str, total: int | None = None) -> None: ...

    def advance(self, parts: int = 1, note: str = "") -> None:
        self.steps += 1
        if self.steps == 2:
            raise Interrupted

    def stop(self) -> None: ...

    def say(self, line: str) -> None: ...


@pytest.mark.parametrize("name", ["gaussian", "scop", "dcp"])
def test_a_ranking_that_was_interrupted_starts_again_and_is_the_same(name: str, learned: Any) -> None:
    criterion: Any = CRITERIA[name]
    network, data = learned.plain(), learned.images()
    expected = criterion.score(learned.evidence(network, data, criterion))
    stopped = learned.evidence(network, data, criterion, progress=Stopping())
    with pytest.raises(Interrupted):
        criterion.score(stopped)
    found = criterion.score(learned.evidence(network, data, criterion))
    assert all(torch.equal(found[group], score) for group, score in expected.items())
    assert all(torch.equal(criterion.score(stopped)[group], score) for group, score in expected.items())


@pytest.mark.parametrize("name", ["gaussian", "scop"])
def test_a_network_that_has_diverged_is_refused(name: str, learned: Any) -> None:
    network, data = learned.plain(), learned.images()
    with torch.no_grad():
        network.module.second.weight[0, 0] = float("nan")
    criterion: Any = CRITERIA[name]
    with pytest.raises(Refusal) as refusal:
        criterion.score(learned.evidence(network, data, criterion))
    assert refusal.value.code in ("RCP1005", "RCP1010")


def test_the_images_are_asked_for_by_number(learned: Any, lab: Any) -> None:
    empty = lab.Images({"train": (torch.zeros(0, 1, 8, 8), torch.zeros(0, dtype=torch.long))}, 4)
    for criterion in CRITERIA.values():
        with pytest.raises(Refusal, match="no train") as refusal:
            criterion.score(learned.evidence(learned.plain(), empty, criterion))
        assert refusal.value.code == "RCP1008"
