"""`scop`: the contest written out, and channels whose counterfeits serve as well."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from recipelang.measuring.gates import gates_of
from recipelang.measuring.knockoffs import Moments, contest, knockoffs_of
from recipelang.methods.criteria.scop import SCOP


def test_against_the_contest_written_out(learned: Any) -> None:
    """Channels and knockoffs mixed by hand after the activations, with Adam and autograd of torch alone."""
    net, data = learned.plain(), learned.images()
    criterion = SCOP(steps=4, lr=0.05, samples=16, batch=16)
    scales, shares = contest(learned.evidence(net, data, criterion), 16, 4, 0.05, 16)
    images, labels = (part[:16] for part in data.splits["train"])
    module = net.module

    def knockoffs(maps: torch.Tensor) -> Any:
        moments = Moments()
        moments.add(maps.flatten(2))
        return moments.knockoffs()

    with torch.no_grad():
        one = module.first(images).relu()
        two = module.second(one).relu().mean((2, 3))
        first, second = knockoffs(one), knockoffs(two[..., None])
    beta = torch.full((14,), 0.5, requires_grad=True)
    optimizer, random = torch.optim.Adam((beta,), lr=0.05), torch.Generator().manual_seed(0)
    for _ in range(4):
        order = torch.randperm(16, generator=random)
        x = module.first(images[order]).relu()
        fake = first.of(x.flatten(2), torch.randperm(16, generator=random)).reshape(x.shape)
        own = beta[:8, None, None]
        x = module.second(own * x + (1 - own) * fake).relu().mean((2, 3))
        fake = second.of(x[..., None], torch.randperm(16, generator=random))[..., 0]
        logits = module.head(beta[8:] * x + (1 - beta[8:]) * fake)
        optimizer.zero_grad()
        functional.cross_entropy(logits, labels[order]).backward()
        optimizer.step()
        beta.data.clamp_(0, 1)
    assert torch.allclose(torch.cat([shares["first"], shares["second"]]), beta.detach(), atol=1e-4)
    assert scales["first"].tolist() == pytest.approx(
        one.movedim(1, 0).flatten(1).std(1, correction=0).tolist(), rel=1e-3
    )
    scores = criterion.score(learned.evidence(net, data, criterion))
    relative = scales["first"] / scales["first"].mean()
    assert torch.allclose(scores["first"], relative * (2 * beta.detach()[:8] - 1), atol=1e-3)


def test_what_has_no_advantage_over_its_knockoff_scores_nothing(learned: Any) -> None:
    """A channel that is always zero, and one that nothing reads."""
    net, data = learned.plain(trained=True), learned.images()
    with torch.no_grad():
        net.module.first.weight[1], net.module.first.bias[1] = 0, 0
        net.module.second.weight[:, 3] = 0
    criterion = SCOP(steps=40, samples=48, batch=16)
    scores = criterion.score(learned.evidence(net, data, criterion))["first"]
    assert scores[1] == 0
    assert scores[3] == 0
    assert scores.max() > 0


def test_a_channel_that_repeats_another_has_a_knockoff_that_repeats_it(learned: Any) -> None:
    net, data = learned.plain(trained=True), learned.images()
    with torch.no_grad():
        net.module.first.weight[6], net.module.first.bias[6] = net.module.first.weight[5], net.module.first.bias[5]
    evidence = learned.evidence(net, data, SCOP())
    known = knockoffs_of(evidence, gates_of(evidence), evidence.drawn(48), 16)["second.weight", "first"]
    noise = known.other.norm(dim=1) / known.spread.clamp_min(1e-6)
    others = [k for k in range(8) if k not in (5, 6) and known.spread[k] > 0]
    assert max(noise[5], noise[6]) < max(noise[k] for k in others)
