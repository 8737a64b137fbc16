"""`with slimming(1e-4)`: training that pushes the scales of BatchNorm towards zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.errors import Refusal
from recipelang.kinds import Companion, Moment, Seen
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor, nn


@method("companion", "slimming")
@dataclass(frozen=True)
class Slimming(Companion):
    """Network slimming: an L1 penalty on the scales of BatchNorm, so that channels of little use become small.

    What: the scale γ of a channel is a measure of its importance that training decides; after it, `prune filters by bn`
        removes the channels with the smallest.
    Formula: loss + strength · Σ |γ| over the channels of all BatchNorm layers that train; |γ| has gradient 0 at 0.
    Shapes: γ has one number for each channel.
    When it misleads: the penalty costs accuracy, and without removal afterwards nothing is gained; weight decay on γ
        acts beside it. A small γ says little where another layer scales the channel again.
    Source: Liu et al. 2017, "Learning Efficient Convolutional Networks through Network Slimming", equation 1.
    """

    strength: Any = setting(
        1e-4, type="number", low=0, open_low=True, ramp=True, positional=True, help="Factor λ of the penalty."
    )

    def require_network(self, network: Any) -> None:
        """Raises:
        Refusal: RCP0833: no BatchNorm of the network has a scale that trains.
        """
        if not scales(network.module):
            raise Refusal(
                "RCP0833",
                "`slimming` makes the scales of BatchNorm small, and no BatchNorm of this network has one that trains",
                "leave `slimming` out; `prune filters by magnitude` and `by taylor` need no BatchNorm",
            )

    def penalty(self, seen: Seen, state: nn.Module | None, moment: Moment) -> Tensor:
        """strength · Σ |γ|, a scalar in float32."""
        found: Tensor = torch.cat([scale.flatten() for scale in scales(seen.network.module)]).float().abs().sum()
        return moment.value(self.strength) * found


def scales(module: nn.Module) -> list[Tensor]:
    """The scales γ of all BatchNorm layers that train, each once."""
    norms = (part for part in module.modules() if isinstance(part, torch.nn.modules.batchnorm._BatchNorm))
    return [norm.weight for norm in norms if norm.weight is not None and norm.weight.requires_grad]
