"""`neurons`, `neurons(round=8)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method
from recipelang.methods.units._channels import CoupledChannels


@method("unit", "neurons")
@dataclass(frozen=True)
class Neurons(CoupledChannels):
    """Neurons of linear layers: the hidden features of an MLP, as in each block of a ViT or a ConvNeXt.

    Coupled: neurons that are multiplied or added are removed together and count as one; heads of attention and their
        widths are not neurons, but where attention has a single head its width counts as neurons. `recipe layers MODEL`
        shows the groups. One neuron of a group always stays.
    Scores: as for `filters`: a criterion of single weights is summed over the weights that make the neuron.
    Widths: as for `filters`: by default what stays is a multiple of the largest power of two that is at most 16 and at
        most an eighth of the width.
    Effect: the neuron's weights, its bias and the weights that read it are cut. The smaller network computes what the
        network with those weights at zero computes, and is compared with it.
    Source: LeCun, Denker, Solla, "Optimal brain damage", NeurIPS 1989; Molchanov et al., "Importance estimation for
        neural network pruning", CVPR 2019.
    """

    one: ClassVar[str] = "neuron"
