"""`heads`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method
from recipelang.methods.units._channels import CoupledParts


@method("unit", "heads")
@dataclass(frozen=True)
class Heads(CoupledParts):
    """Heads of attention, each removed as a whole; the width of those that stay does not change.

    Coupled: the rows of q, k and v that make a head, and the columns of the projection that read it, whether q, k and v
        are one layer or three; where several heads of queries share one of keys and values, all of them leave with it.
        `recipe layers MODEL` shows the groups. One head of a group always stays.
    Scores: a criterion of single weights is summed over the rows of q, k and v and the columns of the projection:
        scaling v up and the projection down changes no output, so neither tells alone what a head contributes.
    Widths: any number of heads may stay.
    Forms: attention in the code of any library, with q, k and v fused in any order, and `nn.MultiheadAttention`. A
        number that the code computes, as the width of a head from that of the input, is changed where the code calls a
        function with it. Heads stay, with the reason in the record, where all of them are normalised together or
        weighed against each other, or where the code fixes their number in any other way.
    Effect: the smaller network computes what the network with all weights of these heads at zero computes, and is
        compared with it.
    Source: Michel, Levy, Neubig, "Are sixteen heads really better than one?", NeurIPS 2019.
    """

    one: ClassVar[str] = "head"
    weighed: ClassVar[tuple[str, ...]] = ("makes", "reads")
