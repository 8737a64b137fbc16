"""ECC's training: after every update of the weights, parts become zero, widths go down, and multipliers go up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.kinds import Companion, Moment
from recipelang.plan import unhashed
from recipelang.searching.admm import Factors, Multipliers, ascended, descended, kept_after, narrowest
from recipelang.searching.bilinear import BilinearCost
from recipelang.searching.blocks import Blocks
from recipelang.surgery.network import Network


@dataclass(frozen=True)
class Alternating(Companion):
    """Trains a network until parts that cost too much are zero; what was zeroed when the budget was met stays zero.

    Norms are in units of the mean over groups of what a whole group holds at the start.

    Attributes:
        blocks: of each group the weights that read its parts.
        orders: of each group the parts of each of its steps.
        cost: as a part of the bound.
        by: the factors of the augmented Lagrangian.
        found: receives the result of the training: `steps` of each group, `costs` after every update, and the `norms`
            of each group's parts.
    """

    blocks: tuple[Blocks, ...]
    orders: tuple[tuple[tuple[int, ...], ...], ...]
    cost: BilinearCost
    by: Factors
    found: dict[str, Any] = unhashed()

    def begin(self, network: Network, moment: Moment) -> nn.Module:
        """u, y, z, the numbers of steps, the unit of norms, and the cost after every update."""
        state, groups = nn.Module(), len(self.blocks)
        unit = float(torch.stack([block.squares(network.module).sum() for block in self.blocks]).mean()) or 1.0
        state.register_buffer("unit", torch.tensor(unit, dtype=torch.float64))
        state.register_buffer("allowed", torch.ones(groups, dtype=torch.float64))
        state.register_buffer("width_multipliers", torch.zeros(groups, dtype=torch.float64))
        state.register_buffer("cost_multiplier", torch.zeros((), dtype=torch.float64))
        state.register_buffer("steps", torch.zeros(groups, dtype=torch.int64))
        state.register_buffer("met", torch.tensor(False))
        state.register_buffer("costs", torch.zeros(moment.total, dtype=torch.float64))
        return state

    def after_step(
        self, network: Network, optimizer: torch.optim.Optimizer, state: nn.Module | None, moment: Moment
    ) -> None:
        """The step of the weights; while the budget is not met, those of widths and multipliers."""
        assert state is not None
        get = state.get_buffer
        if not bool(get("met")):
            self._alternate(network.module, state)
        for block, order, count in zip(self.blocks, self.orders, get("steps").tolist(), strict=True):
            gone = [part for parts in order[:count] for part in parts]
            factors = torch.ones(block.size, dtype=torch.float64)
            factors[gone] = 0
            block.multiply(network.module, factors)
        get("costs")[moment.step] = self.cost(self._used(get("steps").tolist()))

    def finish(self, network: Network, state: nn.Module | None) -> Network:
        """The network with its zeros; what was found is told."""
        assert state is not None
        self.found["steps"] = state.get_buffer("steps").tolist()
        self.found["costs"] = state.get_buffer("costs").tolist()
        self.found["norms"] = [block.squares(network.module).tolist() for block in self.blocks]
        return network

    def _alternate(self, module: nn.Module, state: nn.Module) -> None:
        get = state.get_buffer
        allowed, now = get("allowed").cpu(), Multipliers(get("width_multipliers").cpu(), get("cost_multiplier").cpu())
        held, steps = self._held(module, float(get("unit"))), []
        for group, norms in enumerate(held):
            share, price = float(allowed[group]), float(now.width[group])
            steps.append(kept_after(norms, self._widths[group], share, price, self.by.width[group]))
        used = self._used(steps)
        if float(self.cost(used)) <= 1:
            steps = self._given_back(steps, get("steps").tolist(), held)
            get("met").fill_(True)
        get("steps").copy_(torch.tensor(steps))
        if bool(get("met")):
            return
        least = torch.stack([widths[-1] for widths in self._widths])
        allowed = descended(used, allowed, now, self.cost, self.by, least)
        reached = self._used([narrowest(widths, float(u)) for widths, u in zip(self._widths, allowed, strict=True)])
        now = ascended(used, reached, allowed, now, self.cost, self.by)
        get("allowed").copy_(allowed)
        get("width_multipliers").copy_(now.width)
        get("cost_multiplier").copy_(now.cost)

    def _held(self, module: nn.Module, unit: float) -> list[Tensor]:
        """Of every group what the parts of each of its steps hold."""
        norms = (block.squares(module) / unit for block in self.blocks)
        pairs = zip(norms, self.orders, strict=True)
        return [torch.stack([norm[list(parts)].sum() for parts in order]) for norm, order in pairs]

    def _given_back(self, steps: list[int], before: list[int], held: list[Tensor]) -> list[int]:
        """Of the steps that this update adds those that meet the budget without the rest, which hold most."""
        while True:
            best, worth = steps, 0.0
            for group in (g for g, count in enumerate(steps) if count > before[g]):
                fewer = [count - (g == group) for g, count in enumerate(steps)]
                norm = float(held[group][steps[group] - 1])
                if norm > worth and float(self.cost(self._used(fewer))) <= 1:
                    best, worth = fewer, norm
            if best is steps:
                return steps
            steps = best

    def _used(self, steps: list[int]) -> Tensor:
        """φ of every group after these steps."""
        return torch.stack([widths[count] for widths, count in zip(self._widths, steps, strict=True)])

    @cached_property
    def _widths(self) -> list[Tensor]:
        """Of every group the share that it keeps after 0, 1, … steps."""
        found = []
        for block, order in zip(self.blocks, self.orders, strict=True):
            gone = torch.tensor([0, *(len(parts) for parts in order)], dtype=torch.float64).cumsum(0)
            found.append((block.size - gone) / block.size)
        return found
