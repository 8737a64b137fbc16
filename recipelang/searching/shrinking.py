"""MorphNet's training: every part becomes smaller by what it costs, until those that are left cost little enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.kinds import Companion, Moment
from recipelang.measuring.proximal import kept_factors
from recipelang.plan import unhashed
from recipelang.searching.bilinear import BilinearCost
from recipelang.searching.blocks import Blocks
from recipelang.searching.morphing import part_prices, pull
from recipelang.surgery.network import Network


@dataclass(frozen=True)
class Shrinking(Companion):
    """Proximal steps of the penalty after every update; no more once the parts that are left cost `enough`.

    The length of a part is the norm of its block, its unit the mean of its group at the start.

    Attributes:
        blocks: of each group the scales of BatchNorm, or the weights that make its parts.
        cost: as a part of the bound.
        enough: the cost of what is alive at which it ends.
        strength: how fast; see `morphing.pull`.
        found: receives the `path`, the share of every group that is alive after each update, and what it `costs`.
    """

    blocks: tuple[Blocks, ...]
    cost: BilinearCost
    enough: float
    strength: float
    found: dict[str, Any] = unhashed()

    def begin(self, network: Network, moment: Moment) -> nn.Module:
        """The unit of every group, which parts are alive, whether they cost little enough, the path."""
        state = nn.Module()
        units = [block.squares(network.module).sqrt().mean().clamp_min(1e-12) for block in self.blocks]
        state.register_buffer("units", torch.stack(units))
        for number, block in enumerate(self.blocks):
            state.register_buffer(f"alive{number}", torch.ones(block.size, dtype=torch.bool))
        state.register_buffer("met", torch.tensor(False))
        state.register_buffer("path", torch.ones(moment.total, len(self.blocks), dtype=torch.float64))
        return state

    def after_step(
        self, network: Network, optimizer: torch.optim.Optimizer, state: nn.Module | None, moment: Moment
    ) -> None:
        """The proximal step of strength · λ · G."""
        assert state is not None
        get = state.get_buffer
        if not bool(get("met")):
            self._shrink(network.module, state, self.strength * pull(moment.step, moment.total))
        alive = self._alive(state)
        get("path")[moment.step] = alive
        if float(self.cost(alive)) <= self.enough:
            get("met").fill_(True)

    def finish(self, network: Network, state: nn.Module | None) -> Network:
        """The network as it is; what was found is told."""
        assert state is not None
        path = state.get_buffer("path")
        self.found["path"], self.found["costs"] = path.tolist(), self.cost(path).tolist()
        return network

    def _shrink(self, module: nn.Module, state: nn.Module, less: float) -> None:
        """The most expensive parts by `less` of their group's unit, others in proportion to their price."""
        prices = part_prices(self._alive(state), self.blocks, self.cost)
        units = state.get_buffer("units").cpu()
        for number, block in enumerate(self.blocks):
            alive = state.get_buffer(f"alive{number}")
            size = block.squares(module).sqrt()
            factor = kept_factors(size, less * prices[number] * units[number])
            factor[size.argmax()] = factor[size.argmax()].clamp_min(1e-3)  # one part of a group always stays
            block.multiply(module, factor)
            alive.copy_(factor > 0)

    def _alive(self, state: nn.Module) -> Tensor:
        """The share of every group that is alive."""
        flags = [state.get_buffer(f"alive{number}") for number in range(len(self.blocks))]
        return torch.stack([flag.double().mean().cpu() for flag in flags])
