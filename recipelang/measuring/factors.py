"""Scaling factors of structures that an accelerated proximal gradient trains, until some of them are exactly zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from recipelang.measuring.grouping import last, owned
from recipelang.measuring.proximal import soft

if TYPE_CHECKING:
    from recipelang.surgery.gating import Gated


class FactorState(nn.Module):
    """The factors λ of a training, and what the accelerated gradient remembers of them.

    Args:
        gated: where they multiply. All are 1 at first.
        keeps: whether one factor of each group stays nonzero.

    Attributes:
        ahead: λ′, what multiplies in a step: where momentum is going to take λ.
        solution: λ, with exact zeros. `velocity`: v.
        spared: the factors that the last step left as they were, since all others of their group are zero.
        leaf: `ahead` as a tensor with a gradient, in a step.
    """

    ahead: Tensor
    solution: Tensor
    velocity: Tensor
    spared: Tensor
    members: Tensor

    def __init__(self, gated: Gated, *, keeps: bool) -> None:
        super().__init__()
        self.gated, self.leaf = gated, torch.zeros(0)
        sizes = list(gated.gates.sizes.values())
        owners = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
        members = owned(owners, len(sizes)) if keeps else torch.zeros(0, 0, dtype=torch.long)
        self.register_buffer("ahead", torch.ones(sum(sizes)))
        self.register_buffer("solution", torch.ones(sum(sizes)))
        self.register_buffer("velocity", torch.zeros(sum(sizes)))
        self.register_buffer("spared", torch.zeros(sum(sizes), dtype=torch.bool))
        self.register_buffer("members", members, persistent=False)

    def opened(self) -> Tensor:
        """λ′ with a gradient of its own, for one step."""
        self.leaf = self.ahead.detach().requires_grad_()
        return self.leaf

    @torch.no_grad()
    def step(self, rate: float, strength: float, momentum: float) -> None:
        """One step of APG-NAG with the gradient at λ′ (Huang and Wang 2018, equations 10 to 12):

            z = λ′ − η·∇G(λ′);  v ← S(z) − λ′ + μ·v = S(z) − λ;  λ ← S(z);  λ′ ← S(z) + μ·v

        S is the soft threshold at η·γ; of a group whose factors would all be zero, that with the largest |z| stays z.

        Args:
            rate: η. `strength`: γ. `momentum`: μ.
        """
        gradient = self.leaf.grad if self.leaf.grad is not None else torch.zeros_like(self.ahead)
        moved = self.ahead - rate * gradient
        new = soft(moved, rate * strength)
        self.spared.copy_(last(self.members, moved.abs(), new != 0))
        new = torch.where(self.spared, moved, new)
        self.velocity.copy_(new - self.solution)
        self.solution.copy_(new)
        self.ahead.copy_(new + momentum * self.velocity)
