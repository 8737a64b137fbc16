"""MorphNet's training: every part becomes smaller by what it costs, until those that are left cost little enough."""

from __future__ import annotations

from collections.abc import Sequence
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

    The length of a part is the norm of its block, its unit the mean of its group at the start.

    Attributes:
        blocks: of each group the scales of BatchNorm, or the weights that make its parts.
        cost: as a part of the bound.
        enough: the cost of what is alive at which it ends.
        strength: how fast; see `pull`.
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

    def before_step(self, network: Network, state: nn.Module | None, moment: Moment) -> None:
        """Nothing."""

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
        """The dearest parts by `less` of their group's unit, others in proportion to their price."""
        prices = part_prices(self._alive(state), self.blocks, self.cost)
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


def pull(step: int, total: int) -> float:
    """How much shorter the dearest parts become in an update: more in each, twice their length in all of them.

    λ grows, so that what little holds goes before what much holds, whatever the scale of the loss.
    """
    return 4 * (step + 1) / total**2


def part_prices(alive: Tensor, blocks: Sequence[Blocks], cost: BilinearCost) -> Tensor:
    """n: by how much a part of each group becomes shorter, as a share of its length: the most is 1.

    The derivative of G by |γ|, the norm over the M layers that share a part (group lasso): it has √M times the length
    of a single scale.

    Args:
        alive: the share of every group that is alive.
    """
    lengths = torch.tensor([block.size * max(1, len(block.places)) ** 0.5 for block in blocks], dtype=torch.float64)
    each = cost.slope(alive).clamp_min(0) / lengths
    most = float(each.max())
    return each / most if most > 0 else torch.ones_like(each)
