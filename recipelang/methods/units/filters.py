"""`filters`, `filters(round=8)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method
from recipelang.methods.units._channels import CoupledChannels


@method("unit", "filters")
@dataclass(frozen=True)
class Filters(CoupledChannels):
    """Filters of convolutions: channels of the feature maps, each removed from every layer that holds it.

    Coupled: channels that are added to each other, or scaled by the same norm, are removed together and count as one;
        groups of them are found in the network's graph, and `recipe layers MODEL` shows them. One filter of a group
        always stays.
    Scores: a criterion of single weights is summed over all weights that make the channel, in all coupled layers; its
        card says whether scores are then divided by the mean of their group. All groups are ranked together, in steps
        of `round`.
    Widths: a width that is not a multiple of 16 wastes part of a kernel. By default what stays is a multiple of the
        largest power of two that is at most 16 and at most an eighth of the width, so that layers with few filters
        keep fine steps. On ResNet-18 with one image of 224², multiples of 16 keep 86 % of the FLOPs at a latency of
        0.9, single filters 73 %.
    Effect: every weight that makes, scales, shifts or reads the channel is cut. The smaller network computes what the
        network with those weights at zero computes, and is compared with it.
    Clocks: latency falls in stairs as filters are removed, and a narrower network may be slower. A budget on a clock
        is searched from where latency is a tenth too high, number by number, and the largest network that meets it is
        kept; of more than 16 numbers, evenly spaced ones are timed first.
    Source: Li et al., "Pruning filters for efficient ConvNets", ICLR 2017; coupled channels: Fang et al., "DepGraph:
        towards any structural pruning", CVPR 2023.
    """

    one: ClassVar[str] = "filter"
