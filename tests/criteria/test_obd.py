"""`obd`: diagonals against the exact Hessian by autograd, on networks so small that it can be written down."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy.linalg import hadamard
from torch import Tensor, nn
from torch.autograd.functional import hessian
from torch.func import functional_call

from recipelang.kinds import Batch
from recipelang.methods.criteria.obd import OptimalBrainDamage
from recipelang.scoring import curvature
from recipelang.scoring.curvature import fisher_diagonal, hutchinson_diagonal

IMAGES = torch.randn(11, 3, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(11) % 3


def tiny(activation: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), activation, nn.Linear(4, 3))


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: p for name, p in module.named_parameters() if name.endswith("weight")}


def batches() -> list[Any]:
    return [Batch(*batch) for batch in zip(IMAGES.split(4), LABELS.split(4), strict=True)]


def exact(module: nn.Module, of: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """The diagonal of the Hessian of a function of the outputs, weight by weight."""
    found = {}
    for name, weight in weights_of(module).items():
        values = {key: p.detach() for key, p in module.named_parameters()}

        def loss(w: Tensor, name: str = name, values: Any = values) -> Tensor:
            return of(functional_call(module, {**values, name: w}, (IMAGES,)))

        full = hessian(loss, weight.detach()).reshape(weight.numel(), weight.numel())
        found[name] = full.diagonal().reshape(weight.shape)
    return found


def gauss_newton(module: nn.Module) -> dict[str, Tensor]:
    """Σ_n JᵀHJ / n, J of every image's outputs, H = diag(p) − ppᵀ."""
    found = {name: torch.zeros_like(weight) for name, weight in weights_of(module).items()}
    for image in IMAGES:
        outputs = module(image)
        p = outputs.detach().softmax(0)
        curvature = p.diag() - p[:, None] * p
        for name, weight in weights_of(module).items():
            rows = torch.stack([torch.autograd.grad(o, weight, retain_graph=True)[0] for o in outputs])
            found[name] += torch.einsum("cij,cd,dij->ij", rows, curvature, rows) / len(IMAGES)
    return found


def close(found: dict[str, Tensor], expected: dict[str, Tensor], share: float) -> None:
    for name, value in expected.items():
        assert float((found[name] - value).abs().max()) < share * float(value.abs().max()), name


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.GELU()])
def test_fisher_is_the_gauss_newton_diagonal(activation: nn.Module) -> None:
    module = tiny(activation)
    expected = gauss_newton(module)
    found = fisher_diagonal(weights_of(module), batches(), lambda batch: module(batch[0]), 1000)
    close(found, expected, 0.2)
    assert all(float(value.min()) >= 0 for value in found.values())


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.GELU()])
def test_hutchinson_is_the_diagonal_of_the_hessian(activation: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the 32 rows of a Hadamard matrix for signs, v_i·v_j is on average exactly 0 for i ≠ j, of 24 weights."""
    module = tiny(activation)
    rows = [torch.from_numpy(row)[:24].float() for row in hadamard(32)]
    taken: list[Tensor] = []

    def signs(shape: torch.Size, generator: torch.Generator) -> Tensor:
        if not taken:
            rows.append(rows.pop(0))
            taken.extend(rows[-1].split(12))
        return taken.pop(0).reshape(shape)

    monkeypatch.setattr(curvature, "_signs", signs)
    expected = exact(module, lambda out: nn.functional.cross_entropy(out, LABELS))

    def loss(batch: Any) -> Tensor:
        return nn.functional.cross_entropy(module(batch[0]), batch[1])

    close(hutchinson_diagonal(weights_of(module), batches(), loss, 32), expected, 1e-4)
    if isinstance(activation, nn.ReLU):
        module.requires_grad_(True)
        close(gauss_newton(module), expected, 1e-4)  # piecewise linear in every weight: the two are the same


def test_one_weight_by_hand() -> None:
    """Two classes, scores (w·x, 0): h = x²·p(1 − p) for every x, whatever is drawn; obd is h·w²/2."""

    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([[0.5]]))

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x @ self.weight.T, torch.zeros(len(x), 1)], 1)

    module, x = One(), torch.tensor([[2.0]])
    p = float(torch.sigmoid(torch.tensor(1.0)))
    found = hutchinson_diagonal(
        {"weight": module.weight},
        [Batch(x, torch.tensor([0]))],
        lambda b: nn.functional.cross_entropy(module(b[0]), b[1]),
        1,
    )
    assert float(found["weight"]) == pytest.approx(4 * p * (1 - p), rel=1e-5)
    drawn = fisher_diagonal({"weight": module.weight}, [Batch(x, None)], lambda b: module(b[0]), 1000)
    assert float(drawn["weight"]) == pytest.approx(4 * p * (1 - p), rel=0.15)


@pytest.mark.parametrize("how", ["fisher", "hutchinson"])
def test_scores_of_a_network_are_half_h_w_squared(lab: Any, how: str) -> None:
    evidence = lab.gathered(lab.small(2), lab.images(), unit="element", needs=OptimalBrainDamage.needs)
    found = OptimalBrainDamage(how, 2).score(evidence)
    again = evidence.hessian_diagonal(how, 2)
    assert set(found) == set(evidence.weights)
    for name, weight in evidence.weights.items():
        torch.testing.assert_close(found[name], again[name] * weight.detach() ** 2 / 2)
    assert not any(weight.requires_grad for weight in evidence.weights.values())


def test_attention_has_second_derivatives_too() -> None:
    """Fused attention has none: its parts are used instead."""

    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.head = nn.Linear(4, 12), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = self.qkv(x).chunk(3, -1)
            return self.head(nn.functional.scaled_dot_product_attention(q, k, v).mean(1))

    torch.manual_seed(0)
    module = Attending()
    images = torch.randn(6, 5, 4)

    def loss(batch: Any) -> Tensor:
        return nn.functional.cross_entropy(module(batch[0]), batch[1])

    found = hutchinson_diagonal(weights_of(module), [Batch(images, LABELS[:6])], loss, 3)
    assert all(float(value.abs().max()) > 0 for value in found.values())
