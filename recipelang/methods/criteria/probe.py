"""`probe(embedding=64, penalty=1e-4, against=candidate)`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Evidence

if TYPE_CHECKING:
    from torch import Tensor


@method("criterion", "probe")
@dataclass(frozen=True)
class Probe:
    """How much better a linear classifier, trained for that, can distinguish the classes after the layer than before.

    Formula: at each point the feature map is pooled and flattened as for `imprint`, and a linear classifier is trained
        on it: cross-entropy plus λ/2·‖W‖², standardised inputs, L-BFGS until it converges. A layer's score is the
        classifier's validation accuracy at its output minus that before it, as `against` defines.
    Against: `candidate` (default, as in the source): the accuracy at the output of the preceding candidate; the first
        is compared with its own input. `input`: that at the layer's own input; `imprint` says where they differ.
    Shapes: activations B×F×H×W, tokens B×F×T or B×F; one score for each layer.
    Needs: one pass over training images and one over validation images, for all layers together. The embeddings of all
        training images stay in memory: 4 bytes times images times `embedding` for each point; write
        `on train(samples=5000)` where that is too much.
    When it misleads: as `imprint`: a layer may prepare what only later layers make visible. With few images for the
        length of the embedding, classifiers at wide layers fit the training images and say little about others.
    Source: Chen, Zhao, "Shallowing deep networks: layer-wise pruning based on feature representations", TPAMI 2018;
        linear probes: Alain, Bengio, "Understanding intermediate layers using linear classifier probes", 2016.
    """

    unit: ClassVar[str] = "layer"
    needs: ClassVar[tuple[str, ...]] = ("activations", "labels")
    tasks: ClassVar[tuple[str, ...]] = ("classification",)

    embedding: int | None = setting(
        None, type="integer", low=1, help="Length N of the embedding; default: inputs of the last linear layer."
    )
    penalty: float = setting(
        1e-4, type="number", low=0, open_low=True, help="λ of the penalty on the weights of a classifier."
    )
    against: str = setting(
        "candidate",
        type="word",
        choices=("candidate", "input"),
        help="Where the accuracy before a layer is taken: at the output of the preceding candidate, or at its input.",
    )

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Candidate name → gain in accuracy, −1 … 1.

        Raises:
            Refusal: RCP1008: no training or validation images.
        """
        from recipelang.measuring.probing import probe_gains

        length = self.embedding or evidence.embedding_length
        return probe_gains(evidence, length, self.penalty, self.against)
