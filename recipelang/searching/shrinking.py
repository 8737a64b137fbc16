"""MorphNet's training: every part becomes smaller by what it costs, until those that are left cost little enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.kinds import Companion, Moment
from recipelang.plan import unhashed
from recipelang.searching.bilinear import BilinearCost
from recipelang.searching.blocks import Blocks
from recipelang.surgery.network import Network


@dataclass(frozen=True)
class Shrinking(Companion):
    """Proximal steps of the penalty after every update; no more once the parts that are left cost `enough`.

    The size of a part is the norm of its block in units of the mean of its group at the start.

    Attributes:
        blocks: of each group the scales of BatchNorm, or the weights that make its parts.
        cost: as a part of the bound.
        enough: the cost of what is alive at which it ends.
        strength: 1: a part of mean price that no gradient holds is gone after half of the training.
        found: receives `alive`, the share of each group, and the `costs` of what is alive after every update.
    """

    blocks: tuple[Blocks, ...]
    cost: BilinearCost
    enough: float
    strength: float
    found: dict[str, Any] = unhashed()

    def begin(self, network: Network, moment: Moment) -> nn.Module:
        """The unit of every group, which parts are alive, λ times the first learning rate, the cost of every update."""
        state = nn.Module()
        sizes = [block.squares(network.module).sqrt() for block in self.blocks]
        state.register_buffer("units", torch.stack([size.mean().clamp_min(1e-12) for size in sizes]))
        for number, block in enumerate(self.blocks):
            state.register_buffer(f"alive{number}", torch.ones(block.size, dtype=torch.bool))
        state.register_buffer("met", torch.tensor(False))
        state.register_buffer("rate", torch.zeros((), dtype=torch.float64))
        state.register_buffer("costs", torch.zeros(moment.total, dtype=torch.float64))
        return state

    def before_step(self, network: Network, state: nn.Module | None, moment: Moment) -> None:
        """Nothing."""

    def after_step(
        self, network: Network, optimizer: torch.optim.Optimizer, state: nn.Module | None, moment: Moment
    ) -> None:
        """The proximal step of strength · λ · G."""
        assert state is not None
        get = state.get_buffer
        rate = float(optimizer.param_groups[0]["lr"])
        if moment.step == 0:
            get("rate").fill_(rate)
        if not bool(get("met")):
            share = rate / float(get("rate")) if float(get("rate")) else 1.0
            self._shrink(network.module, state, 2 * self.strength * share / moment.total)
        cost = float(self.cost(self._alive(state)))
        get("costs")[moment.step] = cost
        if cost <= self.enough:
            get("met").fill_(True)

    def finish(self, network: Network, state: nn.Module | None) -> Network:
        """The network as it is; what was found is told."""
        assert state is not None
        self.found["alive"] = self._alive(state).tolist()
        self.found["costs"] = state.get_buffer("costs").tolist()
        return network

    def _shrink(self, module: nn.Module, state: nn.Module, less: float) -> None:
        """Every part of mean price by `less` of its group's unit, others in proportion to their price."""
        prices = part_prices(self._alive(state), [block.size for block in self.blocks], self.cost)
        units = state.get_buffer("units").cpu()
        for number, block in enumerate(self.blocks):
            alive = state.get_buffer(f"alive{number}")
            size = block.squares(module).sqrt()
            factor = (1 - less * prices[number] * units[number] / size.clamp_min(1e-30)).clamp_min(0)
            factor[size.argmax()] = factor[size.argmax()].clamp_min(1e-3)  # one part of a group always stays
            block.multiply(module, factor)
            alive.copy_(factor > 0)

    def _alive(self, state: nn.Module) -> Tensor:
        """The share of every group that is alive."""
        flags = [state.get_buffer(f"alive{number}") for number in range(len(self.blocks))]
        return torch.stack([flag.double().mean().cpu() for flag in flags])


def part_prices(alive: Tensor, sizes: list[int], cost: BilinearCost) -> Tensor:
    """n: what a part of each group costs, the mean over all parts being 1: the derivative of G by its |γ|.

    Args:
        alive: the share of every group that is alive. `sizes`: their numbers of parts.
    """
    count = torch.tensor(sizes, dtype=torch.float64)
    each = cost.slope(alive).clamp_min(0) / count
    mean = float((each * count).sum() / count.sum())
    return each / mean if mean > 0 else torch.ones_like(each)
