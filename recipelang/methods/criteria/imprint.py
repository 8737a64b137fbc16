"""`imprint(embedding=64, similarity=cosine, against=input)`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Evidence

if TYPE_CHECKING:
    from torch import Tensor


@method("criterion", "imprint")
@dataclass(frozen=True)
class Imprint:
    """How much better a classifier can distinguish the classes after the layer than before it.

    Formula: at each point the feature map F (f filters) is pooled to d×d, d = round(√(N/f)), and flattened to an
        embedding E (Eq 4.1). The classifier is imprinted, not trained: its weights are the class means of E over the
        training images (Eq 4.2), it predicts the class whose mean is nearest (Eq 4.3). A layer's score is the
        classifier's validation accuracy at its output minus that before it, as `against` defines.
    Against: the source takes the accuracy difference from the preceding candidate. Where one candidate follows another
        directly, its input is the preceding candidate's output, and both settings give the same score. At a stage
        boundary they do not: a block that halves the map and widens it is not a candidate and is between the two. With
        `candidate` the first layer of a stage is credited with what that block gains, and with a jump that comes only
        from pooling a different width and size to an embedding (Eq 4.1), although removing the layer removes neither.
        With `input` (default) every layer is credited with its own gain only. The first candidate has no other before
        it and is compared with its input in both.
    Similarity: `cosine` (default) compares unit-length embeddings with unit-length class means, `distance` takes the
        nearest class mean, `inner` is the raw product of Eq 4.3. On ResNet-56 for CIFAR-10 the raw product ranks blocks
        no better than chance: rank correlation with the loss after leaving each block out is −0.05, with `distance`
        0.48, with `cosine` 0.52; with different weights of the same network 0.04, 0.46 and 0.44
        (benchmarks/imprint.py). A class with a long mean wins raw products for any embedding.
    Shapes: activations B×F×H×W, tokens B×F×T (pooled to d² tokens) or B×F; one score for each layer.
    Needs: one pass over training images and one over validation images, for all layers together.
    When it misleads: a layer may prepare what only later layers make visible, and then looks useless; a validation
        split of a few hundred images ranks coarsely (one image of 360 is 0.28 points).
    Source: Elkerdawy et al., "To filter prune, or to layer prune, that is the question", ACCV 2020; imprinting: Qi,
        Brown, Lowe, "Low-shot learning with imprinted weights", CVPR 2018.
    """

    unit: ClassVar[str] = "layer"
    needs: ClassVar[tuple[str, ...]] = ("activations", "labels")
    tasks: ClassVar[tuple[str, ...]] = ("classification",)

    embedding: int | None = setting(
        None, type="integer", low=1, help="Length N of the embedding; default: inputs of the last linear layer."
    )
    similarity: str = setting(
        "cosine", type="word", choices=("cosine", "distance", "inner"), help="How embeddings and means are compared."
    )
    against: str = setting(
        "input",
        type="word",
        choices=("input", "candidate"),
        help="Where the accuracy before a layer is taken: at its input, or at the output of the preceding candidate.",
    )

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Candidate name → gain in accuracy, −1 … 1.

        Raises:
            Refusal: RCP1008: no training or validation images.
        """
        from recipelang.measuring.imprinting import layer_gains

        length = self.embedding or evidence.embedding_length
        return layer_gains(evidence, length, self.similarity, self.against)
