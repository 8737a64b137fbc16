"""`with slimming(1e-4)`: training that pushes the scales of BatchNorm towards zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.errors import Refusal
from recipelang.kinds import Companion, Finished, Moment, Seen
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

#: part of the largest scale below which a scale counts as small
SMALL = 0.01


@method("companion", "slimming")
@dataclass(frozen=True)
class Slimming(Companion):
    """Network slimming: an L1 penalty on the scales of BatchNorm, so that channels of little use become small.

    What: the scale γ of a channel is a measure of its importance that training decides; after it, `prune filters by bn`
        removes the channels with the smallest.
    Formula: loss + strength · Σ |γ| over the channels of all BatchNorm layers that train; |γ| has gradient 0 at 0.
    Shapes: γ has one number for each channel.
    Collapse: a BatchNorm all of whose scales are below a hundredth of the network's largest is named in the record;
        `prune` leaves one channel of its layer.
    Measured: a step costs 1.03 of a plain one in processor time: ResNet-20, batches of 128,
        bfloat16, one thread (`benchmarks/companions.py`).
    When it misleads: the penalty costs accuracy, and without removal afterwards nothing is gained; weight decay on γ
        acts beside it. A small γ says little where another layer scales the channel again.
    Source: Liu et al. 2017, "Learning Efficient Convolutional Networks through Network Slimming", equation 1.
    """

    strength: Any = setting(
        1e-4, type="number", low=0, open_low=True, ramp=True, positional=True, help="Factor λ of the penalty."
    )

    def require_network(self, network: Any) -> None:
        """Refuse a network without scales.

        Raises:
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
        each = [scale.flatten() for scale in scales(seen.network.module).values()]
        return moment.value(self.strength) * torch.cat(each).float().abs().sum()

    def finish(self, network: Any, state: nn.Module | None) -> Finished:
        """The network, and which BatchNorm the penalty has made small throughout."""
        largest = {path: float(scale.detach().abs().max()) for path, scale in scales(network.module).items()}
        least = SMALL * max(largest.values())
        names = [f"`{path}`" for path, size in largest.items() if size < least]
        if not names:
            return Finished(network)
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        note = f"collapsed: every scale of {shown} is below 1 % of the network's largest; a weaker penalty leaves more"
        return Finished(network, note=note)


def scales(module: nn.Module) -> dict[str, Tensor]:
    """Path of a BatchNorm layer → its scales γ, of those that train; what several layers share is there once."""
    found: dict[int, tuple[str, Tensor]] = {}
    for path, part in module.named_modules():
        scale = part.weight if isinstance(part, torch.nn.modules.batchnorm._BatchNorm) else None
        if scale is not None and scale.requires_grad:
            found.setdefault(id(scale), (path, scale))
    return dict(found.values())
