"""Criteria on weights that are raw parameters, run the other way, recur, or are computed from parameters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from recipelang.errors import Refusal
from recipelang.methods.criteria.magnitude import Magnitude
from recipelang.methods.criteria.sparsegpt import SparseGPT
from recipelang.methods.criteria.taylor import Taylor
from recipelang.methods.criteria.wanda import Wanda
from recipelang.scoring.evidence import Gathered
from recipelang.scoring.ranking import score_elements
from recipelang.surgery.network import Network


class Raw(nn.Module):
    """x + F.linear(relu(F.linear(x, w_in)), w_out) over tokens: raw parameters."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.w_in, self.w_out = (nn.Parameter(torch.randn(n, m) / 4) for n, m in ((8, width), (width, 8)))

    def forward(self, x: Tensor) -> Tensor:
        return x + F.linear(torch.relu(F.linear(x, self.w_in)), self.w_out)


class Turned(nn.Module):
    """The same, with the inputs along the first axis."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.w_in, self.w_out = (nn.Parameter(torch.randn(m, n) / 4) for n, m in ((8, width), (width, 8)))

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.relu(x @ self.w_in) @ self.w_out


class Normed(nn.Module):
    """Weight-normed convolutions in a residual block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.b = (parametrizations.weight_norm(nn.Conv2d(width, width, 3, padding=1)) for _ in "ab")

    def forward(self, x: Tensor) -> Tensor:
        return x + self.b(torch.relu(self.a(x)))


class Cells(nn.Module):
    """x + LSTM(x) over rows."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cells = nn.LSTM(width, width, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.cells(x)[0]


class Tokens(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).mT


class Pool(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def network(block: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    images = block is Normed
    stem = nn.Conv2d(1, 8, 2, 2)
    middle: list[nn.Module] = [block(8) for _ in range(3)]
    around = [nn.AdaptiveAvgPool2d(1), nn.Flatten()] if images else [Pool()]
    return nn.Sequential(stem, *([] if images else [Tokens()]), *middle, *around, nn.Linear(8, 4))


def evidence_of(lab: Any, module: nn.Module, **more: Any) -> Gathered:
    return Gathered(Network(module, {}, (1, 8, 8)), lab.images(), lab.CrossEntropy(), unit="element", **more)


def test_single_raw_weights_are_scored_as_those_of_layers(lab: Any) -> None:
    module = network(Raw)
    evidence = evidence_of(lab, module)
    images = lab.images().splits["train"][0]
    with torch.no_grad():
        x = module[1](module[0](images))
        inner = torch.relu(F.linear(x, module[2].w_in))
    wanda = score_elements(Wanda(), evidence)
    for name, rows in (("2.w_in", x), ("2.w_out", inner)):
        weight = module.get_parameter(name).detach()
        torch.testing.assert_close(wanda[name], weight.abs() * rows.flatten(0, 1).norm(dim=0), rtol=1e-4, atol=1e-5)
    moments = dict(evidence.second_moments(["2.w_in"]))["2.w_in"]
    rows = x.flatten(0, 1)
    torch.testing.assert_close(moments[0], 2 / len(rows) * rows.T @ rows, rtol=1e-4, atol=1e-5)
    assert set(score_elements(Magnitude(), evidence)) == {
        "0.weight", *(f"{k}.{w}" for k in "234" for w in ("w_in", "w_out")), "6.weight",
    }  # fmt: skip
    assert set(score_elements(SparseGPT(), evidence)) == set(evidence.weights)


@pytest.mark.parametrize("block", [Raw, Turned, Cells])
def test_gradients_of_raw_and_recurrent_weights_are_autograds(lab: Any, block: type[nn.Module]) -> None:
    module = network(block).eval()
    evidence = evidence_of(lab, module)
    data = lab.images()
    expected: dict[str, Tensor] = {}
    for images, labels in zip(*(part.split(data.batch) for part in data.splits["train"]), strict=True):
        module.zero_grad()
        F.cross_entropy(module(images), labels).backward()
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                expected[name] = expected.get(name, 0) + (parameter.grad * parameter.detach()) ** 2 / 3
    found = Taylor().score(evidence)
    assert set(found) == set(expected)
    for name, score in found.items():
        torch.testing.assert_close(score, expected[name], rtol=1e-3, atol=1e-9)


def layers_of(lab: Any, module: nn.Module) -> Gathered:
    evidence: Gathered = lab.gathered(module, lab.images())
    assert {candidate.name for candidate in evidence.candidates} <= {"1", "2", "3", "4"} and evidence.candidates
    return evidence


@pytest.mark.parametrize("block", [Raw, Turned, Cells])
def test_layers_are_ranked_by_all_their_weights_with_filters_at_their_outputs(lab: Any, block: type[nn.Module]) -> None:
    module = network(block)
    scores = lab.ranking(Magnitude(), layers_of(lab, module))
    for name, score in scores.items():
        weights = [p.detach() for p in module.get_submodule(name).parameters() if p.ndim > 1]
        rows = [w.mT if block is Turned else w for w in weights]
        assert score == pytest.approx(float(torch.cat([w.norm(dim=1) for w in rows]).mean()), rel=1e-5)


def test_computed_weights_count_with_their_effective_values(lab: Any) -> None:
    evidence = layers_of(lab, network(Normed))
    scores = lab.ranking(Magnitude(), evidence)
    assert set(scores) == {"1", "2", "3"}
    for name, score in scores.items():
        block = evidence.network.module.get_submodule(name)
        filters = torch.cat([part.weight.detach().flatten(1).norm(dim=1) for part in (block.a, block.b)])
        assert score == pytest.approx(float(filters.mean()), rel=1e-5)


def test_what_a_criterion_cannot_look_at_is_refused_and_not_left_out(lab: Any) -> None:
    for criterion, evidence, word in (
        (Taylor(), layers_of(lab, network(Normed)), "gradients of `1.a.weight`"),
        (Wanda(), layers_of(lab, network(Normed)), "inputs of `1.a.weight`"),
        (Wanda(), layers_of(lab, network(Turned)), "inputs of `2.w_in`"),
        (Wanda(), layers_of(lab, network(Cells)), "inputs of `2.cells.weight_ih_l0`"),
    ):
        with pytest.raises(Refusal, match=word) as refusal:
            lab.ranking(criterion, evidence)
        assert refusal.value.code == "RCP0732"
