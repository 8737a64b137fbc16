"""`neurons`, `neurons(round=8)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Criterion, Evidence
from recipelang.kinds.unit import Gone, Group, Offer
from recipelang.methods.units._channels import channel_edits, channel_scores, find_channels, without_channels

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.plan import Selection


@method("unit", "neurons")
@dataclass(frozen=True)
class Neurons:
    """Neurons of linear layers: the hidden features of an MLP, as in each block of a ViT or a ConvNeXt.

    Coupled: neurons that are multiplied or added leave together and count as one; heads of attention and their widths
        are not neurons. `recipe layers MODEL` shows the groups. One neuron of a group always stays.
    Scores: as for `filters`: a criterion of single weights is summed over the weights that make the neuron.
    Widths: as for `filters`: by default what stays is a multiple of the largest power of two that is at most 16 and at
        most an eighth of the width.
    Effect: the neuron's weights, its bias and the weights that read it are cut. The smaller network computes what the
        network with those weights at zero computes, and is compared with it.
    Source: LeCun, Denker, Solla, "Optimal brain damage", NeurIPS 1989; Molchanov et al., "Importance estimation for
        neural network pruning", CVPR 2019.
    """

    one: ClassVar[str] = "neuron"
    ranks: ClassVar[str] = "filter"
    scores: ClassVar[tuple[str, ...]] = ("element", "filter", "any")
    many: ClassVar[bool] = True

    round: int | None = setting(
        None,
        type="integer",
        low=1,
        help="Widths that stay are a multiple of it; by default of up to 16, depending on the width.",
    )

    def find(self, network: Any, selection: Selection) -> Offer:
        """The groups of coupled channels made by linear layers.

        Raises:
            Refusal: RCP0910: none can lose a neuron; RCP0703: an entry of the selection matches nothing; RCP0718: the
                network cannot be traced.
        """
        return find_channels(network, self.name, self.one, self.round, selection)  # type: ignore[attr-defined]

    def aggregate(
        self, criterion: Criterion, scores: Mapping[str, Tensor], evidence: Evidence, groups: Sequence[Group]
    ) -> Mapping[str, Tensor]:
        """Sums over all weights that make the neuron, in all coupled layers."""
        return channel_scores(criterion, scores, evidence, groups)

    def edits(self, network: Any, offer: Offer, gone: Gone) -> tuple[Any, ...]:
        """One edit for all of them."""
        return channel_edits(network, offer, gone)

    def remove(self, network: Any, offer: Offer, gone: Gone) -> tuple[Any, Mapping[str, str]]:
        """The network without these neurons, compared with the one whose weights for them are zero.

        Raises:
            Refusal: RCP0702: the two differ.
        """
        return without_channels(network, offer, gone)
