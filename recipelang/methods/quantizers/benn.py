"""`benn`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.methods.quantizers.bnn import Bnn

if TYPE_CHECKING:
    from recipelang.plan import Selection


@method("quantizer", "benn")
@dataclass(frozen=True)
class Benn(Bnn):
    """Several networks of `bnn` in one: their answers are averaged, for more accuracy and stability than one has.

    What: the network becomes an ensemble of copies of itself (an edit of its log), all of it one network for
        evaluation, size, clocks, export and later steps. Every member is quantized by `bnn`.
    Formula: answer = mean over members of their answers. Bagging: each batch of a training is drawn for one member, so
        that each is trained on batches of its own, with replacement, by its own loss; M members need M times the steps
        of one network, at the cost of one network in each step. The paper's boosting, which weights the images by the
        errors of the members before, needs members that are trained in turn and is left out.
    Shapes: paths get the prefix `members.0.`, `members.1.` and so on; a selection of the recipe is meant for each
        member.
    Needs: as `bnn`. Masks are refused; grids of layers that stay are those of every member.
    When it misleads: M members need M times the bits and products of one, and a training step M times the time; a wider
        binary network is the comparison.
        Members that start from the same weights differ by their batches alone: a training that is too short leaves them
        alike.
    Source: Zhu, Dong, Su 2019, "Binary Ensemble Neural Network: More Bits per Network or More Networks per Bit?",
        section 4 (bagging).
    """

    networks: int = setting(3, type="integer", low=2, high=16, positional=True, help="How many networks.")

    def prepared(self, network: Any, selection: Selection) -> tuple[Any, Selection]:
        """The ensemble, and the selection in every member; a network that is one already stays as it is."""
        from recipelang.surgery.ensembles import ensemble, in_members

        if any(edit.kind == "ensemble" for edit in network.edits):
            return network, selection
        return ensemble(network, self.networks), in_members(network, selection, self.networks)
