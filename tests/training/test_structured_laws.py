"""The laws of `ssl` and `sss`: the closed form of a step, the penalty and its gradient, the factors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from penalised import made, trained

from recipelang.images.dataset import ImageDataset
from recipelang.kinds import Moment, Seen
from recipelang.methods.companions.ssl import Ssl
from recipelang.methods.companions.sss import Sss
from recipelang.methods.ramps.linear import Linear


def test_one_step_is_that_of_the_optimizer_and_then_the_closed_form(data: ImageDataset, silent: Any) -> None:
    network, lr, strength = made("residual"), 0.05, 0.4
    plain, _ = trained(network, data, silent, None, steps=1, lr=lr)
    found, _ = trained(network, data, silent, Ssl(channels=strength), steps=1, lr=lr)
    for name, weight in plain.module.named_parameters():
        expected = weight.detach()
        if weight.ndim > 1:
            norms = expected.transpose(0, 1).flatten(1).norm(dim=1)
            scales = (1 - lr * strength / norms).clamp_min(0)
            expected = expected * scales.reshape(1, -1, *[1] * (weight.ndim - 2))
        torch.testing.assert_close(found.module.get_parameter(name).detach(), expected, rtol=1e-5, atol=1e-6)


def test_the_strength_of_a_step_may_be_a_ramp(data: ImageDataset, silent: Any) -> None:
    network = made("plain")
    off, on = (trained(network, data, silent, one, steps=1)[0] for one in (None, Ssl(shapes=Linear(1e-12, to=9.0))))
    for name, weight in off.module.named_parameters():
        torch.testing.assert_close(on.module.get_parameter(name), weight)
    assert any(
        (w == 0).any() for w in trained(network, data, silent, Ssl(shapes=Linear(1e-12, to=9.0)))[0].module.parameters()
    )


@pytest.mark.parametrize("sort", ["channels", "shapes"])
def test_the_penalty_is_the_papers_sum_and_its_gradient_is_that_of_autograd(sort: str) -> None:
    network = made("residual")
    companion = Ssl(channels=0.3, proximal=False) if sort == "channels" else Ssl(shapes=0.3, proximal=False)
    assert companion.leaves == ""
    state = companion.begin(network, Moment(0, 10, 5))
    found = companion.penalty(Seen(None, None, (), network), state, Moment(0, 10, 5))
    assert found is not None
    weights = {n: p for n, p in network.module.named_parameters() if p.ndim > 1}
    total = torch.zeros(())
    for weight in weights.values():
        for c in range(weight.shape[1]):
            kernel = weight[:, c].flatten(1) if weight.ndim > 2 else weight[:, c, None]
            total = total + (kernel.norm() if sort == "channels" else kernel.norm(dim=0).sum())
    torch.testing.assert_close(found, 0.3 * total)
    gradients = torch.autograd.grad(found, list(weights.values()), retain_graph=True)
    expected = torch.autograd.grad(0.3 * total, list(weights.values()))
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_the_penalty_alone_removes_nothing(data: ImageDataset, silent: Any) -> None:
    network = made("residual")
    whole, record = trained(network, data, silent, Ssl(1.0, proximal=False), steps=3)
    assert not record.left.decided and not whole.masks
    assert record.history[0]["loss"] > trained(network, data, silent, Ssl(1.0), steps=3)[1].history[0]["loss"]


def test_factors_move_as_the_gradient_at_them_says(data: ImageDataset, silent: Any) -> None:
    """One step of `sss` on blocks: λ = S(1 - η·∂L/∂λ), the gradient being that of Σ of w·∂L/∂w over the last norm."""
    network, lr, strength = made("residual"), 0.05, 0.02
    (images, targets) = next(iter(data.batches("train", epoch=0, seed=1)))
    module = network.clone().module.train()
    torch.nn.functional.cross_entropy(module(images), targets).backward()
    folded, _ = trained(network, data, silent, Sss(strength), steps=1, lr=lr, precision="float32")
    for block in (3, 4):
        norm: Any = module[block].bn2  # type: ignore[index]
        gradient = float(sum((p.detach() * p.grad).sum() for p in (norm.weight, norm.bias)))
        moved = 1 - lr * gradient
        factor = max(0.0, abs(moved) - lr * strength)
        expected = (norm.weight - lr * norm.weight.grad).detach() * factor
        torch.testing.assert_close(
            folded.module.get_parameter(f"{block}.bn2.weight").detach(), expected, rtol=1e-4, atol=1e-5
        )
